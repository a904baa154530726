"""Files of every bad kind: each is used with the right pixels, or rejected with a reason.

Nearly all are made here, byte by byte, and go the way of any photograph: found below a folder,
read, decoded.
"""

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fishline.data import decode as data_decode
from fishline.data import photo_files
from fishline.data.decode import FORMATS, THUMBNAIL, Decoded, decode
from fishline.data.photo_files import find_images, image_endings, read, reason

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # Pillow's remarks; `preprocess` silences them too

RED, BLUE = (255, 0, 0), (0, 0, 255)
HALVES = "red left, blue right"
FLIPS = 40  # mutants per format


def halves(mode: str = "RGB", size: tuple[int, int] = (60, 30)) -> Image.Image:
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photograph() -> Image.Image:
    """Smooth, yet different everywhere: a part that is missing shows."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC)


def use(path: Path) -> Decoded | str:
    """What becomes of a path: an image, or the reason why not."""
    try:
        return decode(read(path), 48)
    except Exception as error:
        why = reason(error)
        assert why and "\n" not in why
        return why


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(*chunks: bytes, size: tuple[int, int] = (60, 30)) -> bytes:
    """A PNG with more chunks, or one that says it is of another size."""
    plain = encode(halves())
    header = struct.pack(">LL", *size) + plain[24:29]
    return plain[:8] + chunk(b"IHDR", header) + b"".join(chunks) + plain[33:]


def tiff(*tags: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """A little-endian TIFF of tags (number, type, count, value); `data` begins at byte 200."""
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in sorted(tags))
    start = b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4)
    return start.ljust(200, b"\0") + data


GREY = ((256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 200))
TILED = (*GREY[:4], (259, 3, 1, 8), (322, 4, 1, 30000), (323, 4, 1, 30000), (324, 4, 1, 200))
MANY = (*GREY[:4], (259, 3, 1, 1), (273, 4, 2_000_000, 200), (278, 4, 1, 1))
WIDE = encode(Image.new("1", (70_000, 1)))
BOMB = zlib.compress(bytes(20 * 2**20))
TURNED = Image.Exif()
TURNED[0x0112] = 6
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (60, 30), "lime")] * 3}

CASES: dict[str, tuple[bytes, str]] = {
    # name: content, HALVES or a part of the reason
    "plain.png": (encode(halves()), HALVES),
    "empty.png": (b"", "empty"),
    "zeros.png": (bytes(1000), "not an image"),
    "text.png": (b"This is a note about a fish.\n" * 20, "not an image"),
    "page.jpg": (b"<!doctype html><title>404</title>", "not an image"),
    "a jpeg.png": (encode(halves(), "JPEG", quality=95), HALVES),
    "a png.JPG": (encode(halves()), HALVES),
    "a webp.gif": (encode(halves(), "WEBP", lossless=True), HALVES),
    "postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "document.png": (encode(halves(), "PDF"), "not an image"),
    "icon.bmp": (encode(halves(), "ICO", sizes=[(16, 16)]), "not an image"),
    "targa.bmp": (encode(halves(), "TGA"), "not an image"),
    "moving.gif": (encode(halves(), "GIF", **FRAMES), HALVES),
    "moving.png": (encode(halves(), "PNG", **FRAMES), HALVES),
    "moving.webp": (encode(halves(), "WEBP", lossless=True, **FRAMES), HALVES),
    "moving.avif": (encode(halves(), "AVIF", quality=95, **FRAMES), HALVES),
    "pages.tif": (encode(halves(), "TIFF", **FRAMES), HALVES),
    "stereo.mpo": (encode(halves(), "MPO", quality=95, **FRAMES), HALVES),
    "cmyk.jpg": (encode(halves("CMYK"), "JPEG", quality=95), HALVES),
    "cmyk.tif": (encode(halves("CMYK"), "TIFF"), HALVES),
    "palette.png": (encode(halves("P")), HALVES),
    "progressive.jpg": (encode(halves(), "JPEG", quality=95, progressive=True), HALVES),
    "turned.jpg": (
        encode(halves().rotate(90, expand=True), "JPEG", quality=95, exif=TURNED),
        HALVES,
    ),
    "turned.tif": (encode(halves().rotate(90, expand=True), "TIFF", exif=TURNED), HALVES),
    "bad exif.jpg": (encode(halves(), "JPEG", quality=95, exif=b"Exif\0\0nonsense"), HALVES),
    "bad exif.png": (encode(halves(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), HALVES),
    "bad profile.png": (encode(halves(), icc_profile=b"nonsense"), HALVES),
    "huge.png": (png(size=(30_000, 30_000)), "900000000 pixels"),
    "large.png": (png(size=(10_000, 10_000)), "100000000 pixels"),
    "wider.png": (png(size=(61, 30)), "truncated"),
    "huge.bmp": (
        encode(halves(), "BMP")[:18]
        + struct.pack("<ll", 30_000, 30_000)
        + encode(halves(), "BMP")[26:],
        "900000000 pixels",
    ),
    "huge.ppm": (b"P6 30000 30000 255\n", "900000000 pixels"),
    "no pixels.ppm": (b"P6 0 0 255\n", "not an image"),
    "huge.gif": (
        b"GIF89a" + struct.pack("<HH", 30_000, 30_000) + encode(halves(), "GIF")[10:],
        "900000000 pixels",
    ),
    "huge.tif": (tiff((256, 4, 1, 30_000), (257, 4, 1, 30_000), *GREY[2:]), "900000000 pixels"),
    "wide.png": (WIDE, "no side may be over"),
    "tile.tif": (tiff(*TILED, data=bytes(99)), "900000000 pixels"),
    "many tags.tif": (tiff(*MANY, data=bytes(8_000_000)), "numbers in its tags"),
    "text bomb.png": (png(chunk(b"zTXt", b"Comment\0\0" + BOMB)), "too large"),
    "profile bomb.png": (png(chunk(b"iCCP", b"profile\0\0" + BOMB)), "too large"),
    "ünïcödé 鱼 🐟.png": (encode(halves()), HALVES),
    "n" * 251 + ".png": (encode(halves()), HALVES),
    "line\nbreak.png": (encode(halves()), HALVES),
}


@pytest.mark.parametrize("name", CASES)
def test_each_bad_file_is_used_or_rejected(name: str, tmp_path: Path) -> None:
    content, expected = CASES[name]
    (tmp_path / name).write_bytes(content)
    assert list(find_images(tmp_path)) == [tmp_path / name]
    result = use(tmp_path / name)
    if expected == HALVES:
        assert isinstance(result, Decoded), result
        assert (result.width, result.height) == (60, 30)
        np.testing.assert_allclose(result.pixels[24, [2, -3]], [RED, BLUE], atol=8)
        np.testing.assert_allclose(
            result.thumbnail[THUMBNAIL // 2, [2, -3]], [76, 29], atol=4
        )  # their greys
    else:
        assert isinstance(result, str)
        assert expected in result


@pytest.mark.parametrize(
    ("mode", "fill", "expected"),
    [("RGB", RED, RED), ("1", 1, (255,) * 3), ("I;16", 32768, (128,) * 3), ("F", 0.5, (128,) * 3)],
)
def test_a_single_pixel(mode: str, fill: Any, expected: tuple[int, int, int]) -> None:
    content = encode(Image.new(mode, (1, 1), fill), "TIFF")
    result = decode(content, 48)
    assert (result.pixels == expected).all()
    assert (result.thumbnail == (76 if expected == RED else expected[0])).all()
    assert (result.pixels.shape, result.thumbnail.shape) == ((48, 48, 3), (THUMBNAIL, THUMBNAIL))


def test_a_float_that_is_no_number_is_black() -> None:
    grey = np.full((8, 8), 0.5, np.float32)
    grey[:4] = np.nan
    pixels = decode(encode(Image.fromarray(grey), "TIFF"), 8).pixels
    assert (pixels[:3] == 0).all()
    assert (pixels[5:] == 128).all()


SEEDS: dict[str, bytes] = {
    "avif": encode(photograph(), "AVIF", quality=90),
    "bmp": encode(photograph(), "BMP"),
    "gif": encode(photograph(), "GIF"),
    "jpg": encode(photograph(), "JPEG"),
    "progressive.jpg": encode(photograph(), "JPEG", progressive=True),
    "jp2": encode(photograph(), "JPEG2000"),
    "lossy.j2k": encode(photograph(), "JPEG2000", irreversible=True, no_jp2=True),
    "mpo": encode(photograph(), "MPO", save_all=True, append_images=[photograph()]),
    "png": encode(photograph()),
    "ppm": encode(photograph(), "PPM"),
    "tif": encode(photograph(), "TIFF"),
    "lzw.tif": encode(photograph(), "TIFF", compression="tiff_lzw"),
    "jpeg.tif": encode(photograph(), "TIFF", compression="jpeg"),
    "webp": encode(photograph(), "WEBP"),
    "lossless.webp": encode(photograph(), "WEBP", lossless=True),
}


def test_every_format_has_a_seed() -> None:
    opened = {Image.open(BytesIO(content)).format for content in SEEDS.values()}
    assert opened == {*FORMATS, "MPO"}


@pytest.mark.parametrize("kind", SEEDS)
def test_a_file_that_is_cut_short_is_not_half_used(kind: str, tmp_path: Path) -> None:
    """At every hundredth of its bytes. What needs no more than the rest of the file is used."""
    path, content = tmp_path / f"cut.{kind}", SEEDS[kind]
    whole = decode(content, 48)
    used = 0
    for percent in range(100):
        path.write_bytes(content[: len(content) * percent // 100])
        result = use(path)
        if isinstance(result, Decoded):
            used += 1
            np.testing.assert_array_equal(result.pixels, whole.pixels)
    assert used < (60 if kind == "mpo" else 1)  # an MPO's first frame ends in the middle


@pytest.mark.parametrize("kind", SEEDS)
def test_a_flipped_bit_does_no_harm(kind: str, tmp_path: Path) -> None:
    path, content = tmp_path / f"flipped.{kind}", SEEDS[kind]
    whole = decode(content, 48)
    for mutant in flipped(content):
        path.write_bytes(mutant)
        result = use(path)
        if isinstance(result, Decoded):
            assert result.pixels.shape == (48, 48, 3)
            assert result.thumbnail.shape == (THUMBNAIL, THUMBNAIL)
            if kind == "png":  # has checksums
                np.testing.assert_array_equal(result.pixels, whole.pixels)


def flipped(content: bytes) -> Iterator[bytes]:
    """One bit each: half of them in the header, where they do most."""
    rng = np.random.default_rng(0)
    for number in range(FLIPS):
        mutant = bytearray(content)
        place = rng.integers(min(len(mutant), 100) if number % 2 else len(mutant))
        mutant[place] ^= 1 << rng.integers(8)
        yield bytes(mutant)


def test_threads_decode_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_decode, "LARGE", 10_000)  # so that some wait for each other
    expected = {kind: decode(content, 48).pixels for kind, content in SEEDS.items()}
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda kind: (kind, decode(SEEDS[kind], 48).pixels), [*SEEDS] * 4)
        for kind, pixels in results:
            np.testing.assert_array_equal(pixels, expected[kind])


def test_a_file_that_keeps_a_decoder_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_decode, "SECONDS", -1.0)
    with pytest.raises(TimeoutError, match="decoding takes more than"):
        decode(SEEDS["jpg"], 48)


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.random.default_rng(0).integers(0, 70_000, (100, 80), np.int32)
    wide[:50] //= 1000  # strips of their own would be taken for another depth
    contents = [*SEEDS.values(), encode(Image.fromarray(wide), "TIFF")]
    whole = [decode(content, 48) for content in contents]
    monkeypatch.setattr(data_decode, "STRIP", 700)
    for content, expected in zip(contents, whole, strict=True):
        np.testing.assert_array_equal(decode(content, 48).pixels, expected.pixels)
        np.testing.assert_array_equal(decode(content, 48).thumbnail, expected.thumbnail)


def test_large_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *args: pytest.fail("opened"))
    path = tmp_path / "large.png"
    path.touch()
    os.truncate(path, photo_files.MAX_BYTES + 1)  # sparse
    assert use(path) == "268435457 bytes; the limit is 268435456"


def test_no_ending_of_a_format_that_runs_programs() -> None:
    endings = image_endings()
    assert {".jpg", ".jpeg", ".png", ".tif", ".webp", ".avif", ".jp2", ".mpo"} <= endings
    assert not endings & {".eps", ".ps", ".pdf", ".psd", ".fits", ".wmf", ".ico"}


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.png")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_a_folder(path: Path) -> None:
    (path.parent / ".target").mkdir()
    path.symlink_to(".target")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(path))


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (link_to_nothing, "a.png", "a link to a file that does not exist"),
        (link_to_itself, "a.png", "a link to a file that does not exist"),
        (link_to_a_folder, "a", "a link to a folder"),
        (link_to_a_folder, "a.png", "a link to a folder"),
        (os.mkfifo, "a.png", "not a regular file"),
        (listen, "a.png", "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "a.png", "not a regular file"),
    ],
)
def test_what_is_no_file(
    make: Callable[[Path], None], name: str, expected: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    make(Path(name))
    found = list(find_images(Path()))
    assert found == [Path(name)]
    assert use(found[0]) == expected


def test_a_link_to_a_picture_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(".b")
    (tmp_path / ".b").write_bytes(encode(halves()))
    assert isinstance(use(tmp_path / "a.png"), Decoded)


def test_a_folder_named_like_a_picture_is_looked_into(tmp_path: Path) -> None:
    folder = tmp_path / "x.png"
    folder.mkdir()
    (folder / "y.png").write_bytes(encode(halves()))
    assert list(find_images(tmp_path)) == [folder / "y.png"]
    assert use(folder) == "a folder"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(halves()))
    monkeypatch.setattr(Path, "open", refuse)
    assert use(path) == "Permission denied"


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("closed", "open"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(encode(halves()))
    scandir, listdir = os.scandir, os.listdir
    closed = tmp_path / "closed"
    monkeypatch.setattr(os, "scandir", lambda p: refuse() if p == closed else scandir(p))
    monkeypatch.setattr(os, "listdir", lambda p: refuse() if p == closed else listdir(p))
    assert list(find_images(tmp_path)) == [closed, tmp_path / "open" / "a.png"]
    assert use(closed) == "Permission denied"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_permissions_of_the_file_system(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(halves()))
    (tmp_path / "a.png").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    found = list(find_images(tmp_path))
    assert found == [tmp_path / "a.png", tmp_path / "closed"]
    assert [use(path) for path in found] == ["Permission denied"] * 2


def refuse(*_: Any) -> Any:
    raise PermissionError(13, "Permission denied", "a name")
