"""Networks, what is frozen in them, and the two files that hold one.

A model's folder holds `model.safetensors` (the weights) and `model.json` (`Description`): what
evaluation, fine-tuning and serving must know, written once, so that none can disagree. Beside
them lies `known.safetensors` (known.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fishline.errors import UserError
from fishline.files import read_json, replacing, write_json
from fishline.networks import NETWORKS, Network
from fishline.params import Part


@dataclass(frozen=True)
class Description:
    """What a model is and what it expects.

    network, arguments: the name in `NETWORKS` and what its class is called with
    species:            in the order of the logits
    image_size:         edge of the input in pixels
    mean, std:          per channel (R, G, B) on the scale 0…1; inputs are (x − mean) / std
    split:              the strategy that its training images were chosen by
    temperature:        what logits are divided by to become probabilities, see calibration.py
    """

    network: str
    arguments: dict[str, int]
    species: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split: str
    temperature: float = 1.0


def build(description: Description) -> Network:
    """The network that `description` names, with fresh weights."""
    return NETWORKS[description.network](**description.arguments).to(
        memory_format=torch.channels_last
    )


def replace_head(network: Network, classes: int, keep: bool = False) -> None:
    """Put a fresh last layer for `classes` species in place of the present one.

    Args:
        keep: take the present layer's weights over for the first species, in their order.
    """
    old = network.classifier[-1]
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, classes)
    if keep:
        with torch.no_grad():
            new.weight[: old.out_features] = old.weight
            new.bias[: old.out_features] = old.bias
    network.classifier[-1] = new


def freeze(network: Network, train: Part) -> nn.Module:
    """Freeze all of `network` but the part that `train` names, which is returned.

    Parameters alone: a frozen batch norm in training mode would still move its running
    statistics, so `training.fit` keeps everything outside the returned part in eval mode.
    """
    network.requires_grad_(False)
    return part_of(network, train).requires_grad_(True)


def part_of(network: Network, train: Part) -> nn.Module:
    """The part of `network` that `train` names."""
    parts = {"head": network.classifier[-1], "classifier": network.classifier, "all": network}
    return parts[train]


def count_parameters(module: nn.Module) -> int:
    """How many numbers there are to learn in `module`."""
    return sum(parameter.numel() for parameter in module.parameters())


def divide(network: Network, trainable: nn.Module) -> tuple[nn.Sequential | None, nn.Module]:
    """`network` as its frozen layers, if there are any, and the rest, where `trainable` lies.

    Both share their layers with `network`. A layer is frozen if nothing in it learns; a dropout
    that belongs to `trainable` is not.
    """
    layers = [*network.features, *network.classifier]
    learning = set(trainable.modules())

    def changes(layer: nn.Module) -> bool:
        drops = (m for m in layer.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
        return any(p.requires_grad for p in layer.parameters()) or any(m in learning for m in drops)

    first = next(number for number, layer in enumerate(layers) if changes(layer))
    if not any(True for layer in layers[:first] for _ in layer.parameters()):
        return None, network
    return nn.Sequential(*layers[:first]), nn.Sequential(*layers[first:])


def scale(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (b, h, w, 3) to float32 (b, 3, h, w) on the scale 0…1, channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255


class Normalize(nn.Module):
    """(x − mean) / std per channel, for float (b, 3, h, w) on the scale 0…1."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, description: Description) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(description.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(description.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


def save(folder: Path, network: Network, description: Description) -> None:
    """Write `model.safetensors` and `model.json`; the same weights give the same bytes.

    Raises:
        OSError: there is no room.
    """
    weights = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        try:
            save_file(weights, temporary)
        except SafetensorError as error:
            raise OSError(f"{folder} cannot be written: {error}") from None
    write_json(folder / "model.json", asdict(description))


def load(folder: Path) -> tuple[Network, Description]:
    """The network in `folder`, on the CPU, in eval mode.

    Raises:
        UserError: a file is missing or broken, or the weights do not fit the described network.
    """
    network, description = _read_description(folder / "model.json")
    path = folder / "model.safetensors"
    try:
        network.load_state_dict(load_file(path))
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}); `dvc repro` makes it") from None
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the network in model.json: {error}") from None
    return network.eval(), description


def _read_description(path: Path) -> tuple[Network, Description]:
    try:
        raw: dict[str, Any] = read_json(path)
        lists = {key: tuple(raw[key]) for key in ("species", "mean", "std")}
        description = Description(**{**raw, **lists})
        network = build(description)
        Normalize(description)
    except FileNotFoundError:
        raise UserError(f"{path} not found; `dvc repro` makes it") from None
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(f"{path} does not describe a model: {error}") from None
    size, classes = description.image_size, len(description.species)
    if description.arguments != {"classes": classes, "image_size": size}:
        raise UserError(f"{path} contradicts itself: arguments against species and image_size")
    return network, description
