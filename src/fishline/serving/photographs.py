"""The photographs that a command names: files, folders, lists, buckets."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from fishline.core.errors import UserError
from fishline.data import remote_files
from fishline.data.photo_files import find_images, image_endings
from fishline.data.remote_files import THREADS, RemoteFile, is_url

LIST = ".txt"  # how the name of a list of photographs ends


def names(sources: Iterable[str]) -> list[str]:
    """A path or URL for each photograph, none twice, in the order of `sources`.

    Args:
        sources: files, folders and URLs, which are searched at any depth, and text files with a
            path or URL a line.

    Raises:
        UserError: there is no such list or bucket, or nothing to look at.
    """
    sources = list(sources)
    # Of names that are no UTF-8 the bytes stay as surrogates.
    found = list(dict.fromkeys(name for source in sources for name in _expand(source)))
    if not found:
        raise UserError(f"no photographs in {', '.join(sources)}")
    return found


def _expand(source: str) -> Iterator[str]:
    if is_url(source):
        yield from remote_files.find_images(source)
    elif os.path.isdir(source):  # noqa: PTH112 - Path.is_dir raises where nobody may look
        yield from map(str, find_images(Path(source)))
    elif source.lower().endswith(LIST):
        yield from _listed(source)
    else:
        yield str(Path(source))


def _listed(path: str) -> Iterator[str]:
    try:
        with Path(path).open(encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise UserError(f"the list {path} cannot be read: {error.strerror}") from None
    yield from (line if is_url(line) else str(Path(line)) for line in lines if line)


def photograph(name: str) -> Path | RemoteFile:
    """The file that a name of `names` stands for."""
    return RemoteFile(name) if is_url(name) else Path(name)


def shown(name: str) -> str:
    """`name` as text that can be written; of what is no UTF-8 the bytes as `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def readers(names: Iterable[str]) -> int:
    """How many threads for each processor read and decode them."""
    return THREADS if any(map(is_url, names)) else 1


def ending(name: str, content: bytes) -> str:
    """How the file of a photograph with this content should end, whatever it was called."""
    ending = PurePosixPath(name).suffix.lower()
    if ending in image_endings():
        return ending
    with Image.open(io.BytesIO(content)) as image:
        kind = image.format
    usual = {"JPEG": ".jpg", "TIFF": ".tif"}  # where Pillow lists others first
    endings = (e for e, name in Image.registered_extensions().items() if name == kind)
    return usual.get(kind or "") or next(endings)
