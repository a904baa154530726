"""The photographs of a bucket, downloaded into an empty folder without trusting their names."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from fishline.core.errors import UserError
from fishline.core.parallel import in_threads, usable_cores
from fishline.data.ingest.archives import UNSAFE, is_unsafe
from fishline.data.ingest.sources import Member, is_archive, set_aside, unusable
from fishline.data.photo_files import image_endings
from fishline.data.remote_files import THREADS, Listed, download, list_files


def fetch(url: str, staging: Path) -> tuple[Path, list[Member]]:
    """Download what lies below `url`, a folder or an archive, and may be photographs.

    Returns:
        The folder or archive on this disk, and what was left out.

    Raises:
        UserError: there is no such place, something cannot be had, the disk has no room, or a
            name is both a file's and a folder's.
    """
    name = url.rstrip("/").rpartition("/")[2]
    folder = staging / "bucket" / ("source" if is_unsafe(name) or name[:1] in ("", ".") else name)
    wanted, left_out = _sort_out(url)
    _require_room(url, wanted, staging)
    targets = {folder.joinpath(*file.path.split("/")): file for file in wanted}
    _make_folders({folder, *(target.parent for target in targets)})
    done = in_threads(
        lambda target: download(targets[target], target), targets, THREADS * usable_cores()
    )
    for _ in tqdm(done, "download", len(targets), leave=False, unit="file", disable=None):
        pass
    if [file.url.partition("://")[2] for file in wanted] == [url.rstrip("/").partition("://")[2]]:
        return next(iter(targets)), left_out  # the URL is that of a file
    return folder, left_out


def _sort_out(url: str) -> tuple[list[Listed], list[Member]]:
    """Files to download, and those to leave where they are."""
    wanted, left_out, endings = [], [], image_endings()
    for file in sorted(list_files(url)):
        path = tuple(file.path.split("/"))
        why = UNSAFE if "" in path else set_aside(path)
        if not why and not is_archive(path[-1]):
            why = unusable(path[-1], file.size, endings)
        if why:
            left_out.append(Member(file.path, path, Path(), 0, why, archives=1))
        else:
            wanted.append(file)
    folders = {str(above) for file in wanted for above in PurePosixPath(file.path).parents}
    if both := next((file.url for file in wanted if file.path in folders), None):
        raise UserError(f"{both} is both a file and a folder; nothing was changed. Rename one")
    return wanted, left_out


def _make_folders(folders: Iterable[Path]) -> None:
    """Before any thread writes there: where one fails, no other makes anew what is cleared away."""
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; nothing was changed") from None


def _require_room(url: str, files: list[Listed], staging: Path) -> None:
    needed, free = sum(file.size for file in files), shutil.disk_usage(staging).free
    if needed > free:
        raise UserError(
            f"the {len(files):,} files of {url} need {needed:,} bytes, and the disk of {staging} "
            f"has {free:,} free; nothing was changed"
        )
