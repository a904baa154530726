"""Files of photographs: listed below a folder, read within bounds, and why one was not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from fishline.core.paths import PART_NAMES
from fishline.data.decode import FORMATS

MASKS = " GT"  # "<Species> GT" holds segmentation masks named like the photographs
MAX_BYTES = 256 * 2**20  # of a file


def find_images(folder: Path) -> Iterator[Path]:
    """Whatever below `folder` is named like an image, sorted; no hidden files, no mask folders.

    Only `read` tells what can be used: there are also dangling links, pipes, links to folders and
    folders that cannot be listed among these, so that each can be rejected by name.
    """
    paths, folders, endings = list[Path](), [folder], image_endings()
    while folders:
        here = folders.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:
            paths.append(here)
            continue
        for entry in entries:
            path = here / entry.name
            if entry.name.startswith(".") or entry.name.endswith(MASKS):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            # Not Path.is_dir, which raises where nobody may look.
            elif path.suffix.lower() in endings or os.path.isdir(path):  # noqa: PTH112
                paths.append(path)
    yield from sorted(paths)


def folder_part(file: str, species: str) -> str:
    """The part of a split that a folder above or below that of the species stands for, or ""."""
    folders = list(PurePosixPath(file).parts[:-1])
    if species in folders:
        folders.remove(species)
    return next((PART_NAMES[f.lower()] for f in folders if f.lower() in PART_NAMES), "")


def count_images(root: Path, species: Iterable[str]) -> dict[str, int]:
    """How many images each of `species` has below `root`; one without a folder is left out."""
    folders = {name: root / name for name in species}
    return {n: sum(1 for _ in find_images(f)) for n, f in folders.items() if f.is_dir()}


def other_folders(root: Path, species: Iterable[str]) -> list[str]:
    """The folders in `root` that may be species and are none of `species`, sorted."""
    folders = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    named = {name for name in folders if name[0] != "." and not name.endswith(MASKS)}
    return sorted(named.difference(species))


def image_endings() -> set[str]:
    """Lower-case suffixes, such as ".jpg", of the formats that are read."""
    kinds = {*FORMATS, "MPO"}  # several JPEGs in a row; Pillow opens it as JPEG
    return {e for e, kind in Image.registered_extensions().items() if kind in kinds}


def read(path: Path) -> bytes:
    """The content of the file, which is at least one byte and at most `MAX_BYTES`.

    Raises:
        OSError, ValueError: it cannot be read, or is empty, too large or no file; see `reason`.
    """
    if path.is_symlink() and not path.exists():
        raise ValueError("a link to a file that does not exist")
    status = path.stat()  # before it is opened: opening a pipe waits for its other end
    if stat.S_ISDIR(status.st_mode):
        os.listdir(path)  # raises if this is why the folder is listed
        raise ValueError("a link to a folder" if path.is_symlink() else "a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size} bytes; the limit is {MAX_BYTES}")
    with path.open("rb") as file:
        content = file.read(status.st_size + 1)
    if not content:
        raise ValueError("an empty file")
    if len(content) != status.st_size:
        raise ValueError("the file changed while it was read")
    return content


def reason(error: BaseException) -> str:
    """Why a file could not be read or decoded, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path, which is named beside the reason
    return " ".join(str(error).split()) or type(error).__name__
