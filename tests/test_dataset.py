"""From the cache to batches, and what is done to images on their way into training."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from fishline.dataset import Images, augment, epoch_order, load_images, mean_and_std
from fishline.errors import UserError
from fishline.images import LOOK, Decoded
from fishline.packing import pack
from fishline.params import Balance

SPECIES = ("Trout", "Shrimp")
PARTS = ("train", "validation", "test")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


ROW = {number: row for row, number in enumerate(sorted(range(8), key=sha256))}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Eight images, all pixels of number i are i; files and rows in different orders."""
    folder = tmp_path / "cache"
    folder.mkdir()

    def decode_all(digests: Sequence[str]) -> Iterator[Decoded]:
        for number in sorted(range(8), key=sha256):
            pixels, look = np.full((4, 4, 3), number, np.uint8), np.zeros((LOOK, LOOK), np.uint8)
            yield Decoded(pixels, look, 4, 4, "RGB")

    pack(sorted(map(sha256, range(8))), decode_all, 4, tmp_path / "nowhere", folder)
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
    parts = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    path = tmp_path / "split.csv"
    manifest.assign(original="007", alike="", part=parts).to_csv(path, index=False)
    return path


def test_parts_are_those_of_the_split(cache: Path, split: Path) -> None:
    parts = load_images(cache, split, SPECIES)
    assert {name: images.rows.tolist() for name, images in parts.items()} == {
        "train": [ROW[i] for i in (7, 6, 5, 4)],
        "validation": [ROW[i] for i in (3, 2)],
        "test": [ROW[i] for i in (1, 0)],
    }
    train = parts["train"]
    assert (len(train), train.size, train.species) == (4, 4, SPECIES)
    assert train.labels.tolist() == [1, 0, 1, 0]
    files = ["Shrimp/7.png", "Trout/6.png", "Shrimp/5.png", "Trout/4.png"]
    assert train.table["file"].tolist() == files
    assert train.table["sha256"].tolist() == [sha256(i) for i in (7, 6, 5, 4)]
    assert set(train.table["original"]) == {"007"}


def test_labels_follow_the_order_of_the_species(cache: Path, split: Path) -> None:
    assert load_images(cache, split, SPECIES[::-1])["train"].labels.tolist() == [0, 1, 0, 1]


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


LABELS = torch.tensor([0] * 7 + [1] * 3 + [2] * 5)


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("none", [7, 3, 5]),
        ("class_weights", [7, 3, 5]),
        ("oversample", [7, 7, 7]),
        ("undersample", [3, 3, 3]),
    ],
)
def test_images_of_each_species_in_an_epoch(balance: Balance, expected: list[int]) -> None:
    order = epoch_order(LABELS, balance, generator())
    assert LABELS[order].bincount().tolist() == expected


def test_every_balance_is_tested() -> None:
    assert set(get_args(Balance)) == {"none", "class_weights", "oversample", "undersample"}


@pytest.mark.parametrize("balance", ["none", "class_weights", "undersample"])
def test_no_image_comes_twice_in_an_epoch(balance: Balance) -> None:
    order = epoch_order(LABELS, balance, generator()).tolist()
    assert len(set(order)) == len(order)


@pytest.mark.parametrize("seed", range(5))
def test_oversampling_uses_all_images_equally_often(seed: int) -> None:
    times = Counter(epoch_order(LABELS, "oversample", generator(seed)).tolist())
    assert [times[i] for i in range(7)] == [1] * 7
    assert sorted(times[i] for i in range(7, 10)) == [2, 2, 3]
    assert sorted(times[i] for i in range(10, 15)) == [1, 1, 1, 2, 2]


def test_undersampling_draws_anew_in_each_epoch() -> None:
    rng = generator()
    drawn = [set(epoch_order(LABELS, "undersample", rng).tolist()) for _ in range(20)]
    assert set.union(*drawn) == set(range(15))


@pytest.mark.parametrize("balance", get_args(Balance))
def test_epochs_are_shuffled_and_repeatable(balance: Balance) -> None:
    rng, again = generator(), generator()
    first, second = (epoch_order(LABELS, balance, rng).tolist() for _ in range(2))
    assert first != second
    assert first == epoch_order(LABELS, balance, again).tolist()
    shown = LABELS[first].tolist()
    assert shown != sorted(shown)


def discs(count: int, size: int, middles: Sequence[tuple[float, float]]) -> torch.Tensor:
    """Float (count, 3, size, size): in channel i a disc about middles[i] (x, y from the centre)."""
    axis = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    channels = [((x - cx) ** 2 + (y - cy) ** 2 <= 16).float() for cx, cy in middles]
    return torch.stack(channels).expand(count, -1, -1, -1).clone()


def centres(images: torch.Tensor) -> torch.Tensor:
    """Centres of mass (b, channels, 2) as x, y from the middle."""
    axis = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    mass = images.sum((2, 3))
    x = (images.sum(2) * axis).sum(2) / mass
    y = (images.sum(3) * axis).sum(2) / mass
    return torch.stack([x, y], 2)


def test_augmenting_repeats_with_the_seed() -> None:
    images = torch.rand(6, 3, 20, 20, generator=generator(5))
    before = images.clone()
    first, again = augment(images, generator(1)), augment(images, generator(1))
    assert torch.equal(images, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images, generator(2)))


def test_augmenting_keeps_shape_type_and_range() -> None:
    images = torch.rand(6, 3, 20, 20, generator=generator(5)) * 0.5 + 0.5
    out = augment(images, generator())
    assert (out.shape, out.dtype) == (images.shape, torch.float32)
    assert out.min() == 0  # the corners come from outside
    assert 0.5 < out.max() <= 1


def test_images_turn_about_their_middle() -> None:
    images = discs(8, 41, [(0, 0)] * 3)
    out = augment(images, generator())
    torch.testing.assert_close(centres(out), torch.zeros(8, 3, 2), atol=0.05, rtol=0)
    torch.testing.assert_close(out.sum((2, 3)), images.sum((2, 3)), atol=1.5, rtol=0)


def test_images_turn_by_every_angle_and_keep_their_size() -> None:
    middle = centres(augment(discs(64, 41, [(10, 0)] * 3), generator()))[:, 0]
    torch.testing.assert_close(middle.norm(dim=1), torch.full((64,), 10.0), atol=0.2, rtol=0)
    quarters = torch.atan2(middle[:, 1], middle[:, 0]).div(math.pi / 2).floor()
    assert quarters.unique().tolist() == [-2, -1, 0, 1]


def test_half_of_the_images_are_mirrored() -> None:
    middles = centres(augment(discs(64, 41, [(10, 0), (0, 10), (0, 0)]), generator()))
    (x0, y0), (x1, y1) = middles[:, 0].T, middles[:, 1].T
    turn = (x0 * y1 - y0 * x1) / 100  # 1: as it was, -1: mirrored
    torch.testing.assert_close(turn.abs(), torch.ones(64), atol=0.05, rtol=0)
    assert 20 <= (turn < 0).sum() <= 44


def test_one_image_can_be_augmented(make_images: Callable[..., Images]) -> None:
    image = make_images(1).pixels.permute(0, 3, 1, 2) / 255
    assert augment(image, generator()).shape == image.shape
