"""Weights to start from: what loads, and one clear message for what does not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from fishline.core.errors import UserError
from fishline.models.artifact import ModelConfig, build, save
from fishline.models.embedding import digest
from fishline.models.networks import BACKBONES, NETWORKS, Network
from fishline.models.pretrained import MEAN, STD, load_weights, normalization, read_weights

State = dict[str, torch.Tensor]


def fresh(name: str, classes: int = 4, size: int = 48, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return NETWORKS[name](classes=classes, image_size=size)


def copied(network: torch.nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def torchvisions(name: str, classes: int = 1000) -> State:
    from torchvision.models import get_model

    torch.manual_seed(9)
    state: State = get_model(name, weights=None, num_classes=classes).state_dict()
    return state


def moved(before: State, after: State) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def names(network: Network) -> tuple[set[str], set[str]]:
    """The names of what is trained in the body and in the head; fresh counts are all 0."""
    head = f"classifier.{len(network.classifier) - 1}."
    own = {name for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    return {n for n in own if not n.startswith(head)}, {n for n in own if n.startswith(head)}


def initialize(network: Network, name: str, weights: str) -> str:
    """Give `network` the weights; their digest."""
    state = read_weights(name, weights, 48)
    load_weights(network, state, name, weights)
    return digest(state)


@pytest.mark.parametrize("weights", ["default", "elsewhere.pth"])
@pytest.mark.parametrize("name", [*BACKBONES, "efficientnet_lite0", "resnet18.tv_in1k"])
def test_weights_bring_their_normalisation(name: str, weights: str) -> None:
    half = (0.5, 0.5, 0.5)
    expected = (half, half) if name == "efficientnet_lite0" else (MEAN, STD)
    assert normalization(name, weights) == expected


def test_weights_of_a_file_that_says_nothing_of_it() -> None:
    with pytest.raises(UserError, match=r"elsewhere\.pth, and nothing says how its images"):
        normalization("fishline", "elsewhere.pth")


@pytest.mark.parametrize("name", ["fishline", "resnet18"])
def test_weights_that_were_trained_here_keep_their_normalisation(tmp_path: Path, name: str) -> None:
    config = ModelConfig(name, ("a", "b"), 64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "grouped")
    save(tmp_path, build(config), config)
    assert normalization(name, str(tmp_path / "model.safetensors")) == (config.mean, config.std)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_a_file_of_torchvisions_names_loads_all_but_the_head(tmp_path: Path, name: str) -> None:
    state = torchvisions(name)
    torch.save(state, tmp_path / "weights.pth")
    network = fresh(name)
    before = copied(network)
    made = initialize(network, name, str(tmp_path / "weights.pth"))
    assert re.fullmatch("[0-9a-f]{64}", made)
    after = network.state_dict()
    body, head = names(network)
    given = [tensor for key, tensor in state.items()][: len(after) - 2]
    assert all(map(torch.equal, list(after.values())[:-2], given))
    assert not moved(before, after) & head
    assert any(key.endswith("0.weight") for key in moved(before, after) & body)


def test_a_head_of_the_same_size_is_taken_over(tmp_path: Path) -> None:
    state = torchvisions("mobilenet_v3_small", classes=4)
    torch.save(state, tmp_path / "weights.pt")
    network = fresh("mobilenet_v3_small")
    initialize(network, "mobilenet_v3_small", str(tmp_path / "weights.pt"))
    assert all(map(torch.equal, network.state_dict().values(), state.values()))


@pytest.mark.parametrize("name", ["fishline", "notebook", "mobilenet_v3_small"])
@pytest.mark.parametrize("classes", [4, 7])
def test_a_file_of_our_own_names(tmp_path: Path, name: str, classes: int) -> None:
    state = copied(fresh(name, classes, seed=1))
    save_file(state, tmp_path / "model.safetensors")
    network = fresh(name)
    before = copied(network)
    initialize(network, name, str(tmp_path / "model.safetensors"))
    body, head = names(network)
    after = network.state_dict()
    expected = body | head if classes == 4 else body
    assert not moved({key: state[key] for key in expected}, after)
    if classes == 7:
        assert not moved({key: before[key] for key in head}, after)


def test_a_file_without_a_head(tmp_path: Path) -> None:
    network = fresh("fishline")
    body, head = names(network)
    state = {k: v for k, v in copied(fresh("fishline", seed=1)).items() if k in body}
    save_file(state, tmp_path / "body.safetensors")
    before = copied(network)
    initialize(network, "fishline", str(tmp_path / "body.safetensors"))
    assert not moved(state, network.state_dict())
    assert not moved({key: before[key] for key in head}, network.state_dict())


def test_the_digest_is_that_of_the_weights_and_not_of_the_file(tmp_path: Path) -> None:
    found = []
    for seed, suffix in ((1, "safetensors"), (1, "pth"), (2, "pth")):
        path, state = tmp_path / f"{seed}.{suffix}", copied(fresh("fishline", seed=seed))
        save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
        found.append(initialize(fresh("fishline"), "fishline", str(path)))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_weights_of_another_precision(tmp_path: Path, kind: torch.dtype) -> None:
    state = {key: value.to(kind) for key, value in copied(fresh("fishline", seed=1)).items()}
    save_file(state, tmp_path / "model.safetensors")
    network = fresh("fishline")
    assert initialize(network, "fishline", str(tmp_path / "model.safetensors"))
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, state[key].float())


Write = Callable[[Path], Any]
NO_WEIGHTS: dict[str, Write] = {
    "empty.pth": lambda path: path.write_bytes(b""),
    "text.pth": lambda path: path.write_text("seed: 42\n"),
    "noise.pth": lambda path: path.write_bytes(bytes(range(256))),
    "cut.pth": lambda path: (
        torch.save(copied(fresh("fishline")), path),
        path.write_bytes(path.read_bytes()[:5000]),
    ),
    "code.pth": lambda path: torch.save(fresh("fishline"), path),
    "folder.pth": lambda path: path.mkdir(),
    "text.safetensors": lambda path: path.write_text("seed: 42\n"),
    "empty.safetensors": lambda path: path.write_bytes(b""),
    "folder.safetensors": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_a_file_that_holds_no_weights(tmp_path: Path, name: str) -> None:
    NO_WEIGHTS[name](tmp_path / name)
    said = refused("fishline", str(tmp_path / name))
    assert f"model.weights names {tmp_path / name}, which holds no weights" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "content", [[torch.zeros(1)], {"epoch": 3, "state_dict": {}}, torch.zeros(2)], ids=type
)
def test_a_file_that_is_no_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "odd.pth")
    assert "odd.pth, which is no state dict" in refused("fishline", str(tmp_path / "odd.pth"))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none.{suffix}"
    assert f"model.weights names {path}, which is not there" in refused("fishline", str(path))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("fishline", lambda: copied(fresh("notebook"))),
        ("notebook", lambda: copied(fresh("fishline"))),
        ("notebook", lambda: copied(fresh("notebook", size=64))),  # other sizes, the same names
        ("fishline", lambda: torchvisions("mobilenet_v3_small")),
        ("fishline", dict),
        ("mobilenet_v3_small", lambda: copied(fresh("fishline"))),
        ("mobilenet_v3_small", lambda: torchvisions("mobilenet_v3_large")),
        ("mobilenet_v3_small", dict),
    ],
    ids=["notebooks", "fishlines", "size", "torchvisions", "none", "ours", "larger", "nothing"],
)
def test_weights_of_another_network(tmp_path: Path, name: str, make: Callable[[], State]) -> None:
    torch.save(make(), tmp_path / "weights.pth")
    said = refused(name, str(tmp_path / "weights.pth"))
    assert f"weights.pth does not fit model.name {name}: " in said
    assert len(said) < 600


def refused(name: str, weights: str) -> str:
    """What is said against `weights`."""
    with pytest.raises(UserError) as caught:
        initialize(fresh(name), name, weights)
    assert caught.value.message.startswith("params.yaml: model.weights ")
    return caught.value.message


@pytest.mark.parametrize(
    "error", [URLError("no route to host"), TimeoutError("timed out"), RuntimeError("bad hash")]
)
def test_default_without_a_network_is_one_message(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from torchvision.models import WeightsEnum

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    said = refused("mobilenet_v3_small", "default")
    assert "model.weights is default, but https://download.pytorch.org/models/mobilenet" in said
    assert str(error) in said
    assert "name its path in model.weights" in said


def test_default_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import WeightsEnum

    state = torchvisions("mobilenet_v3_small")
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: dict(state))
    network = fresh("mobilenet_v3_small")
    initialize(network, "mobilenet_v3_small", "default")
    pairs = zip(network.state_dict().values(), state.values(), strict=True)
    same = [a.shape == b.shape and torch.equal(a, b) for a, b in pairs]
    assert same == [True] * (len(state) - 2) + [False] * 2
