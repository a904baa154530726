"""From a trained network to one for other species: a new head, and what of it learns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from fishline.core.errors import UserError
from fishline.core.params import Params, Trainable
from fishline.core.paths import CACHE, MODELS
from fishline.core.roles import BASE
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, load
from fishline.models.networks import Network


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


def freeze(network: Network, train: Trainable) -> nn.Module:
    """Freeze all of `network` but the part that `train` names, which is returned.

    Parameters alone: a frozen batch norm in training mode would still move its running
    statistics, so `loop.fit` keeps everything outside the returned part in eval mode.
    """
    if train == "all":
        network.materialize()
    network.requires_grad_(False)
    return trainable_part(network, train).requires_grad_(True)


def trainable_part(network: Network, train: Trainable) -> nn.Module:
    """The part of `network` that `train` names."""
    return {"head": network.classifier[-1], "classifier": network.classifier, "all": network}[train]


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
    if not any(layer.state_dict() for layer in layers[:first]):
        return None, network
    return nn.Sequential(*layers[:first]), nn.Sequential(*layers[first:])


def start(params: Params, train: Images) -> tuple[Network, ModelConfig]:
    """The base model with a head for the species of `train`.

    Raises:
        UserError: there is no base model, or it does not fit `params` and the cache.
    """
    network, base = load(MODELS / BASE.folder)
    _require_fit(base, params, train)
    replace_head(network, len(train.species), keep=params.finetune.mode == "extend")
    config = replace(
        base,
        species=train.species,
        split=params.split.strategy,
    )
    return network, config


def _require_fit(base: ModelConfig, params: Params, images: Images) -> None:
    folder = MODELS / BASE.folder
    if base.image_size != images.size:
        raise UserError(
            f"{folder} was trained on images of {base.image_size} pixels, but {CACHE} holds "
            f"{images.size}: set image_size to {base.image_size}, or train the base model again"
        )
    if params.finetune.mode == "extend" and base.species != params.base.species:
        raise UserError(
            f"{folder} knows {', '.join(base.species)}, but base.species in params.yaml lists "
            f"{', '.join(params.base.species)}; `dvc repro` trains it anew"
        )
