"""The packed photographs: written, read, and used again."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from fishline.core.files import write_text
from fishline.data.cache import Cache
from fishline.data.decode import THUMBNAIL, Decoded
from fishline.data.prepare import packing
from fishline.data.prepare.packing import earlier, file_name, pack
from fishline.data.prepare.pixels import pixels_packing, record

Digests = Callable[[Path], dict[str, str]]
SIZE = 8


def sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def photograph(number: int, size: int = SIZE) -> Decoded:
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (size, size, 3), np.uint8)
    thumbnail = rng.integers(0, 256, (THUMBNAIL, THUMBNAIL), np.uint8)
    return Decoded(
        pixels, thumbnail, number + 1, 70_000 - number, ["RGB", "I;16B", "L"][number % 3]
    )


class Maker:
    """Makes caches, and keeps account of what it had to decode."""

    def __init__(self, root: Path) -> None:
        self.root, self.made, self.decoded = root, 0, list[int]()

    def __call__(
        self, numbers: Sequence[int], old: Path | None = None, size: int = SIZE, broken: int = -1
    ) -> Path:
        """A cache of the photographs with these numbers."""
        self.made += 1
        folder = self.root / f"cache {self.made}"
        folder.mkdir()
        known = {sha256(number): number for number in numbers}
        self.decoded = []

        def decode_all(digests: Sequence[str]) -> Iterator[Decoded | str]:
            for number in (known[digest] for digest in digests):
                self.decoded.append(number)
                yield "unreadable" if number == broken else photograph(number, size)

        reasons = pack(
            {digest: digest for digest in known},
            decode_all,
            pixels_packing(size),
            old or self.root / "nowhere",
            folder,
        ).broken
        assert reasons == ({sha256(broken): "unreadable"} if broken in numbers else {})
        return folder


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here survives a power cut, and waiting for the disk is most of the time."""
    monkeypatch.setattr("fishline.core.files.os.fsync", lambda file: None)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def usable(folder: Path, size: int = SIZE) -> list[str]:
    """The SHA-256 of all that can be used again of the cache in `folder`."""
    files = sorted({file_name(sha256(number)) for number in range(24)})
    return [digest for name in files for digest in earlier(folder, pixels_packing(size), name)]


def one_file(folder: Path) -> Path:
    """A packed file of the cache in `folder`: the largest."""
    return max((folder / "pixels").iterdir(), key=lambda path: path.stat().st_size)


def rows_of(cache: Cache, numbers: Sequence[int]) -> np.ndarray:
    return np.array([cache.digests().index(sha256(number)) for number in numbers])


def test_what_is_packed_can_be_read(make: Maker) -> None:
    cache = Cache(make(range(24)))
    assert (len(cache), cache.size) == (24, SIZE)
    assert cache.digests() == sorted(map(sha256, range(24)))
    rows = rows_of(cache, range(24))
    pixels, thumbnails = cache.take(rows), cache.take(rows, "thumbnail")
    assert pixels.dtype == thumbnails.dtype == np.uint8
    for number in range(24):
        expected = photograph(number)
        np.testing.assert_array_equal(pixels[number], expected.pixels)
        np.testing.assert_array_equal(thumbnails[number], expected.thumbnail)
        row = rows[number]
        assert cache.column("width")[row] == expected.width
        assert cache.column("height")[row] == expected.height
        assert cache.column("mode")[row] == expected.mode.encode()


@pytest.mark.parametrize(
    "numbers", [[], [3], [23, 0, 17], [5, 5, 5, 2, 5], [*range(24), *reversed(range(24))]], ids=len
)
def test_rows_are_taken_in_any_order(make: Maker, numbers: list[int]) -> None:
    cache = Cache(make(range(24)))
    taken = cache.take(rows_of(cache, numbers).astype(np.int64))
    assert taken.shape == (len(numbers), SIZE, SIZE, 3)
    for pixels, number in zip(taken, numbers, strict=True):
        np.testing.assert_array_equal(pixels, photograph(number).pixels)


def test_what_is_taken_may_be_written_to(make: Maker, digests: Digests) -> None:
    folder = make(range(5))
    before = digests(folder)
    Cache(folder).take(np.arange(5)).fill(0)
    assert digests(folder) == before


@pytest.mark.parametrize("row", [5, -6, 500])
def test_there_are_no_other_rows(make: Maker, row: int) -> None:
    with pytest.raises(IndexError):
        Cache(make(range(5))).take(np.array([0, row]))


def test_no_folder_is_an_empty_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "nowhere")
    assert (len(cache), cache.size, cache.digests()) == (0, 0, [])


def test_a_photograph_stands_where_its_digest_says(make: Maker) -> None:
    folder = make(range(24))
    present = {path.name for path in (folder / "pixels").iterdir()}
    assert present == {f"{sha256(number)[:2]}.npy" for number in range(24)}
    assert present == {file_name(sha256(number)) for number in range(24)}


HISTORIES: dict[str, list[Sequence[int]]] = {
    "nothing before": [],
    "the same before": [range(24)],
    "fewer before": [range(11)],
    "more before": [range(60)],
    "others before": [range(100, 124)],
    "some and others, twice": [range(12, 36), range(6, 48)],
    "one by one": [range(22), range(23)],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_the_photographs_alone_decide(make: Maker, digests: Digests, history: str) -> None:
    expected = digests(make(range(24)))
    old = None
    for numbers in HISTORIES[history]:
        old = make(numbers, old)
    assert digests(make(list(reversed(range(24))), old)) == expected


def test_a_large_cache_has_more_files_and_uses_a_small_one(
    make: Maker, digests: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make(range(24))
    monkeypatch.setattr(packing, "LARGE", 25)
    large = make(range(25), small)
    assert make.decoded == [24]
    names = {f"{sha256(number)[:3]}.npy" for number in range(25)}
    assert {path.name for path in (large / "pixels").iterdir()} == names
    assert Cache(large).digests() == sorted(map(sha256, range(25)))
    assert digests(make(range(24), large)) == digests(small)
    assert make.decoded == []


@pytest.mark.parametrize(("before", "after"), [(24, 25), (25, 24), (0, 1)])
def test_one_photograph_changes_one_file(
    make: Maker, digests: Digests, before: int, after: int
) -> None:
    old = make(range(before))
    new = make(range(after), old)
    assert sorted(make.decoded) == list(range(before, after))
    changed = digests(old).items() ^ digests(new).items()
    assert {path for path, _ in changed} == {f"pixels/{file_name(sha256(min(before, after)))}"}


def test_files_that_stay_are_not_written_again(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    old = make(range(24))
    monkeypatch.setattr(packing, "write_file", lambda path, *_: written.append(path.name))
    make(range(25), old)
    assert written == [file_name(sha256(24))]


@pytest.mark.parametrize("links", [True, False])
def test_the_new_cache_outlives_the_old_one(
    make: Maker, digests: Digests, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr("fishline.core.files.os.link", refuse)
    old = make(range(24))
    new = make(range(24), old)
    assert (one_file(old).stat().st_nlink == 2) == links
    assert make.decoded == []
    before = digests(old)
    for path in (old / "pixels").iterdir():
        path.unlink()
    assert digests(new) == before


def test_what_is_no_image_is_left_out(make: Maker) -> None:
    cache = Cache(make(range(20), broken=7))
    assert len(cache) == 19
    assert sha256(7) not in cache.digests()
    numbers = [number for number in range(20) if number != 7]
    np.testing.assert_array_equal(
        cache.take(rows_of(cache, numbers)), [photograph(number).pixels for number in numbers]
    )


def test_a_file_of_nothing_usable_is_not_written(make: Maker) -> None:
    assert list((make([7], broken=7) / "pixels").iterdir()) == []


@pytest.mark.parametrize("fault", ["size", "pillow", "code", "no made_by", "odd made_by"])
def test_a_cache_made_otherwise_is_not_used(
    make: Maker, monkeypatch: pytest.MonkeyPatch, fault: str, tmp_path: Path
) -> None:
    old = make(range(24))
    assert usable(old) == sorted(map(sha256, range(24)))
    if fault == "pillow":
        monkeypatch.setattr("fishline.data.prepare.pixels.PIL.__version__", "0.1")
    elif fault == "code":
        write_text(tmp_path / "decode.py", "# decodes otherwise\n")
        monkeypatch.setattr(
            "fishline.data.prepare.pixels.decode.__file__", str(tmp_path / "decode.py")
        )
    elif fault == "no made_by":
        (old / "made_by.json").unlink()
    elif fault == "odd made_by":
        write_text(old / "made_by.json", "{")
    size = 2 * SIZE if fault == "size" else SIZE
    assert usable(old, size) == []
    new = make(range(24), old, size)
    assert sorted(make.decoded) == list(range(24))
    assert Cache(new).size == size


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


START = 600  # bytes: well after the header of a packed file
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "first byte": lambda content: flipped(content, 0),
    "a byte of a record": lambda content: flipped(content, START),
    "the last byte": lambda content: flipped(content, len(content) - 1),
    "cut short": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "the header alone": lambda content: content[: content.index(b"\n") + 1],
    "part of the header": lambda content: content[:20],
    "magic alone": lambda content: content[:8],
    "empty": lambda content: b"",
    "text": lambda content: b"not an array",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_used(make: Maker, digests: Digests, damage: str) -> None:
    old = make(range(24))
    expected = digests(old)
    path = one_file(old)
    count = len(np.load(path))
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    whole = [number for number in range(24) if file_name(sha256(number)) != path.name]
    assert usable(old) == sorted(map(sha256, whole))
    assert digests(make(range(24), old)) == expected
    assert {file_name(sha256(number)) for number in make.decoded} == {path.name}
    assert len(make.decoded) == count


def other(dtype: np.dtype[np.void]) -> np.ndarray:
    return np.zeros(3, dtype)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, SIZE, SIZE, 3), np.uint8),
        other(record(SIZE + 1)),
        other(np.dtype([(name, record(SIZE)[name]) for name in record(SIZE).names or ()][:-1])),
        np.array({"an": "object"}),
    ],
    ids=["pixels alone", "another size", "no checksum", "a pickle"],
)
def test_another_array_is_not_used(make: Maker, array: np.ndarray) -> None:
    old = make(range(4))
    for path in (old / "pixels").iterdir():
        np.save(path, array)
    assert usable(old) == []


def test_a_damaged_header_never_stops_the_search(make: Maker) -> None:
    old = make([0])
    path = one_file(old)
    whole = path.read_bytes()
    for place in range(0, whole.index(b"\n") + 1, 2):
        path.write_bytes(flipped(whole, place))
        assert usable(old) in ([], [sha256(0)])


def test_a_damaged_file_cannot_be_opened(make: Maker) -> None:
    folder = make(range(5))
    path = one_file(folder)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError):
        Cache(folder)
