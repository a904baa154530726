"""A photograph as a record of the packed files that packing.py writes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from fishline.data import decode
from fishline.data.decode import THUMBNAIL, Decoded
from fishline.data.prepare.packing import Packing


def pixels_packing(size: int) -> Packing[Decoded]:
    """Photographs of `size` × `size` pixels."""
    return Packing("pixels", record(size), made_by(size), fill)


def record(size: int) -> np.dtype[np.void]:
    """One photograph of `size` × `size` pixels, and what its file said of itself."""
    return np.dtype(
        [
            ("sha256", "u1", (32,)),  # of the file
            ("width", "<u4"),  # pixels, upright
            ("height", "<u4"),
            ("mode", "S8"),  # of the file, as Pillow names it
            ("thumbnail", "u1", (THUMBNAIL, THUMBNAIL)),  # grey, squashed; copies are found by it
            ("pixels", "u1", (size, size, 3)),  # RGB, squashed
            ("crc32", "<u4"),  # of the bytes before
        ]
    )


def made_by(size: int) -> dict[str, Any]:
    """What decides the pixels besides the photographs: a cache made otherwise is not reused."""
    code = Path(decode.__file__).read_bytes()
    return {
        "image_size": size,
        "pillow": PIL.__version__,
        "code": hashlib.sha256(code).hexdigest()[:16],
    }


def fill(slot: np.void, image: Decoded) -> None:
    """Make the record `slot` that of `image`."""
    slot["width"], slot["height"], slot["mode"] = image.width, image.height, image.mode.encode()
    slot["thumbnail"], slot["pixels"] = image.thumbnail, image.pixels
