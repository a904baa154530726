"""The manifest: which files show which photographs, and which files are left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from fishline.core.engine import map_on_engine
from fishline.core.errors import UserError
from fishline.core.files import read_csv
from fishline.core.paths import PART_NAMES
from fishline.data import exif
from fishline.data.cache import Cache
from fishline.data.decode import Decoded, decode
from fishline.data.photo_files import find_images, read, reason
from fishline.data.prepare.copies.copies import find_copies
from fishline.data.prepare.packing import pack
from fishline.data.prepare.pixels import pixels_packing

# And what metadata.py adds.
COLUMNS = "file species index width height mode sha256 original confidence alike".split()
REJECTED = "file species index sha256 reason".split()
CONFLICT = "one photograph under different species: "

File = tuple[str, Path]  # species, path


def list_files(root: Path, species: Sequence[str]) -> list[File]:
    """The image files of each species, in order of species, then path.

    A species has a folder in `root`, or one in each folder of a split: train, validation, test.

    Raises:
        UserError: there is no folder `root`, or none in it for one of the species.
    """
    if not root.is_dir():
        raise UserError(f"data.dir: there is no folder {root}")
    folders = _species_folders(root)
    if not folders:
        raise UserError(f"data.dir: {root} has no folders; it needs one for each species")
    files: list[File] = []
    for name in species:
        if name not in folders:
            raise UserError(
                f"{root} has no folder '{name}', which params.yaml lists as a species; "
                f"its folders are: {', '.join(sorted(folders))}"
            )
        files += [(name, path) for folder in folders[name] for path in find_images(folder)]
    return files


def _species_folders(root: Path) -> dict[str, list[Path]]:
    """The folders of each species, by its name."""
    folders: dict[str, list[Path]] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        is_part = folder.name.lower() in PART_NAMES and inside
        for path in inside if is_part else [folder]:
            folders.setdefault(path.name, []).append(path)
    return folders


def list_names(root: Path) -> set[str]:
    """Every image file below `root`, of whatever species, as the manifest would name it."""
    return {_printable(path.relative_to(root)) for path in find_images(root)}


def digest_files(files: Sequence[File], root: Path) -> pd.DataFrame:
    """A row per file: file, species, path, sha256 ("" if it cannot be read), the reason, EXIF."""
    digests = map_on_engine(_digest, [path for _, path in files])
    rows = [
        (_printable(path.relative_to(root)), species, path, *digest)
        for (species, path), digest in zip(files, digests, strict=True)
    ]
    columns = ["file", "species", "path", "sha256", "reason", *exif.COLUMNS]
    return pd.DataFrame(rows, columns=columns)


def _digest(path: Path) -> tuple[str, ...]:
    try:
        path.as_posix().encode()  # a name that is not UTF-8 cannot stand in the manifest
        content = read(path)
    except Exception as error:
        return "", reason(error), *exif.NOTHING
    return hashlib.sha256(content).hexdigest(), "", *exif.read_exif(content)


def _printable(path: Path) -> str:
    # A name that is no UTF-8 cannot stand in a table; its file is left out, under a stand-in.
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def pack_files(files: pd.DataFrame, size: int, old: Path, new: Path) -> dict[str, str]:
    """Pack the contents of `files` into the cache `new`, with what the cache `old` has of them.

    Returns:
        For the SHA-256 of each file that is no usable image, the reason.
    """
    readable = files[files["sha256"] != ""].drop_duplicates("sha256")
    sources = zip(readable["sha256"], readable["path"], strict=True)
    wanted = {digest: (digest, path) for digest, path in sources}
    return pack(wanted, partial(_decode_all, size), pixels_packing(size), old, new).broken


def _decode_all(size: int, sources: Sequence[tuple[str, Path]]) -> Iterator[Decoded | str]:
    for digest, path in sources:
        try:
            content = read(path)
            if hashlib.sha256(content).hexdigest() == digest:
                yield decode(content, size)
            else:
                yield "the file changed while it was read"
        except Exception as error:  # a decoder may raise anything on a broken file
            yield reason(error)


def describe_files(files: pd.DataFrame, packed: Cache, folder: Path) -> pd.DataFrame:
    """`files`, which have an index in `packed`, with what the manifest says of their photographs.

    `folder` is one for working files, as of `find_copies`.
    Instead of `original` there is `group`, the number of each file's photograph; `alike` is the
    number of another one that looks like it, or -1.
    """
    rows = files["index"].to_numpy(np.int64)
    width, height = packed.column("width"), packed.column("height")
    copies = find_copies(lambda some: packed.take(some, "thumbnail"), width / height, folder)
    alike = np.where(copies.alike < 0, -1, copies.group[copies.alike])
    return files.assign(
        index=rows,
        width=width[rows],
        height=height[rows],
        mode=packed.column("mode")[rows].astype(str),
        group=copies.group[rows],
        confidence=copies.confidence[rows].round(3),
        alike=alike[rows],
    )


def rejections(files: pd.DataFrame, broken: dict[str, str]) -> pd.DataFrame:
    """Why each of `files`, which have no index in the packed files (-1), is left out.

    `broken`: the reasons by SHA-256, if it could be read.
    """
    reasons = files["reason"].where(files["sha256"] == "", files["sha256"].map(broken))
    return files.assign(index=-1, reason=reasons)[REJECTED]


def settle_conflicts(manifest: pd.DataFrame, choice: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest without photographs that lie under more than one species, and these rejected.

    Raises:
        UserError: there are some, and `choice` is `fail`.
    """
    firsts = manifest.drop_duplicates(["group", "species"]).groupby("group")["file"].agg(list)
    conflicts = firsts[firsts.map(len) > 1]
    if len(conflicts) and choice == "fail":
        named = "".join(f"\n  {' and '.join(files)}" for files in conflicts.head(10))
        more = f"\n  … and {len(conflicts) - 10} more" if len(conflicts) > 10 else ""
        raise UserError(
            f"the same photograph lies under different species, {len(conflicts)} times:{named}"
            f"{more}\nKeep each under its true species, or set data.conflicts to drop to leave "
            "out all files that show it."
        )
    out = manifest["group"].isin(conflicts.index)
    shown = manifest.loc[out, "group"].map(conflicts.map(" and ".join))
    reasons = CONFLICT + shown.astype(str)
    return manifest[~out], manifest[out].assign(reason=reasons)[REJECTED]


def require_each(species: Sequence[str], files: pd.DataFrame, root: Path) -> None:
    """Refuse `files` that lack a species.

    Raises:
        UserError: there is none of one of the species.
    """
    for name in species:
        if not (files["species"] == name).any():
            raise UserError(
                f"{root / name} has no usable image; add photographs or take '{name}' "
                "out of params.yaml"
            )


def photographs_by_digest(cache: Path) -> dict[str, str]:
    """Which photograph a file shows, by the SHA-256 of its content.

    As `preprocess` found it, also of photographs that it left out for lying under several species;
    the names mean nothing. Nothing if there is no cache.
    """
    if not (cache / "manifest.csv").is_file():
        return {}
    manifest, rejected = read_csv(cache / "manifest.csv"), read_csv(cache / "rejected.csv")
    rejected = rejected.reindex(columns=REJECTED, fill_value="")  # an older cache has no hashes
    conflicts = rejected[rejected["reason"].str.startswith(CONFLICT)]  # one reason, one photograph
    shown = dict(zip(conflicts["sha256"], conflicts["reason"], strict=True))
    return shown | dict(zip(manifest["sha256"], manifest["original"], strict=True))
