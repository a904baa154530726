"""Photographs of every kind become the same kind of pixels."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from fishline.data.decode import decode
from fishline.data.photo_files import find_images, reason

BLACK, WHITE, GREY = (0, 0, 0), (255, 255, 255), (128, 128, 128)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(size: tuple[int, int] = (60, 30)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    return image


def noise(width: int = 60, height: int = 50) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("mode", "kind", "fill", "expected"),
    [
        ("1", "PNG", 1, WHITE),
        ("1", "PNG", 0, BLACK),
        ("L", "PNG", 100, (100, 100, 100)),
        ("L", "JPEG", 100, (100, 100, 100)),
        ("LA", "PNG", (200, 255), (200, 200, 200)),
        ("LA", "PNG", (200, 0), BLACK),
        ("RGB", "PNG", (10, 200, 30), (10, 200, 30)),
        ("RGB", "JPEG", (10, 200, 30), (10, 200, 30)),
        ("RGB", "BMP", (10, 200, 30), (10, 200, 30)),
        ("RGBA", "PNG", (10, 200, 30, 255), (10, 200, 30)),
        ("RGBA", "PNG", (10, 200, 30, 0), BLACK),
        ("RGBA", "PNG", (255, 255, 255, 128), GREY),
        ("CMYK", "TIFF", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", "JPEG", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", "TIFF", (76, 85, 255), (255, 0, 0)),
        ("I;16", "PNG", 32768, GREY),
        ("I;16", "TIFF", 32768, GREY),
        ("I;16B", "TIFF", 32768, GREY),
        ("I;16", "PNG", 65535, WHITE),
        ("I;16", "PNG", 200, BLACK),
        ("I", "TIFF", 32896, GREY),
        ("I", "TIFF", 128, GREY),
        ("F", "TIFF", 0.5, GREY),
        ("F", "TIFF", 128.0, GREY),
        ("F", "TIFF", 32896.0, GREY),
        ("F", "TIFF", 0.0, BLACK),
        ("LAB", "TIFF", (255, 128, 128), WHITE),
        ("LAB", "TIFF", (137, 128, 128), GREY),
        ("LAB", "TIFF", (0, 128, 128), BLACK),
    ],
)
def test_every_mode_becomes_rgb(
    mode: str, kind: str, fill: Any, expected: tuple[int, int, int]
) -> None:
    content = encode(Image.new(mode, (60, 50), fill), kind)
    decoded = decode(content, 8)
    assert (decoded.pixels.shape, decoded.pixels.dtype) == ((8, 8, 3), np.uint8)
    np.testing.assert_allclose(decoded.pixels.astype(int), np.full((8, 8, 3), expected), atol=4)
    assert (decoded.width, decoded.height, decoded.mode) == (60, 50, mode)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize(
    ("options", "expected"), [({}, (10, 200, 30)), ({"transparency": 0}, BLACK)]
)
def test_palettes(kind: str, options: dict[str, int], expected: tuple[int, int, int]) -> None:
    image = Image.new("P", (60, 50), 0)
    image.putpalette([10, 200, 30, 1, 2, 3])
    decoded = decode(encode(image, kind, **options), 8)
    assert decoded.mode == "P"
    assert (decoded.pixels == expected).all()


def test_a_transparent_colour_of_an_rgb_file_is_black() -> None:
    content = encode(Image.new("RGB", (60, 50), (10, 200, 30)), transparency=(10, 200, 30))
    assert (decode(content, 8).pixels == 0).all()


def test_a_grey_ramp_of_16_bits_stays_a_ramp() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 256, axis=0)
    decoded = decode(encode(Image.fromarray(ramp)), 256)
    np.testing.assert_array_equal(decoded.pixels[7, :, 1], np.arange(256))


def test_the_whole_picture_is_squashed_into_the_square() -> None:
    pixels = decode(encode(halves((200, 50))), 8).pixels
    assert (pixels[:, :3] == (255, 0, 0)).all()
    assert (pixels[:, 5:] == (0, 0, 255)).all()


def test_fine_stripes_are_averaged() -> None:
    stripes = np.zeros((400, 400), np.uint8)
    stripes[:, ::2] = 255
    pixels = decode(encode(Image.fromarray(stripes)), 50).pixels
    np.testing.assert_allclose(pixels, 127.5, atol=12)


def test_a_picture_smaller_than_the_square_is_enlarged() -> None:
    pixels = decode(encode(Image.new("RGB", (3, 2), (10, 200, 30))), 48).pixels
    assert pixels.shape == (48, 48, 3)
    assert (pixels == (10, 200, 30)).all()


def test_a_large_jpeg() -> None:
    decoded = decode(encode(halves((900, 600)), "JPEG", quality=95), 48)
    assert (decoded.width, decoded.height) == (900, 600)
    np.testing.assert_allclose(decoded.pixels[24, [4, 44]], [(255, 0, 0), (0, 0, 255)], atol=6)


def test_a_large_jpeg_keeps_its_detail() -> None:
    large = noise(48, 48).resize((240, 240), Image.Resampling.NEAREST)
    small = decode(encode(large, "JPEG", quality=95), 48).pixels
    expected = np.asarray(large.resize((48, 48), Image.Resampling.BILINEAR), np.float64)
    assert np.abs(small - expected).mean() < 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("orientation", "red", "blue"),
    [
        (1, (24, 4), (24, 44)),
        (2, (24, 44), (24, 4)),
        (3, (24, 44), (24, 4)),
        (6, (4, 24), (44, 24)),
        (8, (44, 24), (4, 24)),
    ],
)
def test_exif_orientation_is_applied(
    kind: str, orientation: int, red: tuple[int, int], blue: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encode(halves(), kind, exif=exif), 48).pixels
    np.testing.assert_allclose(pixels[red], (255, 0, 0), atol=6)
    np.testing.assert_allclose(pixels[blue], (0, 0, 255), atol=6)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encode(noise())[:-4000], id="PNG cut short"),
        pytest.param(encode(noise(), "JPEG")[:1500], id="JPEG cut short"),
        pytest.param(b"not an image", id="text"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_broken_file_raises(content: bytes) -> None:
    with pytest.raises(OSError) as caught:
        decode(content, 8)
    assert reason(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("limit", "refused"), [(3000, False), (2999, True), (1000, True)])
def test_too_many_pixels_raise(monkeypatch: pytest.MonkeyPatch, limit: int, refused: bool) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    content = encode(noise(60, 50))
    if refused:
        with pytest.raises(Image.DecompressionBombError):
            decode(content, 8)
    else:
        decode(content, 8)


def test_without_a_limit_any_size_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode(encode(noise()), 8).pixels.shape == (8, 8, 3)


def test_find_images_takes_pictures_alone(tmp_path: Path) -> None:
    wanted = ["a.JPG", "b.png", "deep/er/c.TiFf", "z GT.png.bmp"]
    others = [
        ".hidden.png",
        ".git/d.png",
        "Trout GT/e.png",
        "deep/Trout GT/f.png",
        "notes.txt",
        "png",
        "g.png.part",
        "report.pdf",
    ]
    for name in wanted + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == wanted


def test_find_images_below_a_hidden_folder(tmp_path: Path) -> None:
    """Only what lies below the folder counts, not where the folder itself lies."""
    folder = tmp_path / ".data" / "All GT"
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    assert [path.name for path in find_images(folder)] == ["a.png"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UnidentifiedImageError("cannot identify <_io.BytesIO>"), "not an image"),
        (OSError("cut\n  short"), "cut short"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_reasons_are_one_line(error: Exception, text: str) -> None:
    assert text in reason(error)
    assert "\n" not in reason(error)
