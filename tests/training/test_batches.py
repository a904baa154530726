"""What the loop trains on: photographs however they are kept, and frozen layers' features."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Dropping, small
from torch import nn

from fishline.data.augment import augment, draw_augmentations
from fishline.data.cache import Cache
from fishline.data.dataset import Images, Packed
from fishline.data.decode import THUMBNAIL, Decoded
from fishline.data.prepare.packing import pack
from fishline.data.prepare.pixels import pixels_packing
from fishline.models.artifact import ModelConfig, Normalize, scale
from fishline.models.networks import Network
from fishline.training import batches
from fishline.training.batches import CachedFeatures, ComputedFeatures, Photographs, cache_features
from fishline.training.trainer import Trainer

CPU = torch.device("cpu")

MakeTrainer = Callable[..., Trainer]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def normalize(config: ModelConfig) -> Normalize:
    return Normalize(config)


@pytest.fixture
def packed(images: Images, tmp_path: Path) -> Images:
    """The same images, in a cache on the disk."""
    digests = [hashlib.sha256(b"%d" % row).hexdigest() for row in range(len(images))]
    order = np.argsort(digests)

    def decode_all(rows: Sequence[int]) -> Iterator[Decoded]:
        for row in rows:
            thumbnail = np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)
            yield Decoded(images.pixels[row].numpy(), thumbnail, 48, 48, "RGB")

    (tmp_path / "cache").mkdir()
    pack(
        {digest: row for row, digest in enumerate(digests)},
        decode_all,
        pixels_packing(48),
        tmp_path / "nowhere",
        tmp_path / "cache",
    )
    rows = torch.from_numpy(np.argsort(order))
    return replace(images, pixels=Packed(Cache(tmp_path / "cache")), rows=rows)


@pytest.fixture
def subset(images: Images) -> Images:
    """Some of the images, in an order of their own."""
    rows = torch.tensor([20, 3, 3, 11, 0, 7])
    return replace(images, rows=rows, labels=images.labels[rows])


@pytest.mark.parametrize("augmented", [False, True])
def test_photographs_in_memory_and_on_the_disk_are_the_same(
    images: Images,
    packed: Images,
    normalize: Normalize,
    monkeypatch: pytest.MonkeyPatch,
    augmented: bool,
) -> None:
    positions = torch.tensor([5, 0, 23, 5])
    taken = []
    for source, room in ((images, 1 << 30), (packed, 1 << 30), (packed, 0)):
        monkeypatch.setattr(batches, "RESIDENT", room)
        photographs = Photographs(source, normalize, CPU, draw_augmentations if augmented else None)
        assert (photographs._resident is None) == (room == 0)
        drawn = photographs.draw(4, generator())
        taken.append(photographs.take(positions, drawn))
    assert torch.equal(taken[0], taken[1])
    assert torch.equal(taken[0], taken[2])


def test_photographs_are_normalised_and_in_the_order_asked_for(
    subset: Images, normalize: Normalize
) -> None:
    photographs = Photographs(subset, normalize, CPU)
    assert torch.equal(photographs.labels, subset.labels)
    taken = photographs.take(torch.tensor([4, 0]))
    assert (taken.shape, taken.dtype) == ((2, 3, 48, 48), torch.float32)
    assert taken.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(taken, (scale(subset.pixels[[0, 20]]) - 0.4) / 0.3)


def test_photographs_are_augmented_as_drawn_and_only_then(
    subset: Images, normalize: Normalize
) -> None:
    photographs = Photographs(subset, normalize, CPU, draw_augmentations)
    positions = torch.tensor([1, 5])
    drawn = photographs.draw(2, generator(3))
    assert torch.equal(drawn, draw_augmentations(2, generator(3)))
    raw = scale(subset.pixels[[3, 7]])
    torch.testing.assert_close(photographs.take(positions), normalize(raw))
    torch.testing.assert_close(photographs.take(positions, drawn), normalize(augment(raw, drawn)))


def test_nothing_is_drawn_where_nothing_is_augmented(subset: Images, normalize: Normalize) -> None:
    """So that the order of the images does not depend on how their inputs are kept."""
    photographs = Photographs(subset, normalize, CPU)
    features = cache_features(nn.Flatten(), photographs, 1, generator())
    assert features
    for source in (photographs, ComputedFeatures(nn.Flatten(), photographs), features):
        rng = generator()
        drawn = source.draw(6, rng)
        assert torch.equal(rng.get_state(), generator().get_state())
        torch.testing.assert_close(
            source.take(torch.arange(6), drawn).flatten(),
            photographs.take(torch.arange(6)).flatten(),
        )


@pytest.fixture
def frozen() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3, stride=8), nn.BatchNorm2d(5), nn.ReLU()).eval()


@pytest.mark.parametrize("flat", [False, True], ids=["maps", "vectors"])
@pytest.mark.parametrize("batch", [256, 4])
def test_features_are_what_the_frozen_layers_make(
    subset: Images,
    normalize: Normalize,
    frozen: nn.Sequential,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    flat: bool,
) -> None:
    """Of the images as they are first, then of augmented versions."""
    monkeypatch.setattr(batches, "BATCH", batch)
    layers = frozen.append(nn.Flatten()) if flat else frozen
    photographs = Photographs(subset, normalize, CPU, draw_augmentations)
    features = cache_features(layers, photographs, 3, generator())
    assert isinstance(features, CachedFeatures)
    assert len(features.values) == 3
    assert not features.values.requires_grad
    assert torch.equal(features.labels, subset.labels)
    rng = generator()
    every = torch.arange(6)
    expected = [photographs.take(every)]
    expected += [photographs.take(every, photographs.draw(6, rng)) for _ in range(2)]
    with torch.no_grad():
        for view, inputs_ in enumerate(expected):
            drawn = torch.full((6, 1), view)
            torch.testing.assert_close(features.take(every, drawn), layers(inputs_))
        torch.testing.assert_close(features.take(torch.tensor([4, 1])), layers(expected[0][[4, 1]]))


def test_every_view_of_an_image_is_drawn() -> None:
    features = CachedFeatures(torch.arange(4.0).view(4, 1, 1), torch.zeros(1), torch.ones(1))
    drawn = features.draw(400, generator())
    assert torch.equal(drawn, features.draw(400, generator()))
    counts = features.take(torch.zeros(400, dtype=torch.int64), drawn).long().flatten().bincount()
    assert counts.min() > 60
    assert len(counts) == 4


def test_features_that_do_not_fit_are_not_kept(
    subset: Images, normalize: Normalize, frozen: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs = Photographs(subset, normalize, CPU, draw_augmentations)
    size = 2 * 6 * 5 * 6 * 6 * 4  # views, images, channels, height, width, bytes
    for room, fits in ((size, True), (size - 1, False)):
        monkeypatch.setattr(batches, "_room", lambda device, room=room: room)
        rng = generator()
        assert (cache_features(frozen, photographs, 2, rng) is not None) == fits
        assert fits != torch.equal(rng.get_state(), generator().get_state())


def test_computed_features_are_augmented_and_learn_nothing(
    subset: Images, normalize: Normalize, frozen: nn.Module
) -> None:
    photographs = Photographs(subset, normalize, CPU, draw_augmentations)
    computed = ComputedFeatures(frozen, photographs)
    positions, drawn = torch.tensor([2, 0]), computed.draw(2, generator())
    made = computed.take(positions, drawn)
    assert not made.requires_grad
    torch.testing.assert_close(made, frozen(photographs.take(positions, drawn)).detach())
    assert torch.equal(computed.labels, subset.labels)


def test_the_room_is_a_part_of_the_free_memory(make_images: Callable[..., Images]) -> None:
    assert 0 < batches._room(CPU) < 1 << 45


@pytest.mark.parametrize(
    ("part", "room", "kind"),
    [
        ("all", 1 << 40, Photographs),
        ("classifier", 1 << 40, CachedFeatures),
        ("head", 1 << 40, CachedFeatures),
        ("head", 0, ComputedFeatures),
    ],
)
def test_what_is_frozen_runs_once_if_there_is_room(
    make_trainer: MakeTrainer,
    images: Images,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    room: int,
    kind: type,
) -> None:
    monkeypatch.setattr(batches, "_room", lambda device: room)
    trainer = make_trainer(part, augment=True, views=3)
    assert type(trainer.train) is type(trainer.validation(images)) is kind
    if kind is CachedFeatures:
        assert len(trainer.train.values) == 3
        assert len(trainer.validation(images).values) == 1
        assert len(make_trainer(part, augment=False, views=3).train.values) == 1


@pytest.mark.parametrize("part", ["head", "classifier"])
@pytest.mark.parametrize("network", [None, Dropping, small], ids=["notebook", "dropout", "small"])
def test_kept_features_train_as_computed_ones(
    make_trainer: MakeTrainer,
    images: Images,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    network: Callable[[], Network] | None,
) -> None:
    chosen: dict[str, Any] = {"network": network} if network else {}
    chosen |= {"batch_size": 7, "optimizer": "sgd", "lr": 0.01, "balance": "oversample"}
    ends, scores = [], []
    for room, kind in ((1 << 40, CachedFeatures), (0, ComputedFeatures)):
        monkeypatch.setattr(batches, "_room", lambda device, room=room: room)
        trainer = make_trainer(part, **chosen)
        assert isinstance(trainer.train, kind)
        start = copy.deepcopy(trainer.network.state_dict())
        for _ in range(3):
            trainer.run_epoch(trainer.start_epoch())
        ends.append(trainer.network.state_dict())
        scores.append(trainer.validate(trainer.validation(images)))
        assert not all(map(torch.equal, start.values(), ends[-1].values()))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-5, rtol=0)
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
