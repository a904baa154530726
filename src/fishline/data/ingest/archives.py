"""Zip and tar archives, read without trusting a word of them.

Nothing is ever unpacked to a name that the archive chose: callers get entries, one after the
other, and choose the destinations themselves. What no honest archive of photographs holds is
refused as a whole: a name that leads elsewhere, a link, a device, a name that stands there twice.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from typing import IO, Any, BinaryIO, NamedTuple

from fishline.data.photo_files import reason

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_FOLDERS = 32  # in each other
CHUNK = 2**20  # bytes held of a file at a time

_COMPRESSED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with files, empty
# zipfile unpacks the other methods without a bound on memory.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# Headers are held in memory and may claim any length.
_TAR_HEADER = 2**20  # bytes before the content of one member
_ZIP_DIRECTORY = 2**28  # bytes: millions of members
_TAR_PADDING = 2**26  # bytes after the last member

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")


class Refused(Exception):
    """Why an archive is not taken; "it" is the archive."""


class Entry(NamedTuple):
    """A file or folder of an archive; `open` holds until the next entry is drawn."""

    name: str
    size: int  # as declared
    is_folder: bool
    fault: str  # why nobody should have it, or ""
    open: Callable[[], IO[bytes]]


def entries(file: BinaryIO) -> Iterator[Entry]:
    """The files of the archive `file`, in its order, under their names without "." and "//".

    Raises:
        Refused: it is no zip or tar archive, is damaged, cut off or encrypted, or holds something
            that is refused; the message names the member.
    """
    seen: set[str] = set()
    start = file.read(4)
    file.seek(0)
    try:
        for entry in (_zip_entries if start in _ZIP else _tar_entries)(file):
            if fault := entry.fault or name_fault(entry.name):
                raise Refused(f"its member {quoted(entry.name)} {fault}")
            if entry.is_folder:
                continue
            name = "/".join(name_parts(entry.name))
            if name in seen:
                raise Refused(f"its member {quoted(name)} is there twice")
            seen.add(name)
            yield entry._replace(name=name)
    except Refused:
        raise
    except Exception as error:  # arbitrary bytes can raise nearly anything
        raise Refused(
            f"it is no zip or tar archive, or is damaged or cut off ({reason(error)})"
        ) from None


def name_parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def name_fault(name: str) -> str:
    """Why `name`, with "/" between folders, can be no name below a folder of ours, or ""."""
    parts = name_parts(name)
    if _CONTROL.search(name):
        return "has a control character in its name"
    if name.startswith("/"):
        return "has an absolute name"
    if ".." in parts:
        return "has '..' in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if any(_DRIVE.match(part) for part in parts):
        return "has a drive letter in its name"
    if len(parts) > MAX_FOLDERS + 1:
        return f"lies in more than {MAX_FOLDERS} folders"
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        return "has a name of more than 255 bytes"
    return "" if parts or name in (".", "./") else "has no name"


def quoted(name: str) -> str:
    """`name` for a message: control characters must not reach the terminal."""
    return f"'{name}'" if name.isprintable() else repr(name)


class _Bounded(io.BufferedIOBase):
    """A file of which no more than `left` further bytes can be read, for parsers that trust."""

    def __init__(self, file: Any, left: int) -> None:
        self._file = file
        self.left: int | None = left  # None: no bound
        self.last = b""  # what was read last

    def read(self, size: int | None = -1, /) -> bytes:
        count = -1 if size is None or size < 0 else size
        if self.left is None:
            return bytes(self._file.read(count))
        most = self.left + 1
        self.last = bytes(self._file.read(most if count < 0 else min(count, most)))
        self.left -= len(self.last)
        if self.left < 0:
            raise Refused("it has headers of an absurd size")
        return self.last

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def seekable(self) -> bool:
        return True


def _zip_entries(file: BinaryIO) -> Iterator[Entry]:
    bounded: Any = _Bounded(file, _ZIP_DIRECTORY)
    with zipfile.ZipFile(bounded) as archive:
        bounded.left = None
        for info in archive.infolist():
            content = partial(_open_zipped, archive, info)
            # orig_filename: zipfile cuts the other one at a NUL
            name, fault = info.orig_filename, _zip_fault(info)
            yield Entry(name, info.file_size, name.endswith("/"), fault, content)


def _zip_fault(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive does not say
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a device"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed by another method than deflate"
    return ""


def _open_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    longer = copy(info)
    longer.file_size += 1  # zipfile would pass over in silence what exceeds the declared size
    return archive.open(longer)


def _tar_entries(file: BinaryIO) -> Iterator[Entry]:
    start = file.read(6)
    file.seek(0)
    unpack = [opener for magic, opener in _COMPRESSED.items() if start.startswith(magic)]
    stream: Any = _Bounded(unpack[0](file) if unpack else file, _TAR_HEADER)
    archive: Any
    with tarfile.TarFile(fileobj=stream, encoding="utf-8") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # tarfile would keep them all
            if info.size < 0:
                raise Refused(f"its member {quoted(info.name)} has a negative size")
            stream.left = None
            content = partial(_open_tarred, archive, info)
            yield Entry(info.name, info.size, info.isdir(), _tar_fault(info), content)
            stream.left = _TAR_HEADER
        _require_end(stream)


def _tar_fault(info: tarfile.TarInfo) -> str:
    if info.isreg() or info.isdir():
        return ""
    if info.issym() or info.islnk():
        return "is a symbolic link" if info.issym() else "is a hard link"
    return "is a device or of an unknown kind"


def _open_tarred(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    assert stream is not None  # None only for what is no file
    return stream


def _require_end(stream: _Bounded) -> None:
    """tarfile takes a damaged header for the end; a real end is zeros, up to the last byte."""
    stream.left = _TAR_PADDING
    block = stream.last
    if len(block) != tarfile.BLOCKSIZE:
        raise Refused("it is cut off")
    while block:
        if block.count(0) != len(block):
            raise Refused("it is damaged, or goes on after its end")
        block = stream.read(CHUNK)
