"""The files of a folder or an archive that may be photographs, archives inside included."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from fishline.core.errors import UserError
from fishline.data.ingest.archives import (
    CHUNK,
    ENDINGS,
    Entry,
    Refused,
    entries,
    name_fault,
    quoted,
)
from fishline.data.photo_files import MASKS, MAX_BYTES, image_endings, reason

MAX_ARCHIVES = 3  # in each other

HIDDEN = "hidden file or folder"
MASK = f"mask (folder '…{MASKS}')"
NOT_UTF8 = "name is not UTF-8"
NO_IMAGE = "not an image"
TOO_LARGE = f"over {MAX_BYTES // 2**20} MiB"
DANGLING = "dangling link"
FOLDER_LINK = "link to a folder, not followed"
IRREGULAR = "neither file nor folder"

_CLUTTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the source; its content can be read until the next member is drawn."""

    name: str  # below the source: "all.zip/Trout/1.png"
    path: tuple[str, ...]  # its folders and its own name: ("all", "Trout", "1.png")
    size: int
    left_out: str  # why it is not taken, or ""
    open: Callable[[], IO[bytes]]
    file: Path | None = None  # where it lies, unless in an archive

    def chunks(self) -> Iterator[bytes]:
        """The content, piece by piece.

        Raises:
            UserError: it cannot be read to its end, or its end is not where it was said to be.
        """
        read = 0
        try:
            with self.open() as stream:
                while read <= self.size and (chunk := stream.read(CHUNK)):
                    read += len(chunk)
                    yield chunk
        except Exception as error:  # arbitrary bytes can raise nearly anything
            why = "cannot be read" if self.file else "is damaged or cut off"
            raise self._refusal(f"{why} ({reason(error)})") from None
        if read != self.size:
            more = "more" if read > self.size else "less"
            raise self._refusal(f"holds {more} than the {self.size} bytes declared")

    def _refusal(self, why: str) -> UserError:
        return UserError(f"{quoted(self.name)} {why}; refused, nothing was changed")


def set_aside(path: tuple[str, ...]) -> str:
    """Why a file of these folders and this name is no photograph to take, or ""."""
    if any(part.startswith(".") or part.lower() in _CLUTTER for part in path):
        return HIDDEN
    if any(part.endswith(MASKS) for part in path):
        return MASK
    return NOT_UTF8 if any(_SURROGATE.search(part) for part in path) else ""


class Source:
    """A folder or an archive of photographs."""

    def __init__(self, path: Path, spool: Path, room: int) -> None:
        """`room`: bytes that archives may unpack to; `spool`: folder for archives in archives,
        which are written to nameless files there.
        """
        self.path, self.spool, self.room = path, spool, room
        self._left = room
        self._endings = image_endings()

    def members(self) -> Iterator[Member]:
        """Every file, each time in the same order. One such pass at a time.

        Raises:
            UserError: a folder or file cannot be read, or an archive is refused.
        """
        self._left = self.room
        try:
            if self.path.is_dir():
                yield from self._in_folder()
            else:
                with self.path.open("rb") as file:
                    yield from self._in_archive(file, "", (), 1)
        except OSError as error:
            where = error.filename or self.path
            raise UserError(f"{where} cannot be read: {error.strerror}") from None

    def _in_folder(self) -> Iterator[Member]:
        for top, folders, files in os.walk(self.path, onerror=_stop):
            above = Path(top).relative_to(self.path).parts
            for name in sorted(folders):
                hidden, file = set_aside((name,)) == HIDDEN, Path(top, name)
                if hidden or file.is_symlink():
                    folders.remove(name)
                    why = HIDDEN if hidden else FOLDER_LINK
                    yield _on_disk(file, (*above, name), 0, why)
            folders.sort()
            for name in sorted(files):
                yield from self._in_file(Path(top, name), (*above, name))

    def _in_file(self, file: Path, path: tuple[str, ...]) -> Iterator[Member]:
        """The file itself, or what is in it if it is an archive."""
        name = "/".join(path)
        left_out, size = set_aside(path) or name_fault(name), 0
        try:
            status = file.stat()
            size = status.st_size
            left_out = left_out or ("" if stat.S_ISREG(status.st_mode) else IRREGULAR)
        except OSError:
            if not file.is_symlink():
                raise
            left_out = left_out or DANGLING
        if not left_out and is_archive(file.name):
            with file.open("rb") as stream:
                yield from self._in_archive(stream, f"{name}/", _as_folder(path), 1)
        else:
            yield _on_disk(file, path, size, left_out or self._unusable(file.name, size))

    def _in_archive(
        self, file: BinaryIO, where: str, folders: tuple[str, ...], depth: int
    ) -> Iterator[Member]:
        """`where`: the archive's name below the source, with "/" after it; "" for the source."""
        try:
            if depth > MAX_ARCHIVES:
                raise Refused(f"it lies in more than {MAX_ARCHIVES - 1} other archives")
            for entry in entries(file):
                self._left -= entry.size
                if self._left < 0:
                    raise Refused(
                        f"it unpacks to more than the {self.room:,} bytes free on the disk"
                    )
                yield from self._in_entry(entry, where, folders, depth)
        except Refused as why:
            archive = quoted(str(self.path / where))
            raise UserError(f"{archive}: {why}; refused, nothing was changed") from None

    def _in_entry(
        self, entry: Entry, where: str, folders: tuple[str, ...], depth: int
    ) -> Iterator[Member]:
        name, path = where + entry.name, (*folders, *entry.name.split("/"))
        if fault := name_fault("/".join(path)):
            raise Refused(f"its member {quoted(entry.name)} {fault}")
        left_out = set_aside(path)
        if not left_out and is_archive(entry.name):
            content = Member(name, path, entry.size, "", entry.open)
            with tempfile.TemporaryFile(dir=self.spool) as spooled:
                for chunk in content.chunks():
                    spooled.write(chunk)
                spooled.seek(0)
                yield from self._in_archive(spooled, f"{name}/", _as_folder(path), depth + 1)
            return
        left_out = left_out or self._unusable(entry.name, entry.size)
        if left_out == TOO_LARGE:
            raise Refused(f"its member {quoted(entry.name)} is {left_out}")
        yield Member(name, path, entry.size, left_out, entry.open)

    def _unusable(self, name: str, size: int) -> str:
        if Path(name).suffix.lower() not in self._endings:
            return NO_IMAGE
        return TOO_LARGE if size > MAX_BYTES else ""


def is_archive(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _as_folder(path: tuple[str, ...]) -> tuple[str, ...]:
    """An archive counts as a folder of its name: Trout.tar.gz as Trout."""
    *folders, name = path
    ending = max((e for e in ENDINGS if name.lower().endswith(e)), key=len)
    return (*folders, name[: -len(ending)])


def _on_disk(file: Path, path: tuple[str, ...], size: int, left_out: str) -> Member:
    return Member("/".join(path), path, size, left_out, lambda: file.open("rb"), file)


def _stop(error: OSError) -> None:
    raise error
