"""The files of a folder or an archive that may be photographs, archives inside included."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fishline.core.errors import UserError
from fishline.data.ingest.archives import ENDINGS, UNSAFE, Room, is_unsafe, quoted, unpack
from fishline.data.photo_files import MASKS, MAX_BYTES, image_endings

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
Names = tuple[str, ...]  # of folders in each other, and of a file in them

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the source."""

    name: str  # below the source: "all.zip/Trout/1.png"
    path: Names  # its folders and its own name: ("all", "Trout", "1.png")
    file: Path  # where it lies
    size: int  # bytes
    left_out: str  # why it is not taken, or ""
    archives: int  # that it lies in; a bucket counts as one, too: the file is a copy


def set_aside(path: Names) -> str:
    """Why a file of these folders and this name is no photograph to take, or ""."""
    if any(name.startswith(".") or name.lower() in _CLUTTER for name in path):
        return HIDDEN
    if any(name.endswith(MASKS) for name in path):
        return MASK
    if any(_SURROGATE.search(name) for name in path):
        return NOT_UTF8
    return UNSAFE if is_unsafe("/".join(path)) else ""


def members(source: Path, staging: Path, room: int, url: str = "") -> Iterator[Member]:
    """Every file of the folder or archive `source`, in an order that stays.

    Args:
        staging: a folder that archives are unpacked into.
        room: bytes that they may unpack to.
        url: what `source` is a copy of, in `staging`, if of anything.

    Raises:
        UserError: a folder or file cannot be read, or an archive is refused.
    """
    walk, archives = _Walk(url or str(source), staging, Room(room)), 1 if url else 0
    try:
        if source.is_dir():
            yield from walk.folder(source, (), (), archives)
        else:
            yield from walk.archive(source, (), (), archives + 1)
    except OSError as error:
        where = error.filename or source
        raise UserError(f"{where} cannot be read: {error.strerror}") from None


class _Walk:
    """In its methods `name` is where a file lies below the source, `path` what that counts as."""

    def __init__(self, source: str, staging: Path, room: Room) -> None:
        self._source, self._staging, self._room = source, staging, room
        self._endings = image_endings()

    def folder(self, folder: Path, name: Names, path: Names, archives: int) -> Iterator[Member]:
        for top, folders, files in os.walk(folder, onerror=_stop):
            inside = Path(top).relative_to(folder).parts
            for own in sorted(folders):
                hidden, file = set_aside((own,)) == HIDDEN, Path(top, own)
                if hidden or file.is_symlink():
                    folders.remove(own)
                    why, whole = HIDDEN if hidden else FOLDER_LINK, (*inside, own)
                    yield Member("/".join((*name, *whole)), (*path, *whole), file, 0, why, archives)
            folders.sort()
            for own in sorted(files):
                whole = (*inside, own)
                yield from self._file(Path(top, own), (*name, *whole), (*path, *whole), archives)

    def _file(self, file: Path, name: Names, path: Names, archives: int) -> Iterator[Member]:
        """The file itself, or what is in it if it is an archive."""
        left_out, size = set_aside(path), 0
        try:
            status = file.stat()
            size = status.st_size
            left_out = left_out or ("" if stat.S_ISREG(status.st_mode) else IRREGULAR)
        except OSError:
            if not file.is_symlink():
                raise
            left_out = left_out or DANGLING
        if not left_out and is_archive(file.name):
            yield from self.archive(file, name, _as_folder(path), archives + 1)
        else:
            left_out = left_out or unusable(file.name, size, self._endings)
            yield Member("/".join(name), path, file, size, left_out, archives)

    def archive(self, file: Path, name: Names, path: Names, archives: int) -> Iterator[Member]:
        label = "/".join((self._source, *name))
        if archives > MAX_ARCHIVES:
            raise UserError(
                f"{quoted(label)} lies in more than {MAX_ARCHIVES - 1} other archives; refused, "
                "nothing was changed"
            )
        folder = Path(tempfile.mkdtemp(dir=self._staging))
        unpack(file, label, folder, self._room)
        if archives > 1:
            file.unlink()  # a copy, unpacked itself
        yield from self.folder(folder, name, path, archives)


def unusable(name: str, size: int, endings: Collection[str]) -> str:
    """Why a file of this name and size in bytes is no photograph to take, or "".

    Args:
        endings: those of images.
    """
    if Path(name).suffix.lower() not in endings:
        return NO_IMAGE
    return TOO_LARGE if size > MAX_BYTES else ""


def is_archive(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _as_folder(path: Names) -> Names:
    """An archive counts as a folder of its name: Trout.tar.gz as Trout."""
    *folders, name = path
    ending = max((e for e in ENDINGS if name.lower().endswith(e)), key=len)
    return (*folders, name[: -len(ending)])


def _stop(error: OSError) -> None:
    raise error
