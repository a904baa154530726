"""From a folder of photographs to the cache that all later stages read."""

import hashlib
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from fishline.core import parallel
from fishline.core.errors import UserError
from fishline.core.files import read_csv, read_json
from fishline.core.parallel import usable_cores
from fishline.core.params import Data
from fishline.data.cache import Cache
from fishline.data.decode import Decoded, decode
from fishline.data.photo_files import read
from fishline.data.prepare import manifest as steps
from fishline.data.prepare import packing
from fishline.data.prepare.manifest import list_files
from fishline.stages import preprocess as stage
from fishline.stages.preprocess import preprocess

Tree = Callable[[Path, Mapping[str, int]], list[str]]
Digests = Callable[[Path], dict[str, str]]
Draw = Callable[[int], Image.Image]
Counts = dict[str, int]

SIZE = 16
BOTH = ("Trout", "Shrimp")


@pytest.fixture
def data(tmp_path: Path, draw_tree: Tree) -> Path:
    """Three photographs of trout, two of shrimp."""
    draw_tree(tmp_path / "data", {"Shrimp": 2, "Trout": 3})
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "out" / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SHA-256 of every content that is decoded."""
    contents: list[str] = []

    def watched(content: bytes, size: int) -> Decoded:
        contents.append(hashlib.sha256(content).hexdigest())
        return decode(content, size)

    monkeypatch.setattr(steps, "decode", watched)
    return contents


def run(
    data: Path,
    cache: Path,
    species: Sequence[str] = BOTH,
    size: int = SIZE,
    conflicts: str = "fail",
) -> Counts:
    return preprocess(
        Data(dir=str(data), conflicts=conflicts, personal="drop"), species, size, cache
    )  # type: ignore[arg-type]


def counted(images: int, photographs: int, rejected: int, species: int = 2) -> Counts:
    counts = {"images": images, "photographs": photographs}
    return counts | {"rejected": rejected, "species": species}


def draw(path: Path, seed: int) -> Path:
    """One more photograph, all of them of the same number of bytes."""
    pixels = np.random.default_rng(1000 + seed).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def packed(digests: dict[str, str]) -> dict[str, str]:
    """Of a cache's files the packed ones."""
    return {path: digest for path, digest in digests.items() if path.startswith("pixels/")}


def require_whole(data: Path, cache: Path, size: int = SIZE) -> None:
    """The cache holds what decoding each file of its manifest gives, in order of the digests."""
    manifest, photographs = read_csv(cache / "manifest.csv"), Cache(cache)
    assert photographs.digests() == sorted(set(photographs.digests()))
    pixels = photographs.take(manifest["index"].to_numpy())
    for row, shown in zip(manifest.itertuples(), pixels, strict=True):
        content = (data / str(row.file)).read_bytes()
        assert row.sha256 == hashlib.sha256(content).hexdigest()
        assert row.sha256 == photographs.digests()[int(str(row.index))]
        np.testing.assert_array_equal(shown, decode(content, size).pixels)


def test_the_manifest_describes_every_image(data: Path, cache: Path) -> None:
    Image.linear_gradient("L").resize((20, 50)).save(data / "Shrimp" / "00.bmp")
    assert run(data, cache) == counted(6, 6, 0)
    manifest = read_csv(cache / "manifest.csv")
    columns = "file species index width height mode sha256 original confidence alike"
    assert list(manifest) == [*columns.split(), "taken", "camera", "day", "given_part"]
    shrimp = ["Shrimp/00.bmp", "Shrimp/01.png", "Shrimp/02.png"]
    assert list(manifest["file"]) == ["Trout/01.png", "Trout/02.png", "Trout/03.png", *shrimp]
    assert list(manifest["species"]) == ["Trout"] * 3 + ["Shrimp"] * 3
    assert sorted(manifest["index"]) == list(range(6))
    assert manifest.loc[3, ["width", "height", "mode"]].to_list() == [20, 50, "L"]
    assert manifest.loc[4, ["width", "height", "mode"]].to_list() == [40, 30, "RGB"]
    assert list(manifest["original"]) == list(manifest["file"])
    assert set(manifest["alike"]) == {""}
    assert manifest["confidence"].between(0, 1).all()
    require_whole(data, cache)
    assert read_json(cache / "made_by.json")["image_size"] == SIZE


@pytest.mark.parametrize("ahead", [1, 2, 512])
def test_pixels_are_those_of_the_files(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr(parallel, "AHEAD", ahead)
    assert run(data, cache, size=48) == counted(5, 5, 0)
    require_whole(data, cache, 48)


def test_only_listed_species_are_packed(data: Path, cache: Path) -> None:
    assert run(data, cache, ["Trout"]) == counted(3, 3, 0, 1)
    assert set(read_csv(cache / "manifest.csv")["species"]) == {"Trout"}
    assert len(Cache(cache)) == 3


# What is decoded again when something changes.


def test_one_more_photograph(data: Path, cache: Path, digests: Digests, decoded: list[str]) -> None:
    run(data, cache)
    before = packed(digests(cache))
    assert len(decoded) == 5
    decoded.clear()
    digest = sha256(draw(data / "Shrimp" / "99.png", 0))
    assert run(data, cache) == counted(6, 6, 0)
    assert decoded == [digest]
    changed = before.items() ^ packed(digests(cache)).items()
    assert {path for path, _ in changed} == {f"pixels/{digest[:2]}.npy"}
    require_whole(data, cache)


def test_one_photograph_less(data: Path, cache: Path, digests: Digests, decoded: list[str]) -> None:
    run(data, cache)
    before = packed(digests(cache))
    decoded.clear()
    digest = sha256(data / "Trout" / "02.png")
    (data / "Trout" / "02.png").unlink()
    assert run(data, cache) == counted(4, 4, 0)
    assert decoded == []
    changed = before.items() ^ packed(digests(cache)).items()
    assert {path for path, _ in changed} == {f"pixels/{digest[:2]}.npy"}
    require_whole(data, cache)


@pytest.mark.parametrize("same_time", [False, True])
def test_other_content_under_the_same_name(
    data: Path, cache: Path, decoded: list[str], same_time: bool
) -> None:
    path = data / "Shrimp" / "99.bmp"
    before = draw(path, 0).stat()
    run(data, cache)
    decoded.clear()
    draw(path, 1)
    if same_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert run(data, cache) == counted(6, 6, 0)
    assert decoded == [sha256(path)]
    require_whole(data, cache)


def test_another_name(data: Path, cache: Path, digests: Digests, decoded: list[str]) -> None:
    run(data, cache)
    before = packed(digests(cache))
    decoded.clear()
    (data / "Trout" / "01.png").rename(data / "Trout" / "other.jpg")
    run(data, cache)
    assert decoded == []
    assert packed(digests(cache)) == before
    assert "Trout/other.jpg" in set(read_csv(cache / "manifest.csv")["original"])
    require_whole(data, cache)


def test_another_size(data: Path, cache: Path, decoded: list[str]) -> None:
    run(data, cache)
    decoded.clear()
    run(data, cache, size=2 * SIZE)
    assert len(decoded) == 5
    assert Cache(cache).size == 2 * SIZE
    require_whole(data, cache, 2 * SIZE)


def test_a_damaged_cache_is_mended(
    data: Path, cache: Path, digests: Digests, decoded: list[str]
) -> None:
    run(data, cache)
    before = digests(cache)
    decoded.clear()
    path = cache / "pixels" / f"{sha256(data / 'Trout' / '01.png')[:2]}.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    run(data, cache)
    assert sha256(data / "Trout" / "01.png") in decoded
    assert digests(cache) == before


def grow(data: Path, cache: Path) -> None:
    """First a part of the photographs, then all."""
    held = [(path, path.read_bytes()) for path in sorted(data.rglob("*.png"))[::2]]
    for path, _ in held:
        path.unlink()
    run(data, cache)
    for path, content in held:
        path.write_bytes(content)


def shrink(data: Path, cache: Path) -> None:
    """First photographs more, and one that is another."""
    content = (data / "Trout" / "02.png").read_bytes()
    draw(data / "Trout" / "02.png", 5)
    more = [draw(data / "Shrimp" / f"more {i}.png", i) for i in range(10, 20)]
    run(data, cache)
    for path in more:
        path.unlink()
    (data / "Trout" / "02.png").write_bytes(content)


@pytest.mark.parametrize(
    "history",
    [
        lambda data, cache: None,
        lambda data, cache: run(data, cache),
        lambda data, cache: run(data, cache, ["Trout"]),
        lambda data, cache: run(data, cache, ["Shrimp", "Trout"]),
        lambda data, cache: run(data, cache, size=48),
        grow,
        shrink,
    ],
    ids=["none", "same", "fewer species", "other order", "other size", "grown", "shrunk"],
)
def test_the_same_photographs_give_the_same_bytes(
    data: Path, cache: Path, digests: Digests, history: Callable[[Path, Path], object]
) -> None:
    (data / "Trout" / "05.jpg").write_text("not an image")
    (data / "originals.csv").write_text("file,original\nTrout/01.png,a\nTrout/03.png,a\n")
    run(data, cache.with_name("fresh"))
    history(data, cache)
    assert run(data, cache) == counted(5, 4, 1)
    assert digests(cache) == digests(cache.with_name("fresh"))


def test_equal_files_share_a_row(data: Path, cache: Path, decoded: list[str]) -> None:
    for name in ("a copy.png", "00 another.PNG"):
        (data / "Trout" / name).write_bytes((data / "Trout" / "02.png").read_bytes())
    assert run(data, cache) == counted(7, 5, 0)
    assert (len(Cache(cache)), len(decoded)) == (5, 5)
    manifest = read_csv(cache / "manifest.csv").set_index("file")
    same = manifest.loc[["Trout/00 another.PNG", "Trout/02.png", "Trout/a copy.png"]]
    assert same["index"].nunique() == 1
    assert set(same["original"]) == {"Trout/00 another.PNG"}
    require_whole(data, cache)


# What is left out.


@pytest.mark.parametrize("edge", [50, 80])  # over the limit, over twice the limit
def test_unusable_files_are_left_out_and_named(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, edge: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 40)
    whole = (data / "Trout" / "02.png").read_bytes()
    (data / "Trout" / "02.png").write_bytes(whole[: len(whole) // 2])
    (data / "Trout" / "04.png").touch()
    (data / "Trout" / "05.jpg").write_text("not an image")
    (data / "Trout" / "06.jpg").write_text("not an image")
    Image.new("RGB", (edge, edge)).save(data / "Shrimp" / "03.png")
    for _ in range(2):  # with and without an earlier cache
        assert run(data, cache) == counted(4, 4, 5)
        rejected = read_csv(cache / "rejected.csv")
        assert list(rejected) == ["file", "species", "index", "sha256", "reason"]
        assert list(rejected["index"]) == [-1] * 5
        trout = [f"Trout/{name}" for name in ("02.png", "04.png", "05.jpg", "06.jpg")]
        assert list(rejected["file"]) == [*trout, "Shrimp/03.png"]
        assert list(rejected["species"]) == ["Trout"] * 4 + ["Shrimp"]
        says = ["truncated", "empty", "not an image", "not an image", "limit"]
        for reason, part in zip(rejected["reason"], says, strict=True):
            assert part in reason
        manifest = read_csv(cache / "manifest.csv")
        kept = ["Trout/01.png", "Trout/03.png", "Shrimp/01.png", "Shrimp/02.png"]
        assert list(manifest["file"]) == kept
        assert len(Cache(cache)) == 4
        require_whole(data, cache)


def test_a_name_that_is_no_utf_8(data: Path, cache: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(data / "Trout") + b"/\xff.png"))
    try:
        odd.write_bytes((data / "Trout" / "01.png").read_bytes())
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    assert run(data, cache) == counted(5, 5, 1)
    assert list(read_csv(cache / "rejected.csv")["file"]) == ["Trout/\ufffd.png"]


def test_masks_and_hidden_files_are_no_photographs(data: Path, cache: Path) -> None:
    (data / "Trout" / "Trout GT").mkdir()
    Image.new("L", (9, 9)).save(data / "Trout" / "Trout GT" / "01.png")
    (data / "Trout" / ".DS_Store").touch()
    assert run(data, cache, ["Trout"]) == counted(3, 3, 0, 1)


@pytest.mark.parametrize("change", ["other content", "gone"])
def test_a_file_that_changes_meanwhile(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = data / "Trout" / "02.png"

    def read_and_change(here: Path) -> bytes:
        content = read(here)
        if here == path:
            draw(path, 7) if change == "other content" else path.unlink()
        return content

    with monkeypatch.context() as patch:
        patch.setattr(steps, "read", read_and_change)
        assert run(data, cache) == counted(4, 4, 1)
    rejected = read_csv(cache / "rejected.csv")
    assert list(rejected["file"]) == ["Trout/02.png"]
    assert ("changed" if change == "other content" else "No such file") in rejected["reason"][0]
    draw(path, 7)
    assert run(data, cache) == counted(5, 5, 0)
    require_whole(data, cache)


@pytest.mark.parametrize(
    ("folder", "species", "says"),
    [
        ("nowhere", ["Trout"], "no folder .*nowhere"),
        ("data/Trout", ["Trout"], "has no folders"),
        ("data", ["Trout", "Trutta"], "no folder 'Trutta'.*Shrimp, Trout"),
        ("data", ["Trout", "Empty"], "Empty has no usable image.*take 'Empty' out"),
        ("data", ["Broken", "Trout"], "Broken has no usable image"),
        ("data", ["Broken"], "Broken has no usable image"),
        ("data", ["Empty"], "Empty has no usable image"),
    ],
)
def test_data_that_cannot_serve(
    data: Path, cache: Path, folder: str, species: list[str], says: str
) -> None:
    (data / "Empty").mkdir()
    if "Broken" in species:
        (data / "Broken").mkdir()
        (data / "Broken" / "1.png").write_text("x")
    if "Trutta" in species:
        (data / "Empty").rmdir()
    with pytest.raises(UserError, match=says):
        run(data.parent / folder, cache, species)
    assert not cache.exists()
    assert not cache.parent.exists() or list(cache.parent.iterdir()) == []


def test_pictures_without_structure_can_serve(tmp_path: Path, cache: Path) -> None:
    for species, colours in {"Trout": ("red", "black"), "Shrimp": ("white", "grey")}.items():
        (tmp_path / "data" / species).mkdir(parents=True)
        for colour in colours:
            image = Image.new("RGB", (40, 30), colour)
            image.save(tmp_path / "data" / species / f"{colour}.png")
    assert run(tmp_path / "data", cache) == counted(4, 4, 0)


# Which files show one photograph.


@pytest.fixture
def photographs(tmp_path: Path, draw_photograph: Draw) -> Path:
    """Two photographs of trout, two of shrimp, each also turned."""
    for number, name in enumerate(["Trout/b", "Trout/d", "Shrimp/a", "Shrimp/c"]):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = draw_photograph(number)
        image.save(path.with_suffix(".jpg"))
        turned = ImageOps.mirror(image).rotate(40 * number + 20, Image.Resampling.BILINEAR)
        turned.resize((236, 178)).save(path.with_name(f"{path.name} turned.png"))
    return tmp_path / "data"


def test_copies_are_found_by_their_pixels(photographs: Path, cache: Path) -> None:
    assert run(photographs, cache) == counted(8, 4, 0)
    manifest = read_csv(cache / "manifest.csv").set_index("file")
    assert manifest["original"].to_dict() == {
        f"{name}{ending}": f"{name} turned.png"  # the space comes before the dot
        for name in ("Trout/b", "Trout/d", "Shrimp/a", "Shrimp/c")
        for ending in (".jpg", " turned.png")
    }


def test_copies_are_looked_for_in_true_proportions(
    tmp_path: Path, cache: Path, draw_photograph: Draw
) -> None:
    """Of a shape that is no camera's, so that no other is tried by chance."""
    (tmp_path / "data" / "Trout").mkdir(parents=True)
    for number in range(3):
        image = draw_photograph(number).crop((0, 0, 520, 440))
        for angle in (0, 55):
            turned = image.rotate(angle, Image.Resampling.BILINEAR)
            turned.save(tmp_path / "data" / "Trout" / f"{number} {angle}.png")
    assert run(tmp_path / "data", cache, ["Trout"]) == counted(6, 3, 0, 1)


def test_the_record_joins_more(photographs: Path, cache: Path) -> None:
    record = "file,original\nTrout/b.jpg,one haul\nTrout/d turned.png,one haul\n"
    (photographs / "originals.csv").write_text(record)
    assert run(photographs, cache) == counted(8, 3, 0)
    manifest = read_csv(cache / "manifest.csv")
    trout = manifest[manifest["species"] == "Trout"]
    assert set(trout["original"]) == {"Trout/b turned.png"}


def test_look_alikes_stand_in_the_manifest(data: Path, cache: Path, draw_photograph: Draw) -> None:
    first, other = draw_photograph(0), draw_photograph(1)
    first.save(data / "Trout" / "90.png")
    first.rotate(90).save(data / "Trout" / "91.png")
    Image.blend(first, other, 0.34).save(data / "Shrimp" / "92.png")
    assert run(data, cache) == counted(8, 7, 0)
    manifest = read_csv(cache / "manifest.csv").set_index("file")
    assert manifest["alike"][["Trout/90.png", "Shrimp/92.png", "Trout/01.png"]].to_list() == [
        "Shrimp/92.png",
        "Trout/90.png",
        "",
    ]
    certain = manifest["confidence"]
    assert certain["Shrimp/92.png"] < 1 == certain["Trout/01.png"]


# The same photograph under two species.


def mix_up(photographs: Path) -> None:
    """A trout lies, byte by byte, under shrimp too; a shrimp, mirrored, under trout."""
    content = (photographs / "Trout" / "b.jpg").read_bytes()
    (photographs / "Shrimp" / "z.jpg").write_bytes(content)
    image = Image.open(photographs / "Shrimp" / "c.jpg")
    ImageOps.mirror(image).save(photographs / "Trout" / "y.png")


def test_conflicts_stop_the_run(photographs: Path, cache: Path, digests: Digests) -> None:
    run(photographs, cache)
    before = digests(cache)
    mix_up(photographs)
    with pytest.raises(UserError, match="under different species, 2 times") as caught:
        run(photographs, cache)
    lines = caught.value.message.split("\n")
    assert set(lines[1:3]) == {
        "  Trout/b turned.png and Shrimp/z.jpg",
        "  Trout/y.png and Shrimp/c turned.png",
    }
    assert "data.conflicts" in lines[3]
    assert digests(cache) == before
    assert list(cache.parent.iterdir()) == [cache]


def test_conflicts_can_be_dropped(photographs: Path, cache: Path) -> None:
    mix_up(photographs)
    (photographs / "Shrimp" / "broken.png").write_text("x")
    assert run(photographs, cache, conflicts="drop") == counted(4, 2, 7)
    kept = ["Trout/d turned.png", "Trout/d.jpg", "Shrimp/a turned.png", "Shrimp/a.jpg"]
    assert list(read_csv(cache / "manifest.csv")["file"]) == kept
    rejected = read_csv(cache / "rejected.csv")
    reason = "one photograph under different species: "
    trout, shrimp = (
        reason + "Trout/b turned.png and Shrimp/z.jpg",
        reason + "Trout/y.png and Shrimp/c turned.png",
    )
    assert rejected[["file", "reason"]].to_numpy().tolist() == [
        ["Trout/b turned.png", trout],
        ["Trout/b.jpg", trout],
        ["Trout/y.png", shrimp],
        ["Shrimp/broken.png", "not an image that Pillow can read"],
        ["Shrimp/c turned.png", shrimp],
        ["Shrimp/c.jpg", shrimp],
        ["Shrimp/z.jpg", trout],
    ]
    assert list(rejected["species"]) == ["Trout"] * 3 + ["Shrimp"] * 4
    digests = Cache(cache).digests()
    for row in rejected[rejected["index"] >= 0].itertuples():
        content = (photographs / row.file).read_bytes()
        assert digests[row.index] == hashlib.sha256(content).hexdigest()
    assert list(rejected["index"] >= 0) == [True] * 3 + [False] + [True] * 3
    files = [*kept, *rejected["file"].drop(3)]  # of each photograph, in the cache or left out
    shown = steps.photographs_by_digest(cache)
    digests = [hashlib.sha256((photographs / file).read_bytes()).hexdigest() for file in files]
    numbers = pd.factorize(pd.Series(digests).map(shown))[0].tolist()
    assert numbers == [0, 0, 1, 1, 2, 2, 3, 3, 3, 2]
    require_whole(photographs, cache)


@pytest.mark.parametrize(("count", "more"), [(10, ""), (12, "… and 2 more")])
def test_ten_conflicts_are_named(data: Path, cache: Path, count: int, more: str) -> None:
    for number in range(count):
        for species in BOTH:
            draw(data / species / f"both {number}.png", number)
    with pytest.raises(UserError, match=f"different species, {count} times") as caught:
        run(data, cache)
    assert caught.value.message.count("\n  Trout/both") == 10
    assert more in caught.value.message
    assert ("more" in caught.value.message) == bool(more)


@pytest.mark.parametrize("choice", ["fail", "drop"])
def test_species_that_are_not_listed_do_not_matter(
    photographs: Path, cache: Path, choice: str
) -> None:
    mix_up(photographs)
    counts = run(photographs, cache, ["Trout"], conflicts=choice)
    assert counts == counted(5, 3, 0, 1)


def test_a_species_must_not_be_dropped_whole(data: Path, cache: Path) -> None:
    for path in (data / "Shrimp").iterdir():
        (data / "Trout" / f"shrimp {path.name}").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="Shrimp has no usable image"):
        run(data, cache, conflicts="drop")
    assert not cache.exists()


# What a run leaves behind.


@pytest.mark.parametrize(
    "fault", ["no usable image", "odd record", "conflict", "disk full", "packing", "interrupted"]
)
def test_a_failing_run_leaves_the_cache_as_it_was(
    data: Path, cache: Path, digests: Digests, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt if fault == "interrupted" else OSError("No space left on device")

    run(data, cache)
    before = digests(cache)
    if fault == "no usable image":
        for path in (data / "Shrimp").iterdir():
            path.write_text("x")
    elif fault == "odd record":
        (data / "originals.csv").write_text("file,photograph\n")
    elif fault == "conflict":
        (data / "Shrimp" / "x.png").write_bytes((data / "Trout" / "01.png").read_bytes())
    elif fault == "disk full":
        monkeypatch.setattr(stage, "write_csv", fail)
    else:
        monkeypatch.setattr(packing, "write_file", fail)
    with pytest.raises((UserError, OSError, KeyboardInterrupt)):
        run(data, cache, size=2 * SIZE)
    assert digests(cache) == before
    assert list(cache.parent.iterdir()) == [cache]


def test_a_run_replaces_all_of_the_cache(data: Path, cache: Path, digests: Digests) -> None:
    run(data, cache)
    (cache / "stale.txt").touch()
    run(data, cache, ["Trout"], 2 * SIZE)
    assert {path for path in digests(cache) if not path.startswith("pixels/")} == {
        "manifest.csv",
        "rejected.csv",
        "made_by.json",
    }
    assert (len(Cache(cache)), Cache(cache).size) == (3, 2 * SIZE)
    assert list(cache.parent.iterdir()) == [cache]


def test_others_may_read_the_cache(data: Path, cache: Path) -> None:
    run(data, cache)
    assert cache.stat().st_mode & 0o777 == 0o755


def test_decoded_images_are_not_all_held(
    tmp_path: Path, draw_tree: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Decoded] = weakref.WeakSet()
    most: list[int] = []

    class Watched(Decoded):
        __hash__ = object.__hash__
        __eq__ = object.__eq__

    def watched(content: bytes, size: int) -> Decoded:
        image = Watched(**vars(decode(content, size)))
        alive.add(image)
        most.append(len(alive))
        return image

    draw_tree(tmp_path / "data", {"Trout": 60})
    monkeypatch.setattr(steps, "decode", watched)
    run(tmp_path / "data", cache, ["Trout"])
    assert len(most) == 60
    assert max(most) <= 2 * usable_cores()  # one that is written, one that is made
    assert len(alive) == 0


def test_files_are_listed_by_species_then_path(data: Path) -> None:
    files = list_files(data, ["Trout", "Shrimp"])
    assert [(species, path.name) for species, path in files] == [
        ("Trout", "01.png"),
        ("Trout", "02.png"),
        ("Trout", "03.png"),
        ("Shrimp", "01.png"),
        ("Shrimp", "02.png"),
    ]


def test_names_that_look_like_numbers_stay_names(tmp_path: Path, draw_tree: Tree) -> None:
    draw_tree(tmp_path / "data", {"001": 2, "NA": 2})
    run(tmp_path / "data", tmp_path / "cache", ["001", "NA"])
    manifest = pd.read_csv(tmp_path / "cache" / "manifest.csv", dtype=str, keep_default_na=False)
    assert list(manifest["species"]) == ["001", "001", "NA", "NA"]
    assert list(read_csv(tmp_path / "cache" / "manifest.csv")["species"]) == [
        "001",
        "001",
        "NA",
        "NA",
    ]


def test_species_may_lie_in_the_folders_of_a_split(
    tmp_path: Path, cache: Path, draw_tree: Tree
) -> None:
    draw_tree(tmp_path / "data/train", {"Shrimp": 2, "Trout": 3})
    draw_tree(tmp_path / "data/Test", {"Trout": 3})
    for path in (tmp_path / "data/Test/Trout").iterdir():  # other photographs than those to train
        draw(path, int(path.stem))
    run(tmp_path / "data", cache)
    manifest = read_csv(cache / "manifest.csv").set_index("file")
    assert manifest["given_part"].to_dict() == {
        **{f"Test/Trout/{n:02}.png": "test" for n in (1, 2, 3)},
        **{f"train/Trout/{n:02}.png": "train" for n in (1, 2, 3)},
        **{f"train/Shrimp/{n:02}.png": "train" for n in (1, 2)},
    }


def test_a_table_says_what_is_known_of_photographs(data: Path, cache: Path) -> None:
    files = [f"Trout/{n:02}.png" for n in (1, 2, 3)] + ["Shrimp/01.png", "Shrimp/02.png"]
    rows = [f"{file},00{n}" for n, file in enumerate(files)]
    (data / "photographs.csv").write_text("\n".join(["file,trip", *rows]))
    run(data, cache)
    manifest = read_csv(cache / "manifest.csv", all_text=True).set_index("file")
    assert manifest["trip"].to_dict() == {file: f"00{n}" for n, file in enumerate(files)}
    (data / "photographs.csv").write_text("\n".join(["file,trip", *rows[1:]]))
    with pytest.raises(UserError, match=r"has no row for 1 file: Trout/01\.png"):
        run(data, cache)
    assert read_csv(cache / "manifest.csv", all_text=True)["trip"].nunique() == 5  # as it was
