"""From a folder of photographs to the cache that all later stages read."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishline import preprocess as stage
from fishline.errors import UserError
from fishline.images import decode
from fishline.preprocess import list_files, preprocess

Tree = Callable[[Path, Mapping[str, int]], list[str]]
Digests = Callable[[Path], dict[str, str]]

SIZE = 16


@pytest.fixture
def data(tmp_path: Path, draw_tree: Tree) -> Path:
    """Three photographs of trout, two of shrimp."""
    draw_tree(tmp_path / "data", {"Shrimp": 2, "Trout": 3})
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "out" / "cache"


def record_originals(data: Path) -> None:
    files = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.png"))
    table = pd.DataFrame({"file": files, "original": [f"00{i // 2}" for i in range(len(files))]})
    table.to_csv(data / "originals.csv", index=False)


def test_the_manifest_describes_every_image(data: Path, cache: Path) -> None:
    Image.new("L", (20, 50), 9).save(data / "Shrimp" / "00.bmp")
    counts = preprocess(data, ["Trout", "Shrimp"], SIZE, cache)
    assert counts == {"images": 6, "rejected": 0, "species": 2}
    manifest = pd.read_csv(cache / "manifest.csv")
    columns = "file species index width height mode sha256 original"
    assert list(manifest) == columns.split()
    shrimp = ["Shrimp/00.bmp", "Shrimp/01.png", "Shrimp/02.png"]
    assert list(manifest["file"]) == ["Trout/01.png", "Trout/02.png", "Trout/03.png", *shrimp]
    assert list(manifest["species"]) == ["Trout"] * 3 + ["Shrimp"] * 3
    assert list(manifest["index"]) == list(range(6))
    assert manifest.loc[3, ["width", "height", "mode"]].to_list() == [20, 50, "L"]
    assert manifest.loc[4, ["width", "height", "mode"]].to_list() == [40, 30, "RGB"]
    for row in manifest.itertuples():
        content = (data / str(row.file)).read_bytes()
        assert row.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("chunk", [2, 512])
def test_pixels_are_those_of_the_files(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(stage, "CHUNK", chunk)
    preprocess(data, ["Shrimp", "Trout"], SIZE, cache)
    pixels = np.load(cache / "images.npy", mmap_mode="r")
    assert (pixels.shape, pixels.dtype) == ((5, SIZE, SIZE, 3), np.uint8)
    for row in pd.read_csv(cache / "manifest.csv").itertuples():
        expected = decode((data / str(row.file)).read_bytes(), SIZE).pixels
        np.testing.assert_array_equal(pixels[row.index], expected)


def test_only_listed_species_are_packed(data: Path, cache: Path) -> None:
    assert preprocess(data, ["Trout"], SIZE, cache)["images"] == 3
    assert set(pd.read_csv(cache / "manifest.csv")["species"]) == {"Trout"}
    assert len(np.load(cache / "images.npy")) == 3


@pytest.mark.parametrize("edge", [50, 80])  # over the limit, over twice the limit
def test_unusable_files_are_left_out_and_named(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, edge: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 40)
    whole = (data / "Trout" / "02.png").read_bytes()
    (data / "Trout" / "02.png").write_bytes(whole[: len(whole) // 2])
    (data / "Trout" / "05.jpg").write_text("not an image")
    Image.new("RGB", (edge, edge)).save(data / "Shrimp" / "03.png")
    counts = preprocess(data, ["Trout", "Shrimp"], SIZE, cache)
    assert counts == {"images": 4, "rejected": 3, "species": 2}
    rejected = pd.read_csv(cache / "rejected.csv")
    assert list(rejected) == ["file", "species", "reason"]
    assert list(rejected["file"]) == ["Trout/02.png", "Trout/05.jpg", "Shrimp/03.png"]
    assert list(rejected["species"]) == ["Trout", "Trout", "Shrimp"]
    for reason, says in zip(
        rejected["reason"], ["truncated", "not an image", "limit"], strict=True
    ):
        assert says in reason
    manifest = pd.read_csv(cache / "manifest.csv")
    kept = ["Trout/01.png", "Trout/03.png", "Shrimp/01.png", "Shrimp/02.png"]
    assert list(manifest["file"]) == kept
    pixels = np.load(cache / "images.npy")
    assert len(pixels) == 4
    third = decode((data / "Shrimp" / "01.png").read_bytes(), SIZE).pixels
    np.testing.assert_array_equal(pixels[manifest["index"][2]], third)


def test_masks_and_hidden_files_are_no_photographs(data: Path, cache: Path) -> None:
    (data / "Trout" / "Trout GT").mkdir()
    Image.new("L", (9, 9)).save(data / "Trout" / "Trout GT" / "01.png")
    (data / "Trout" / ".DS_Store").touch()
    assert preprocess(data, ["Trout"], SIZE, cache) == {"images": 3, "rejected": 0, "species": 1}


@pytest.mark.parametrize(
    ("folder", "species", "says"),
    [
        ("nowhere", ["Trout"], "no folder .*nowhere"),
        ("data/Trout", ["Trout"], "has no folders"),
        ("data", ["Trout", "Trutta"], "no folder 'Trutta'.*Shrimp, Trout"),
        ("data", ["Trout", "Empty"], "Empty has no usable image.*take 'Empty' out"),
        ("data", ["Broken", "Trout"], "Broken has no usable image"),
    ],
)
def test_data_that_cannot_serve(
    data: Path, cache: Path, folder: str, species: list[str], says: str
) -> None:
    if "Empty" in species:
        (data / "Empty").mkdir()
    if "Broken" in species:
        (data / "Broken").mkdir()
        (data / "Broken" / "1.png").write_text("x")
    with pytest.raises(UserError, match=says):
        preprocess(data.parent / folder, species, SIZE, cache)
    assert not cache.exists()


def test_originals_are_unknown_without_a_record(data: Path, cache: Path) -> None:
    preprocess(data, ["Trout"], SIZE, cache)
    assert pd.read_csv(cache / "manifest.csv")["original"].isna().all()


def test_originals_come_from_the_record(data: Path, cache: Path) -> None:
    record_originals(data)
    preprocess(data, ["Trout", "Shrimp"], SIZE, cache)
    manifest = pd.read_csv(cache / "manifest.csv", dtype=str).set_index("file")
    assert manifest["original"].to_dict() == {
        "Shrimp/01.png": "000",
        "Shrimp/02.png": "000",
        "Trout/01.png": "001",
        "Trout/02.png": "001",
        "Trout/03.png": "002",
    }


@pytest.mark.parametrize("fault", ["no usable image", "no original", "disk full"])
def test_a_failing_run_leaves_the_cache_as_it_was(
    data: Path, cache: Path, digests: Digests, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    preprocess(data, ["Trout", "Shrimp"], SIZE, cache)
    before = digests(cache)
    if fault == "no usable image":
        for path in (data / "Shrimp").iterdir():
            path.write_text("x")
    elif fault == "no original":
        (data / "originals.csv").write_text("file,original\n")
    else:
        monkeypatch.setattr(stage, "write_csv", lambda path, table: 1 / 0)
    with pytest.raises((UserError, ZeroDivisionError)):
        preprocess(data, ["Trout", "Shrimp"], 2 * SIZE, cache)
    assert digests(cache) == before
    assert list(cache.parent.iterdir()) == [cache]


def test_a_run_replaces_all_of_the_cache(data: Path, cache: Path, digests: Digests) -> None:
    preprocess(data, ["Trout", "Shrimp"], SIZE, cache)
    (cache / "stale.txt").touch()
    preprocess(data, ["Trout"], 2 * SIZE, cache)
    assert set(digests(cache)) == {"images.npy", "manifest.csv", "rejected.csv"}
    assert np.load(cache / "images.npy").shape == (3, 2 * SIZE, 2 * SIZE, 3)
    assert list(cache.parent.iterdir()) == [cache]


def test_the_same_photographs_give_the_same_bytes(
    data: Path, cache: Path, digests: Digests
) -> None:
    record_originals(data)
    (data / "Trout" / "05.jpg").write_text("not an image")
    twice = []
    for _ in range(2):
        preprocess(data, ["Trout", "Shrimp"], SIZE, cache)
        twice.append(digests(cache))
    assert twice[0] == twice[1]


def test_files_are_listed_by_species_then_path(data: Path) -> None:
    files = list_files(data, ["Trout", "Shrimp"])
    assert [(species, path.name) for species, path in files] == [
        ("Trout", "01.png"),
        ("Trout", "02.png"),
        ("Trout", "03.png"),
        ("Shrimp", "01.png"),
        ("Shrimp", "02.png"),
    ]
