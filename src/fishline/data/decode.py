"""A photograph's file as pixels. Whatever looks at photographs finds, reads and decodes them here.

Files are arbitrary bytes, so each step has a bound:
    formats   `FORMATS` alone, told by content; a file's ending only says that it claims to be one
    bytes     `MAX_BYTES` a file, checked before it is read
    pixels    `MAX_SIDE` a side, `PIL.Image.MAX_IMAGE_PIXELS` (89 million) a picture, fewer where
              a decoder needs more than `WEIGHT` bytes for each: checked before any is decoded
    memory    1.5 GiB for the largest picture, and four times its file. Of all threads of a
              process one at a time takes more than `LARGE`
    time      `SECONDS` of computing, checked whenever a decoder asks for more of the file
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import (
    ExifTags,
    Image,
    ImageCms,
    ImageOps,
    TiffImagePlugin,
    TiffTags,
)

Pixels = npt.NDArray[np.uint8]

BILINEAR = Image.Resampling.BILINEAR
THUMBNAIL = 64  # pixels: the side of `Decoded.thumbnail`
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

MAX_SIDE = 65_535  # pixels: what a JPEG can have
SECONDS = 60.0  # of a thread's computing time; crafted files can keep a decoder busy for hours
LARGE = 256 * 2**20  # bytes
STRIP = 2**20  # pixels that are converted at a time
TAGS = 4 * 2**20  # bytes of numbers in a directory of TIFF or EXIF tags

# Bytes that a decoder holds for a pixel at most, measured; WEIGHT for the formats not named.
WEIGHTS = {"PNG": 4, "JPEG": 4, "MPO": 4, "JPEG2000": 28}
WEIGHT = 16
PROGRESSIVE = 8  # and for each pixel of a progressive JPEG, even when it is decoded at a fraction

_alone = threading.RLock()


@dataclass(frozen=True)
class Decoded:
    """One photograph.

    `pixels` uint8 (size, size, 3) and `thumbnail` uint8 (THUMBNAIL, THUMBNAIL), grey, in which
    copies are looked for: both the whole upright picture, squashed. `width` and `height`, in
    pixels, are those of the upright picture, `mode` is that of the file.
    """

    pixels: Pixels
    thumbnail: Pixels
    width: int
    height: int
    mode: str


def decode(content: bytes, size: int) -> Decoded:
    """Decode an image file and resize it to `size` × `size` (bilinear, antialiased, squashed).

    Every mode that Pillow reads becomes RGB; transparent pixels become black, 16-bit greys keep
    their upper 8 bits. A camera's EXIF orientation is applied. Of several frames the first counts.

    Raises:
        Exception: whatever Pillow raises for a file that is no image, is cut short, or is beyond
            the bounds above. Decoders meet arbitrary bytes, so this can be nearly anything.
    """
    with _room(4 * len(content)), Image.open(_Timed(content), formats=FORMATS) as image:
        (width, height), mode = image.size, image.mode
        _require_bounded(image)
        side = 2 * max(size, 2 * THUMBNAIL)
        image.draft("RGB", (side, side))  # JPEGs decode at a fraction where that is enough
        needed = image.width * image.height * WEIGHTS.get(image.format or "", WEIGHT)
        if "progressive" in image.info:
            needed += width * height * PROGRESSIVE
        with _room(needed):
            image.load()
            orientation = _orientation(image)
            squares = _squash(image, sorted({size, 2 * THUMBNAIL}))
    if orientation > 4:
        width, height = height, width
    for square in squares.values():
        square.getexif()[ExifTags.Base.Orientation] = orientation
        ImageOps.exif_transpose(square, in_place=True)
    # In two steps, so that a picture of the usual size serves for both.
    thumbnail = (
        squares[2 * THUMBNAIL]
        .resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
        .convert("L")
    )
    return Decoded(np.asarray(squares[size]), np.asarray(thumbnail), width, height, mode)


class _Timed(BytesIO):
    """A file in memory that stops whoever has been at it for too long."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._end = time.thread_time() + SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._end:
            raise TimeoutError(f"decoding takes more than {SECONDS:g} s")
        return super().read(size)


class _Directory(TiffImagePlugin.ImageFileDirectory_v2):
    """Tags of TIFF or EXIF. A number becomes an object of 40 times its bytes, so few are let in."""

    def load(self, fp: IO[bytes]) -> None:
        super().load(fp)
        text = (TiffTags.BYTE, TiffTags.ASCII, TiffTags.UNDEFINED)
        kinds = ((self.tagtype[tag], data) for tag, data in self._tagdata.items())
        if sum(len(data) for kind, data in kinds if kind not in text) > TAGS:
            raise ValueError(f"more than {TAGS} bytes of numbers in its tags")


# Pillow has no setting for this.
TiffImagePlugin.ImageFileDirectory_v2 = _Directory  # type: ignore[misc]


def _room(needed: int) -> AbstractContextManager[object]:
    """To be held while `needed` bytes are: only one thread at a time holds a large room."""
    return _alone if needed > LARGE else nullcontext()


def _require_bounded(image: Image.Image) -> None:
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width} × {height} pixels: no side may be over {MAX_SIDE}")
    pixels = width * height
    tags = getattr(image, "tag_v2", {})  # a TIFF's tile may be larger than its picture
    match tags.get(ExifTags.Base.TileWidth), tags.get(ExifTags.Base.TileLength):
        case int(across), int(down):
            pixels = max(pixels, across * down)
    weight = max(WEIGHT, WEIGHTS.get(image.format or "", WEIGHT))
    limit = (Image.MAX_IMAGE_PIXELS or float("inf")) * WEIGHT / weight
    if pixels > limit:
        raise Image.DecompressionBombError(f"{pixels} pixels is over the limit of {limit:.0f}")


def _squash(image: Image.Image, sides: Sequence[int]) -> dict[int, Image.Image]:
    """The whole picture as RGB squares.

    Rows first, then columns, as Pillow's own resize does: but strip by strip, so that only a strip
    is ever held in another mode than the file's.
    """
    grey = image.mode in ("I", "F")
    brightest = max(_brightest(strip) for _, strip in _strips(image)) if grey else None
    narrow = {side: Image.new("RGB", (side, image.height)) for side in sides}
    for top, strip in _strips(image):
        strip = to_rgb(strip, brightest)
        for side, picture in narrow.items():
            picture.paste(strip.resize((side, strip.height), BILINEAR), (0, top))
    return {side: picture.resize((side, side), BILINEAR) for side, picture in narrow.items()}


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Rows of about `STRIP` pixels, from the top: first row, picture."""
    width, height = image.size
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken block of EXIF does not make the picture unreadable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def to_rgb(image: Image.Image, brightest: float | None = None) -> Image.Image:
    """`image` in mode RGB, whatever its mode was.

    `brightest` is the largest value of the picture that `image` is a strip of (modes I and F).
    """
    if image.mode.startswith("I;16"):
        deep = np.asarray(image)  # (h, w) uint16
        return Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        grey = np.nan_to_num(np.asarray(image, np.float64))
        top = _brightest(image) if brightest is None else brightest
        return Image.fromarray(_to_8_bits(grey, top)).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only when converting in place
        return converted
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown).convert("RGB")
    return image.convert("RGB")


def _brightest(image: Image.Image) -> float:
    return float(np.fmax.reduce(np.asarray(image), axis=None, initial=0))  # NaN does not count


def _to_8_bits(grey: npt.NDArray[np.float64], top: float) -> Pixels:
    """Greys of unknown depth: 0…1, 0…255 or 0…65535, told apart by their largest value, `top`."""
    scale = 255.0 if top <= 1 else 1.0 if top <= 255 else 1 / 257
    return np.clip(np.rint(grey * scale), 0, 255).astype(np.uint8)
