"""Networks, what is frozen in them, and their files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import Dropping
from torch import nn

from fishline.core.errors import UserError
from fishline.core.training_params import Trainable
from fishline.models.artifact import ModelConfig, Normalize, build, load, save, scale
from fishline.models.networks import Network
from fishline.models.transfer import divide, freeze, replace_head


@pytest.fixture
def network(config: ModelConfig) -> Network:
    torch.manual_seed(0)
    return build(config).eval()


@pytest.fixture
def folder(tmp_path: Path, network: Network, config: ModelConfig) -> Path:
    """A saved model."""
    save(tmp_path / "model", network, config)
    return tmp_path / "model"


def photographs(count: int = 3, size: int = 48) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, size, size, 3), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("network", ["fishline", "notebook"])
def test_fresh_weights_come_from_the_seed(config: ModelConfig, network: str) -> None:
    config = replace(config, network=network)
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(build(config).classifier[-1].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_saved_model_comes_back(folder: Path, network: Network, config: ModelConfig) -> None:
    loaded, described = load(folder)
    assert described == config
    assert not any(module.training for module in loaded.modules())
    images = scale(photographs())
    assert torch.equal(loaded(images), network(images))


def test_a_model_of_before_has_no_taxonomy_and_no_threshold(
    folder: Path, config: ModelConfig
) -> None:
    path, new = folder / "model.json", ("genera", "families", "confidence_threshold")
    described = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in described.items() if k not in new}))
    assert load(folder)[1] == config
    assert (config.genera, config.families, config.confidence_threshold) == ((), (), 0)


def test_loading_draws_once_as_a_fresh_network_does(folder: Path, config: ModelConfig) -> None:
    """The head that fine-tuning adds is drawn next: another number of draws, another model."""
    after = []
    for make in (lambda: build(config), lambda: load(folder)):
        torch.manual_seed(0)
        make()
        after.append(torch.rand(1))
    assert torch.equal(*after)


def test_batch_norm_statistics_are_saved(tmp_path: Path, config: ModelConfig) -> None:
    network = build(config).train()
    network(scale(photographs()))
    save(tmp_path, network, config)
    images = scale(photographs(5))
    assert torch.equal(load(tmp_path)[0](images), network.eval()(images))


def test_the_same_weights_give_the_same_bytes(
    tmp_path: Path, folder: Path, config: ModelConfig
) -> None:
    save(tmp_path / "again", load(folder)[0], config)
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        load(folder)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", "null", '{"species": ["a"], "mean": [0], "std": [1]}', b"\xff\xfe"],
    ids=str,
)
def test_a_broken_description_is_refused(folder: Path, content: str | bytes) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / "model.json").write_bytes(raw)
    with pytest.raises(UserError, match=r"model\.json does not describe a model"):
        load(folder)


@pytest.mark.parametrize(
    "changes", [{"network": "resnet"}, {"extra": 1}, {"species": 3}, {"mean": None}], ids=str
)
def test_a_wrong_description_is_refused(folder: Path, changes: dict[str, object]) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=r"model\.json does not describe a model"):
        load(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_broken_weights_are_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        load(folder)


def test_ill_fitting_weights_are_refused(folder: Path) -> None:
    save_file({"other": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors does not fit"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"species": ["Trout"]},
        {"mean": [0.5, 0.5]},
        {"std": "abc"},
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    folder: Path, change: dict[str, object]
) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"model\.json"):
        load(folder)


def test_models_of_the_first_version_are_read(folder: Path, config: ModelConfig) -> None:
    path = folder / "model.json"
    arguments = {"classes": 3, "image_size": 48}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"arguments": arguments}))
    assert load(folder)[1] == config


def test_a_fresh_head_for_other_species(network: Network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    replace_head(network, 5)
    assert network(scale(photographs())).shape == (3, 5)
    after = network.state_dict()
    assert list(after) == list(before)
    for name, tensor in after.items():
        if not name.startswith("classifier.7."):
            assert torch.equal(tensor, before[name]), name


def test_a_head_is_fresh_for_as_many_species_too(network: Network) -> None:
    before = network.classifier[-1].weight.clone()
    replace_head(network, len(before))
    assert not torch.equal(network.classifier[-1].weight, before)


@pytest.mark.parametrize("classes", [4, 3])
def test_a_head_keeps_the_species_that_it_knows(network: Network, classes: int) -> None:
    with torch.no_grad():
        before = network(scale(photographs()))
        old = network.classifier[-1]
        replace_head(network, classes, keep=True)
        after = network(scale(photographs()))
    assert after.shape == (3, classes)
    torch.testing.assert_close(after[:, :3], before)
    head = network.classifier[-1]
    assert torch.equal(head.weight[:3], old.weight) and torch.equal(head.bias[:3], old.bias)
    assert all(p.requires_grad and p.is_leaf for p in head.parameters())
    if classes > 3:
        assert head.weight[3:].abs().min() > 0  # fresh, not nothing


@pytest.mark.parametrize(
    ("train", "learning"),
    [
        ("head", ["classifier.7"]),
        ("classifier", ["classifier.1", "classifier.3", "classifier.5", "classifier.7"]),
        ("all", None),
    ],
)
def test_what_learns(network: Network, train: str, learning: list[str] | None) -> None:
    freeze(network, "head")  # what was frozen before does not matter
    part = freeze(network, train)  # type: ignore[arg-type]
    every = [name for name, _ in network.named_parameters()]
    expected = [f"{layer}.{kind}" for layer in learning or [] for kind in ("weight", "bias")]
    learns = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert learns == (expected if learning else every)
    in_part = {id(parameter) for parameter in part.parameters()}
    assert in_part == {id(p) for p in network.parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("network", "train", "start"),
    [
        ("notebook", "head", -1),
        ("notebook", "classifier", 1),  # flattening is the same every time
        ("notebook", "all", None),
        ("fishline", "head", -1),
        ("fishline", "classifier", 0),
        ("fishline", "all", None),
        ("dropping", "head", -1),  # the dropout before it is frozen too: it drops nothing
        ("dropping", "classifier", 1),
        ("dropping", "all", None),
    ],
)
def test_frozen_layers_are_divided_from_the_rest(
    config: ModelConfig, network: str, train: Trainable, start: int | None
) -> None:
    """`start`: the layer of the classifier that the rest begins with."""
    torch.manual_seed(0)
    whole = Dropping() if network == "dropping" else build(replace(config, network=network))
    whole.eval()
    trainable = freeze(whole, train)
    frozen, rest = divide(whole, trainable)
    if start is None:
        assert frozen is None
        assert rest is whole
        return
    assert frozen is not None
    assert list(rest) == list(whole.classifier)[start:]
    assert not any(p.requires_grad for p in frozen.parameters())
    images = scale(photographs())
    assert torch.equal(rest(frozen(images)), whole(images))


@pytest.mark.parametrize("where", ["before", "first", "nothing frozen"])
def test_layers_that_learn_or_drop_are_not_frozen(where: str) -> None:
    """A dropout at the front of what learns belongs to it; one that is frozen does not."""
    network = Dropping()
    linear, head = nn.Linear(36, 36), nn.Linear(36, 3)
    network.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), linear, head)
    trainable = freeze(network, "classifier" if where == "first" else "head")
    if where == "nothing frozen":  # nothing with parameters comes before what learns
        network.features = nn.Sequential(nn.AvgPool2d(16))
        network.classifier = nn.Sequential(nn.Flatten(), nn.Linear(27, 3))
        assert divide(network, freeze(network, "head")) == (None, network)
        return
    first, rest = divide(network, trainable)
    assert first is not None
    expected = {"before": [head], "first": [network.classifier[1], linear, head]}
    assert list(rest) == expected[where]


def test_scale_puts_colours_first() -> None:
    pixels = photographs(2)
    images = scale(pixels)
    assert (images.shape, images.dtype) == ((2, 3, 48, 48), torch.float32)
    assert images[1, 2, 5, 7] == pixels[1, 5, 7, 2] / 255
    assert 0 <= images.min() < images.max() <= 1


def test_normalize_is_per_channel(config: ModelConfig) -> None:
    normalize = Normalize(replace(config, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)))
    out = normalize(torch.full((2, 3, 4, 4), 0.5))
    expected = torch.tensor([0.4, 0.15, 0.05]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    torch.testing.assert_close(out, expected)
