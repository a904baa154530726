"""What a model is and expects, and the two files that hold one.

A model's folder holds `model.safetensors` (the weights) and `model.json` (`ModelConfig`): what
evaluation, fine-tuning and serving must know, written once, so that none can disagree. Beside
them lies `known.safetensors` (novelty.py); trained_model.py reads all three.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fishline.core.errors import UserError
from fishline.core.files import read_json, replacing, write_json
from fishline.models.networks import Network
from fishline.models.timm_networks import make_network

LISTS = ("species", "mean", "std", "genera", "families")  # of ModelConfig: JSON has no tuples


@dataclass(frozen=True)
class ModelConfig:
    """What a model is and what it expects.

    network:     `model.name` of params.yaml
    species:     in the order of the logits
    image_size:  edge of the input in pixels
    mean, std:   per channel (R, G, B) on the scale 0…1; inputs are (x − mean) / std
    split:       the strategy that its training images were chosen by
    temperature: what logits are divided by to become probabilities, see calibration.py
    genera, families: of each species, "" where there is none, see taxonomy.py
    confidence_threshold: the probability that an answer must have
    """

    network: str
    species: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split: str
    temperature: float = 1.0
    genera: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    confidence_threshold: float = 0.0


def build(config: ModelConfig) -> Network:
    """The network that `config` names, with fresh weights."""
    network = make_network(config.network, len(config.species), config.image_size)
    return network.to(memory_format=torch.channels_last)


def scale(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (b, h, w, 3) to float32 (b, 3, h, w) on the scale 0…1, channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255


class Normalize(nn.Module):
    """(x − mean) / std per channel, for float (b, 3, h, w) on the scale 0…1."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


def save(folder: Path, network: Network, config: ModelConfig) -> None:
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
    write_json(folder / "model.json", asdict(config))


def load(folder: Path) -> tuple[Network, ModelConfig]:
    """The network in `folder`, on the CPU, in eval mode.

    Raises:
        UserError: a file is missing or broken, or the weights do not fit the described network.
    """
    config = read_config(folder / "model.json")
    path = folder / "model.safetensors"
    try:
        network = build(config)  # once: it draws from the generator that a fresh head comes from
    except (UserError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(f"{folder / 'model.json'} does not describe a model: {error}") from None
    try:
        network.load_state_dict(load_file(path))
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}); `dvc repro` makes it") from None
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the network in model.json: {error}") from None
    return network.eval(), config


def read_config(path: Path) -> ModelConfig:
    """The config in `path`.

    Raises:
        UserError: the file is missing, or describes no model.
    """
    try:
        raw: dict[str, Any] = read_json(path)
        raw.pop("arguments", None)  # models of version 0.1 repeat species and image size there
        lists = {key: tuple(raw[key]) for key in LISTS if key in raw}
        config = ModelConfig(**{**raw, **lists})
        Normalize(config)
    except FileNotFoundError:
        raise UserError(f"{path} not found; `dvc repro` makes it") from None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path} does not describe a model: {error}") from None
    return config
