"""Zip and tar archives, unpacked into an empty folder without trusting a word of them.

What no honest archive of photographs holds is refused as a whole: a name that leads elsewhere, a
link, a device, a name that stands there twice. So is what is damaged or cut off: photographs
that are not there would not be missed.
"""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, Self

from fishline.core.errors import UserError
from fishline.data.photo_files import reason

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_ENTRIES = 2_000_000  # of all archives of a source
HEADER_BYTES = 2**20  # of a tar's header: it is held in memory and may claim any length

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with files, empty
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|^/|(^|/)\.\.(/|$)|(^|/)[A-Za-z]:")
UNSAFE = "unsafe name (absolute, or with '..', a backslash, a drive or a control character)"


class Refused(Exception):
    """Why an archive is not taken; "it" is the archive."""


class Room:
    """What archives may still unpack to: bytes and entries."""

    def __init__(self, size: int) -> None:
        self.size = self.left = size  # bytes
        self.entries = MAX_ENTRIES

    def take(self, size: int) -> None:
        self.left -= size
        self.entries -= 1
        if self.left < 0:
            raise Refused(f"it unpacks to more than the {self.size:,} bytes free on the disk")
        if self.entries < 0:
            raise Refused(f"it unpacks to more than {MAX_ENTRIES:,} files")


def is_unsafe(name: str) -> bool:
    """Whether `name`, with "/" between folders, may lead or be taken for something elsewhere."""
    return bool(_UNSAFE.search(name))


def quoted(name: str) -> str:
    """`name` for a message: control characters must not reach the terminal."""
    return f"'{name}'" if name.isprintable() else repr(name)


def unpack(archive: Path, name: str, folder: Path, room: Room) -> None:
    """Unpack `archive` into the empty `folder`.

    Args:
        name: the archive's, for messages.

    Raises:
        UserError: it is no zip or tar archive, is damaged, cut off or encrypted, holds something
            that is refused, or the disk is full.
    """
    try:
        with archive.open("rb") as file:
            start = file.read(4)
        (_unzip if start in _ZIP else _untar)(archive, folder, room)
    except Exception as error:  # arbitrary bytes can raise nearly anything
        if isinstance(error, Refused):
            why = str(error)
        elif isinstance(error, OSError) and error.strerror:
            why = f"it cannot be unpacked ({error.strerror})"
        else:
            why = f"it is no zip or tar archive, or is damaged or cut off ({reason(error)})"
        raise UserError(f"{quoted(name)}: {why}; refused, nothing was changed") from None


def _unzip(path: Path, folder: Path, room: Room) -> None:
    seen: set[PurePosixPath] = set()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive does not say
            ordinary = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            # orig_filename: zipfile cuts the other one at a NUL
            _admit(info.orig_filename, ordinary, info.is_dir(), seen)
            room.take(info.file_size)
            archive.extract(info, folder)


class _Header(tarfile.TarInfo):
    """tarfile takes a damaged header, or none at all, for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if info.size < 0 or (info.size > HEADER_BYTES and not info.isreg()):
            raise Refused("it has a header of an absurd size")
        return info


def _untar(path: Path, folder: Path, room: Room) -> None:
    seen: set[PurePosixPath] = set()
    archive: Any
    with tarfile.open(path, tarinfo=_Header, encoding="utf-8") as archive:
        while info := archive.next():
            archive.members.clear()  # tarfile would keep them all
            _admit(info.name, info.isreg() or info.isdir(), info.isdir(), seen)
            room.take(info.size)
            archive.extract(info, folder, set_attrs=False, filter="data")
        while chunk := archive.fileobj.read(2**20):  # zeros, and checksums at their end
            if chunk.count(0) != len(chunk):
                raise Refused("it goes on after its end")


def _admit(name: str, ordinary: bool, is_folder: bool, seen: set[PurePosixPath]) -> None:
    path = PurePosixPath(name)  # without "." and "//"
    if is_unsafe(name):
        raise Refused(f"its member {quoted(name)} has an {UNSAFE}")
    if not ordinary:
        raise Refused(f"its member {quoted(name)} is a link or a device")
    if path in seen and not is_folder:
        raise Refused(f"its member {quoted(str(path))} is there twice")
    seen.add(path)
