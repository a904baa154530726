"""What of a network learns, and that the rest stays as it is."""

import pytest
import torch
from torch import nn

from fishline.core.errors import UserError
from fishline.models.networks import Network
from fishline.models.timm_networks import make_network
from fishline.models.transfer import count, freeze, learning, training_mode


@pytest.fixture
def network() -> Network:
    made = make_network("efficientnet_lite0", 3, 64)
    made.materialize()
    return made


def test_frozen_blocks_and_the_stem_stay_as_they_are(network: Network) -> None:
    part = freeze(network, "all", frozen_blocks=3)
    training_mode(part)
    before = {name: tensor.clone() for name, tensor in part.state_dict().items()}
    part(torch.rand(4, 3, 64, 64)).sum().backward()
    torch.optim.SGD([p for p in part.parameters() if p.requires_grad], lr=0.1).step()
    after = part.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    body = "features.0.network."
    below = tuple(body + name for name in ("conv_stem", "bn1", *(f"blocks.{n}." for n in range(3))))
    assert not [name for name in changed if name.startswith(below)]
    for learnt in ("blocks.3.0.bn1.running_mean", "blocks.6.0.conv_pw.weight", "bn2.weight"):
        assert body + learnt in changed
    assert "classifier.2.weight" in changed


def test_what_lies_within_a_frozen_layer_may_learn() -> None:
    """As in a vision transformer, whose position embedding belongs to the whole of it."""
    part = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    part.register_parameter("position", nn.Parameter(torch.zeros(2), requires_grad=False))
    training_mode(part)
    assert not part.training
    assert all(layer.training for layer in part)
    part[1].requires_grad_(False)
    training_mode(part)
    assert [layer.training for layer in part] == [True, False]


def test_more_blocks_than_a_network_has_are_refused(network: Network) -> None:
    assert count(learning(network, "all", 6)) < count(learning(network, "all", 5))
    with pytest.raises(UserError, match="frozen_blocks is 7, and the network has 7 blocks"):
        freeze(network, "all", frozen_blocks=7)


@pytest.mark.parametrize("train", ["head", "classifier"])
def test_blocks_matter_only_where_they_would_learn(network: Network, train: str) -> None:
    parameters = learning(network, train, frozen_blocks=99)  # type: ignore[arg-type]
    assert count(parameters) == 1280 * 3 + 3


def test_blocks_of_torchvisions_networks_are_their_layers() -> None:
    stem, *blocks = make_network("mobilenet_v3_small", 3, 64).blocks()
    assert len(blocks) == 12
    assert count(stem) == 3 * 16 * 9 + 2 * 16
