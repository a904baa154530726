"""Pictures, what may become of them, and what the cache holds of them."""

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance

from fishline.data.decode import decode
from fishline.data.prepare.copies.rings import Floats64, Thumbnails

Picture = Image.Image
Draw = Callable[[int], Picture]
Change = Callable[[Picture], Picture]


def turned(angle: float, how: Image.Resampling = Image.Resampling.BILINEAR) -> Change:
    return lambda image: image.rotate(angle, how)  # counter-clockwise; black corners, same frame


def resized(width: int, height: int) -> Change:
    return lambda image: image.resize((width, height), Image.Resampling.LANCZOS)


def compressed(quality: int) -> Change:
    def change(image: Picture) -> Picture:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return change


def brighter(factor: float) -> Change:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


def contrast(factor: float) -> Change:
    return lambda image: ImageEnhance.Contrast(image).enhance(factor)


def gamma(power: float) -> Change:
    table = [round(255 * (level / 255) ** power) for level in range(256)]
    return lambda image: image.point(table * 3)


def chain(*changes: Change) -> Change:
    def change(image: Picture) -> Picture:
        for step in changes:
            image = step(image)
        return image

    return change


def looks_of(pictures: Sequence[Picture]) -> tuple[Thumbnails, Floats64]:
    """What the cache holds of pictures: looks (n, THUMBNAIL, THUMBNAIL) and aspects (n,)."""
    thumbnails, aspects = [], []
    for picture in pictures:
        file = BytesIO()
        picture.save(file, "BMP")
        image = decode(file.getvalue(), 48)
        thumbnails.append(image.thumbnail)
        aspects.append(image.width / image.height)
    return np.stack(thumbnails), np.array(aspects)


def speckled(level: int, seed: int) -> Picture:
    """Nearly blank: here and there a grey level more."""
    noise = np.random.default_rng(seed).integers(0, 2, (445, 590), np.uint8)
    return Image.fromarray(noise + np.uint8(level))
