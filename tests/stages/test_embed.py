"""Features of photographs: computed once, kept by content, and used in place of the network."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fishline.core.errors import UserError
from fishline.core.files import remaking
from fishline.core.params import Params
from fishline.core.training_params import Training
from fishline.data.cache import Cache
from fishline.data.dataset import Images, Packed
from fishline.data.decode import THUMBNAIL, Decoded
from fishline.data.features import Features
from fishline.data.prepare.packing import pack
from fishline.data.prepare.pixels import pixels_packing
from fishline.models import feature_packing
from fishline.models.artifact import ModelConfig, Normalize, build, load
from fishline.models.feature_packing import make_features
from fishline.models.trained_model import TrainedModel
from fishline.models.transfer import freeze
from fishline.training.trainer import Trainer

SIZE = 48
THIRD = (0.3, 0.3, 0.3)
SPECIES = ("Bream", "Trout")


def digest(number: int) -> str:
    return f"{number * 37 % 256:02x}" + "0" * 60 + f"{number:02x}"


def cache_of(folder: Path, numbers: Sequence[int]) -> Cache:
    def decode(wanted: Sequence[str]) -> Iterator[Decoded]:
        for sha256 in wanted:
            rng = np.random.default_rng(int(sha256[-2:], 16))
            pixels = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            yield Decoded(pixels, np.zeros((THUMBNAIL, THUMBNAIL), np.uint8), SIZE, SIZE, "RGB")

    folder.mkdir()
    digests = {digest(number): digest(number) for number in numbers}
    pack(digests, decode, pixels_packing(SIZE), folder / "nowhere", folder)
    return Cache(folder)


@pytest.fixture
def embed(tmp_path: Path, params: Params) -> Callable[..., int]:
    """A function (cache, changed parameters) -> how many were computed, into data/features."""

    def run(cache: Cache, **changes: Any) -> int:
        with remaking(tmp_path / "features") as new:
            chosen = params.model_copy(update=changes)
            return make_features(chosen, cache, tmp_path / "features", new)

    return run


def test_what_is_there_is_not_computed_again(
    tmp_path: Path, embed: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = cache_of(tmp_path / "few", range(5))
    assert embed(few) == 5
    before = Features.open(tmp_path / "features", few)
    assert before is not None
    values = before.take(torch.arange(5))
    assert (values.shape, values.dtype) == ((1, 5, 256), torch.float32)
    more = cache_of(tmp_path / "more", range(6))
    assert embed(few) == 0
    assert embed(more) == 1
    after = Features.open(tmp_path / "features", more)
    assert after is not None
    where = [more.digests().index(sha256) for sha256 in few.digests()]
    assert torch.equal(after.take(torch.tensor(where)), values)
    monkeypatch.setattr(feature_packing, "augmenting", feature_packing.embedding)  # other code
    assert embed(more) == 6


def test_views_are_the_photograph_and_versions_of_it(
    tmp_path: Path, embed: Callable[..., int]
) -> None:
    cache, rows = cache_of(tmp_path / "few", range(4)), torch.arange(4)
    embed(cache)
    features = Features(tmp_path / "features", "")
    as_they_are = features.take(rows)
    np.testing.assert_array_equal(features.plain(rows.numpy()), as_they_are[0])
    assert embed(cache, views=3) == 4
    three = Features(tmp_path / "features", "").take(rows)
    assert three.shape == (3, 4, 256)
    assert torch.equal(three[:1], as_they_are)
    assert not torch.allclose(three[1], three[0]) and not torch.allclose(three[1], three[2])
    assert embed(cache, views=3, seed=43) == 0  # another seed asks for nothing


def test_features_of_other_photographs_are_refused(
    tmp_path: Path, embed: Callable[..., int]
) -> None:
    embed(cache_of(tmp_path / "few", range(4)))
    with pytest.raises(UserError, match="features is of other photographs; `dvc repro embed`"):
        Features.open(tmp_path / "features", cache_of(tmp_path / "others", range(1, 5)))
    assert Features.open(tmp_path / "none", cache_of(tmp_path / "more", range(5))) is None


def images_of(cache: Cache, features: Features | None) -> Images:
    rows = torch.arange(len(cache))
    labels = rows % 2
    table = pd.DataFrame({"original": [str(row // 2) for row in rows.tolist()]})
    return Images(Packed(cache), rows, labels, SPECIES, table, features)


def test_a_head_learns_from_them_and_no_network_runs(
    tmp_path: Path,
    embed: Callable[..., int],
    settings: Training,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = cache_of(tmp_path / "few", range(8))
    embed(cache)
    images = images_of(cache, Features.open(tmp_path / "features", cache))
    model = TrainedModel(*load(tmp_path / "start"))
    expected, _ = model.embed_images(replace(images, features=None))
    monkeypatch.setattr(type(model.network), "embed", None)
    found, labels = model.embed_images(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(labels, images.labels)

    rng = torch.Generator().manual_seed(0)
    head = freeze(model.network, "head")
    trainer = Trainer(model.network, head, Normalize(model.config), settings, rng, images)
    assert torch.equal(trainer.train.take(torch.arange(8)), found)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", None)
    trainer.run_epoch(trainer.start_epoch())
    trainer.validate(trainer.validation(images))


def test_features_of_other_layers_are_not_used(tmp_path: Path, embed: Callable[..., int]) -> None:
    cache = cache_of(tmp_path / "few", range(4))
    embed(cache)
    images = images_of(cache, Features.open(tmp_path / "features", cache))
    torch.manual_seed(1)
    config = ModelConfig("fishline", SPECIES, SIZE, THIRD, THIRD, "grouped")
    other = TrainedModel(build(config), config)
    expected, _ = other.embed_images(replace(images, features=None))
    assert torch.equal(other.embed_images(images)[0], expected)
