"""A photograph's file as pixels. Whatever looks at photographs decodes them here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageDraw, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]

MASKS = " GT"  # "<Species> GT" holds segmentation masks named like the photographs


@dataclass(frozen=True)
class Decoded:
    """One photograph: `pixels` uint8 (size, size, 3), and what its file said of itself."""

    pixels: Pixels
    width: int
    height: int
    mode: str


def decode(content: bytes, size: int) -> Decoded:
    """Decode an image file and resize it to `size` × `size` (bilinear, antialiased, squashed).

    Every mode that Pillow reads becomes RGB; transparent pixels become black, 16-bit greys keep
    their upper 8 bits. A camera's EXIF orientation is applied.

    Raises:
        Exception: whatever Pillow raises for a file that is no image, is cut short, or has more
            than `PIL.Image.MAX_IMAGE_PIXELS` pixels. Decoders meet arbitrary bytes, so this can
            be nearly anything.
    """
    with Image.open(BytesIO(content)) as image:
        width, height, mode = *image.size, image.mode
        if width * height > (Image.MAX_IMAGE_PIXELS or float("inf")):
            raise Image.DecompressionBombError(f"{width} × {height} pixels is over Pillow's limit")
        image.draft("RGB", (2 * size, 2 * size))  # JPEGs decode at a fraction where that is enough
        upright = ImageOps.exif_transpose(image)
        small = to_rgb(upright).resize((size, size), Image.Resampling.BILINEAR)
    return Decoded(np.asarray(small), width, height, mode)


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB, whatever its mode was."""
    if image.mode.startswith("I;16"):
        deep = np.asarray(image)  # (h, w) uint16
        return Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_to_8_bits(np.asarray(image, np.float64))).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only when converting in place
        return converted
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(grey: npt.NDArray[np.float64]) -> Pixels:
    """Greys of unknown depth: 0…1, 0…255 or 0…65535, told apart by their largest value."""
    top = float(grey.max(initial=0))
    scale = 255.0 if top <= 1 else 1.0 if top <= 255 else 1 / 257
    return np.clip(np.rint(grey * scale), 0, 255).astype(np.uint8)


def find_images(folder: Path) -> Iterator[Path]:
    """Image files below `folder`, sorted; hidden files and mask folders are left out."""
    endings = _endings()
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part.endswith(MASKS) for part in below)
        if path.suffix.lower() in endings and not hidden and path.is_file():
            yield path


def _endings() -> set[str]:
    return {e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def reason(error: BaseException) -> str:
    """Why a file could not be decoded, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    return " ".join(str(error).split()) or type(error).__name__


def contact_sheet(
    columns: Mapping[str, Sequence[Image.Image]], size: tuple[int, int]
) -> Image.Image:
    """Pictures below their column's name, each shrunk to `size` (width, height) in pixels."""
    width, height = size
    rows = max(len(pictures) for pictures in columns.values())
    sheet = Image.new("RGB", (len(columns) * width, rows * height + 18), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (name, pictures) in enumerate(columns.items()):
        pen.text(((column + 0.5) * width, 3), name, "black", anchor="ma")
        for row, picture in enumerate(pictures):
            small = picture.resize((width - 2, height - 2), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * width + 1, 18 + row * height))
    return sheet
