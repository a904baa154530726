"""The content of a photograph that is asked about: given by file, by bytes, by base64."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from fishline.data.photo_files import MAX_BYTES, read
from fishline.data.remote_files import RemoteFile

DATA_URL = re.compile(r"data:[^,]*;base64,")

# A path or base64 (str), a path (Path), a URL (RemoteFile), a file's content (bytes).
Photograph = object


def content(photograph: Photograph, paths: bool = True) -> bytes:
    """The bytes of a photograph's file.

    Args:
        paths: whether text may name a file.

    Raises:
        OSError, ValueError: no such file, or it is empty or too large; see `reason`.
        UserError: a URL cannot be reached.
    """
    if isinstance(photograph, bytes | bytearray | memoryview):
        if len(photograph) > MAX_BYTES:
            raise ValueError(f"{len(photograph)} bytes; the limit is {MAX_BYTES}")
        return bytes(photograph)
    if isinstance(photograph, Path) and paths:
        return read(photograph)
    if isinstance(photograph, RemoteFile) and paths:
        return photograph.read()
    if not isinstance(photograph, str):
        raise ValueError(f"no {'path, ' * paths}bytes or base64 but {photograph!r:.80}")
    encoded = DATA_URL.sub("", photograph, count=1)
    if paths and encoded == photograph and len(photograph) < 4096 and _is_file(photograph):
        return read(Path(photograph))
    return _from_base64(encoded, "neither a file nor base64" if paths else "not base64")


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def _from_base64(text: str, complaint: str) -> bytes:
    if len(text) > MAX_BYTES * 4 / 3 + 4:
        raise ValueError(f"{len(text)} characters of base64; the limit is {MAX_BYTES} bytes")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        shown = text if len(text) < 80 else f"{text[:60]}…"
        raise ValueError(f"{complaint}: {shown}") from None
