"""From the cache to batches, and what is done to images on their way into training."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fishline.core.errors import UserError
from fishline.data.dataset import Images, load_images, mean_and_std
from fishline.data.decode import THUMBNAIL, Decoded
from fishline.data.prepare.packing import pack
from fishline.data.prepare.pixels import pixels_packing

SPECIES = ("Trout", "Shrimp")
SUBSETS = ("train", "validation", "test")


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


ROW = {number: row for row, number in enumerate(sorted(range(8), key=sha256))}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Eight images, all pixels of number i are i; files and rows in different orders."""
    folder = tmp_path / "cache"
    folder.mkdir()

    def decode_all(numbers: Sequence[int]) -> Iterator[Decoded]:
        for number in numbers:
            pixels, thumbnail = (
                np.full((4, 4, 3), number, np.uint8),
                np.zeros((THUMBNAIL, THUMBNAIL), np.uint8),
            )
            yield Decoded(pixels, thumbnail, 1 + number, 2, "RGB")

    pack(
        {sha256(number): number for number in range(8)},
        decode_all,
        pixels_packing(4),
        tmp_path / "nowhere",
        folder,
    )
    species = [SPECIES[i % 2] for i in range(8)]
    manifest = pd.DataFrame(
        {
            "file": [f"{name}/{i}.png" for i, name in enumerate(species)],
            "species": species,
            "index": [ROW[i] for i in range(8)],
            "sha256": [sha256(i) for i in range(8)],
        }
    )
    manifest.to_csv(folder / "manifest.csv", index=False)
    return folder


@pytest.fixture
def split(tmp_path: Path, cache: Path) -> Path:
    """Images 7, 6, 5, 4 train, 3 and 2 validate, 1 and 0 test."""
    manifest = pd.read_csv(cache / "manifest.csv")[["file", "species"]].iloc[::-1]
    subsets = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    path = tmp_path / "split.csv"
    manifest.assign(original="007", alike="", part=subsets).to_csv(path, index=False)
    return path


def test_parts_are_those_of_the_split(cache: Path, split: Path) -> None:
    subsets = load_images(cache, split, SPECIES)
    assert {name: images.rows.tolist() for name, images in subsets.items()} == {
        "train": [ROW[i] for i in (7, 6, 5, 4)],
        "validation": [ROW[i] for i in (3, 2)],
        "test": [ROW[i] for i in (1, 0)],
    }
    train = subsets["train"]
    assert (len(train), train.size, train.species) == (4, 4, SPECIES)
    assert train.labels.tolist() == [1, 0, 1, 0]
    files = ["Shrimp/7.png", "Trout/6.png", "Shrimp/5.png", "Trout/4.png"]
    assert train.table["file"].tolist() == files
    assert train.table["sha256"].tolist() == [sha256(i) for i in (7, 6, 5, 4)]
    assert set(train.table["original"]) == {"007"}
    assert train.aspects.tolist() == [4, 3.5, 3, 2.5]


def test_labels_follow_the_order_of_the_species(cache: Path, split: Path) -> None:
    assert load_images(cache, split, SPECIES[::-1])["train"].labels.tolist() == [0, 1, 0, 1]


def test_two_tasks_together_are_one(cache: Path, split: Path, tmp_path: Path) -> None:
    """A table for each task, as fine-tuning reads them that extends the base model."""
    table = pd.read_csv(split, dtype=str)
    paths = [tmp_path / f"{name}.csv" for name in SPECIES]
    for path, name in zip(paths, SPECIES, strict=True):
        table[table["species"] == name].to_csv(path, index=False)
    subsets = load_images(cache, paths, SPECIES)
    assert {name: images.rows.tolist() for name, images in subsets.items()} == {
        "train": [ROW[i] for i in (6, 4, 7, 5)],
        "validation": [ROW[i] for i in (2, 3)],
        "test": [ROW[i] for i in (0, 1)],
    }
    assert subsets["train"].labels.tolist() == [0, 0, 1, 1]
    assert subsets["train"].table.index.tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError, match=f"{paths[0].name} and .*{paths[1].name} does not fit"):
        load_images(cache, paths, ["Trout"])


def test_batches_follow_the_order_asked_for(cache: Path, split: Path) -> None:
    train = load_images(cache, split, SPECIES)["train"]
    batches = list(train.batches(torch.tensor([3, 0, 0, 1, 2]), 2))
    assert [pixels.shape for pixels, _ in batches] == [(2, 4, 4, 3), (2, 4, 4, 3), (1, 4, 4, 3)]
    assert batches[0][0].dtype == torch.uint8
    shown = torch.cat([pixels for pixels, _ in batches])
    assert shown.flatten(1).unique(dim=1).flatten().tolist() == [4, 7, 7, 6, 5]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 1, 1, 0, 1]


def test_writing_into_the_tensors_leaves_the_cache_alone(
    cache: Path, split: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(cache)
    train = load_images(cache, split, SPECIES)["train"]
    pixels, _ = next(train.batches(torch.arange(4), 4))
    pixels.fill_(255)
    again, _ = next(train.batches(torch.arange(4), 4))
    assert again.flatten(1).unique(dim=1).flatten().tolist() == [7, 6, 5, 4]
    assert digests(cache) == before


@pytest.mark.parametrize("missing", ["manifest.csv", "split.csv"])
def test_a_missing_file_is_named(cache: Path, split: Path, missing: str) -> None:
    path = split if missing == "split.csv" else cache / missing
    path.unlink()
    with pytest.raises(UserError, match=f"{missing} is missing.*dvc repro"):
        load_images(cache, split, SPECIES)


@pytest.mark.parametrize("fault", ["all gone", "one gone", "cut", "empty", "odd"])
def test_packed_files_that_are_missing_or_damaged(cache: Path, split: Path, fault: str) -> None:
    files = sorted((cache / "pixels").iterdir())
    for path in files if fault == "all gone" else files[:1]:
        content = path.read_bytes()
        path.unlink()
        if fault not in ("all gone", "one gone"):
            odd = {"cut": content[:-1], "empty": b"", "odd": b"odd" + content}
            path.write_bytes(odd[fault])
    table = pd.read_csv(split)
    first = table["file"].map(lambda file: ROW[int(file[-5])]) < 6  # rows that are still there
    table[first].assign(part="train").to_csv(split, index=False)
    with pytest.raises(UserError, match="cache.*dvc repro"):
        load_images(cache, split, SPECIES)


@pytest.mark.parametrize(
    "species", [("Trout",), ("Trout", "Shrimp", "Bream"), ("Trout", "Bream")], ids=str
)
def test_a_split_for_other_species_is_refused(
    cache: Path, split: Path, species: tuple[str, ...]
) -> None:
    with pytest.raises(UserError, match="does not fit"):
        load_images(cache, split, species)


def test_a_split_for_another_cache_is_refused(cache: Path, split: Path) -> None:
    manifest = pd.read_csv(cache / "manifest.csv")
    manifest.iloc[1:].to_csv(cache / "manifest.csv", index=False)
    with pytest.raises(UserError, match="does not fit"):
        load_images(cache, split, SPECIES)


def test_a_species_without_training_image_is_named(cache: Path, split: Path) -> None:
    table = pd.read_csv(split)
    table.loc[(table["species"] == "Shrimp"), "part"] = "test"
    table.to_csv(split, index=False)
    with pytest.raises(UserError, match="no training image of 'Shrimp'"):
        load_images(cache, split, SPECIES)


@pytest.mark.parametrize("rows", [[0], [5, 2, 2], list(range(24))], ids=len)
def test_mean_and_std_are_numpys(images: Images, rows: list[int]) -> None:
    some = replace(images, rows=torch.tensor(rows), labels=images.labels[rows])
    mean, std = mean_and_std(some)
    pixels = images.pixels.numpy()[rows] / 255
    assert mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-9)
    assert std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-9)


def test_mean_and_std_beyond_one_batch() -> None:
    pixels = torch.arange(300 * 3).reshape(300, 1, 1, 3).remainder(251).to(torch.uint8)
    table = pd.DataFrame(index=range(300))
    images = Images(pixels, torch.arange(300), torch.zeros(300, dtype=torch.int64), ("A",), table)
    mean, std = mean_and_std(images)
    assert mean == pytest.approx((pixels.double() / 255).mean((0, 1, 2)).tolist())
    expected = (pixels.double() / 255).std((0, 1, 2), correction=0)
    assert std == pytest.approx(expected.tolist())


def test_an_even_colour_can_be_divided_by_its_std(images: Images) -> None:
    black = replace(images, pixels=torch.zeros_like(images.pixels))
    mean, std = mean_and_std(black)
    assert mean == (0, 0, 0)
    assert min(std) > 0
