"""Files that change their place in data/raw, or come into it, or leave it: none is lost on the way.

Nothing is overwritten or deleted: what leaves data/raw goes to `REMOVED`, and what is brought in
stays in `PHOTOGRAPHS`, too.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fishline.core.errors import UserError
from fishline.core.files import link_or_copy, sync, write_csv
from fishline.data.decisions import PHOTOGRAPHS
from fishline.data.ingest.ingest import RAW
from fishline.data.photo_files import find_images
from fishline.data.photograph_table import read_user_csv
from fishline.data.prepare.manifest import digest_files

REMOVED = Path("data/review/removed")
TABLES = ("originals.csv", "photographs.csv")  # in data/raw, that name files in a column `file`


@dataclass(frozen=True)
class Move:
    """A file that is to lie elsewhere; `same`: a file of that name and content is there already."""

    source: Path
    target: Path
    same: bool


class Files:
    """The photographs in data/raw and beside it.

    raw:    paths by the SHA-256 of their content
    beside: a path by SHA-256, of what is new or was taken out
    copies: by SHA-256, which photograph a file was taken out with: the folder's name in `REMOVED`
    """

    def __init__(self) -> None:
        folders = [folder for folder in (RAW, PHOTOGRAPHS, REMOVED) if folder.is_dir()]
        listed = [("", path) for folder in folders for path in find_images(folder)]
        table = digest_files(listed, RAW.parent)
        self._digests = dict(zip(table["path"], table["sha256"], strict=True))
        self.raw: dict[str, list[Path]] = defaultdict(list)
        self.beside: dict[str, Path] = {}
        self.copies: dict[str, str] = {}
        for path, digest in self._digests.items():
            if not path.is_relative_to(RAW):
                self.beside.setdefault(digest, path)
            elif path.parent != RAW:
                self.raw[digest].append(path)
            if path.is_relative_to(REMOVED):
                self.copies[digest] = path.relative_to(REMOVED).parts[0]

    def move(self, source: Path, goal: str, photograph: str) -> Move:
        """A file to the species `goal`, or out of data/raw, under its own name if that is free.

        Raises:
            UserError: there is another file.
        """
        if goal:
            wanted = RAW / goal / _below_species(source)
        else:
            wanted = REMOVED / photograph / source.relative_to(RAW)
        digest = self._digests[source]
        # Named by its content, another run finds the same name.
        for target in (wanted, wanted.with_stem(f"{wanted.stem}-{digest[:8]}")):
            there = self._digests.get(target)
            if there == digest or not os.path.lexists(target):
                break
        else:
            raise UserError(f"{target} is there with other content: rename it; nothing was changed")
        self._digests[target] = digest
        return Move(source, target, there == digest)


def _below_species(path: Path) -> Path:
    """The name that a file has below the folder of a species."""
    above = {RAW: 1, REMOVED: 2, PHOTOGRAPHS: 0}  # folders between, of species and photograph
    folder = next(folder for folder in above if path.is_relative_to(folder))
    return Path(*path.relative_to(folder).parts[above[folder] :])


def carry_out(moves: Sequence[Move], staging: Path) -> None:
    """Move the files. The tables that name them go first: so no cut leaves a name that is stale.

    Raises:
        UserError: a file could not be moved; all are whole, and the same again goes on.
    """
    try:
        _rename_in_tables(moves)
        for move in moves:
            _carry(move, staging)
        for folder in {move.target.parent for move in moves}:
            sync(folder)
        for move in moves:
            _remove_empty(move.source.parent)
    except OSError as error:
        raise UserError(
            f"{error.filename or RAW}: {error.strerror}. What {RAW} holds is whole; run the same "
            "again to go on"
        ) from None


def _carry(move: Move, staging: Path) -> None:
    if move.source.is_relative_to(PHOTOGRAPHS):
        if not move.same:
            link_or_copy(move.source, staging / "copy")
            _place(staging / "copy", move.target)
    elif move.same:
        move.source.unlink()
    else:
        _place(move.source, move.target)


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        raise UserError(f"{target} has come meanwhile, and is not overwritten; try again")
    source.rename(target)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something
        for empty in (folder, *folder.parents):
            if not {RAW, REMOVED} & set(empty.parents):
                return
            empty.rmdir()


def _rename_in_tables(moves: Sequence[Move]) -> None:
    """Have the user's tables name files as they will be called; those taken out, no longer."""
    pairs = [(move.source, move.target) for move in moves if move.source.is_relative_to(RAW)]
    out = {s.relative_to(RAW).as_posix() for s, t in pairs if not t.is_relative_to(RAW)}
    names = {
        s.relative_to(RAW).as_posix(): t.relative_to(RAW).as_posix()
        for s, t in pairs
        if t.is_relative_to(RAW)
    }
    for path in (RAW / name for name in TABLES):
        if not path.is_file():
            continue
        table = read_user_csv(path)
        if "file" in table and table["file"].isin(out | names.keys()).any():
            kept = table[~table["file"].isin(out)]
            write_csv(path, kept.assign(file=kept["file"].replace(names)))
