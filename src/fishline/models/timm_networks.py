"""The networks of timm (https://huggingface.co/docs/timm): any that `model.name` calls by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional

from fishline.core.errors import UserError
from fishline.models.networks import NETWORKS, Network

DEFAULT = "efficientnet_lite0"


def is_timm(name: str) -> bool:
    """Whether `model.name` is one of timm's networks."""
    return name not in NETWORKS


def timm_name(name: str) -> str:
    """What timm calls the network that `model.name` calls `name`."""
    return f"tf_{name}" if name == DEFAULT else name


def make_network(name: str, classes: int, image_size: int) -> Network:
    """The network that `model.name` calls `name`, with fresh weights.

    Raises:
        UserError: there is none of that name.
    """
    return Timm(name, classes) if is_timm(name) else NETWORKS[name](classes, image_size)


class TimmBody(nn.Module):
    """A network of timm without its last layer: float (b, 3, size, size) to its feature maps.

    It is built when it is first run or trained, and only holds its tensors until then: to import
    timm takes seconds, and a head that learns from kept features needs none of it.
    """

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.architecture = architecture
        self.network: Any = None
        self._tensors: dict[str, torch.Tensor] = {}

    def build(self) -> Any:
        """The network, with the tensors held so far.

        Raises:
            RuntimeError: they do not fit it.
        """
        if self.network is None:
            with torch.inference_mode(False):  # tensors made in it could never learn
                network = create_timm(self.architecture).to(memory_format=torch.channels_last)
                if self._tensors:
                    network.load_state_dict(self._tensors)
                    network.to(next(iter(self._tensors.values())).device)
            self.network, self._tensors = network.eval().requires_grad_(False), {}
        return self.network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.build().forward_features(images)
        return maps

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> TimmBody:
        self._tensors = {name: fn(tensor) for name, tensor in self._tensors.items()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination.update({f"{prefix}network.{name}": t for name, t in self._tensors.items()})

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        if self.network is None:
            start = f"{prefix}network."
            own = [name for name in state_dict if name.startswith(start)]
            self._tensors = {name.removeprefix(start): state_dict[name] for name in own}
            return
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class TimmPool(nn.Module):
    """Feature maps of a body, pooled as its network does it: float (b, d)."""

    def __init__(self, body: TimmBody) -> None:
        super().__init__()
        self._body = (body,)  # not a child: its tensors belong to the features

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self._body[0].build().forward_head(maps, pre_logits=True)
        return pooled


class SameLength(nn.Module):
    """float (b, d) to (b, d), each row of length √d: directions alone tell species apart.

    That is RMSNorm without weights (https://arxiv.org/abs/1910.07467), which ONNX's exporter lacks.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = functional.normalize(values) * values.shape[1] ** 0.5
        return scaled


class Timm(Network):
    """A network of timm; its last layer is given the same length for every image."""

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        body, width = TimmBody(timm_name(name)), _width(name)
        self.features = nn.Sequential(body)
        self.classifier = nn.Sequential(TimmPool(body), SameLength(), nn.Linear(width, classes))

    def materialize(self) -> None:
        for body in self.features:
            assert isinstance(body, TimmBody)
            body.build()

    def blocks(self) -> list[list[nn.Parameter]]:
        from timm.models import group_parameters

        body = self.features[0]
        assert isinstance(body, TimmBody)
        network = body.build()
        groups = group_parameters(network, network.group_matcher(coarse=True))
        return [
            [network.get_parameter(name) for name in groups[number]] for number in sorted(groups)
        ]


def create_timm(architecture: str) -> Any:
    """timm's network of that name without its last layer, with fresh weights.

    Raises:
        UserError: timm has none of that name.
    """
    import timm

    _require_known(architecture)
    with torch.random.fork_rng(devices=[]):  # its fresh weights are replaced, or nobody's concern
        return timm.create_model(architecture, num_classes=0)


@contextmanager
def constant_padding() -> Iterator[None]:
    """While this lasts, a trace has "same" padding as numbers, not as computed of images' sizes.

    ONNX Runtime then makes one operation of padding, convolution and activation: efficientnet_lite0
    takes a quarter less time.
    """
    from timm.layers import padding

    computed = padding.get_same_padding

    def constant(size: Any, *rest: int) -> Any:
        return computed(int(size), *rest)

    with patch.object(padding, "get_same_padding", constant):
        yield


def published(name: str) -> Any:
    """What timm says of the weights of the network that `model.name` calls `name`: input size and
    normalisation, as `timm.models.PretrainedCfg`.

    Raises:
        UserError: timm has none of that name.
    """
    import timm

    _require_known(timm_name(name))
    return timm.get_pretrained_cfg(timm_name(name))


def _require_known(architecture: str) -> None:
    import timm  # takes seconds

    if not timm.is_model(architecture):
        near = ", ".join(get_close_matches(architecture, timm.list_models(), 3))
        raise UserError(
            f"params.yaml: model.name is {architecture}, which timm {timm.__version__} does not "
            "have either" + (f"; it has {near}" if near else "")
        )


def _width(name: str) -> int:
    """How many numbers the last layer is given."""
    if name == DEFAULT:
        return 1280  # timm need not be imported for it
    network = create_timm(name)
    return int(getattr(network, "head_hidden_size", network.num_features))
