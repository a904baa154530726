"""From a trained network to one for other species: a new head, and what of it learns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

import torch
from torch import nn

from fishline.core.errors import UserError
from fishline.core.params import Params
from fishline.core.paths import CACHE, MODELS
from fishline.core.roles import BASE
from fishline.core.training_params import Trainable
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, load
from fishline.models.networks import Network
from fishline.models.taxonomy import with_taxonomy


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


def freeze(network: Network, train: Trainable, frozen_blocks: int = 0) -> nn.Module:
    """Freeze all of `network` but what `learning` names; the part that holds it.

    Parameters alone: a frozen batch norm in training mode would still move its running
    statistics, so the trainer keeps what is frozen in eval mode (`training_mode`).
    """
    learns = learning(network, train, frozen_blocks)
    network.requires_grad_(False)
    for parameter in learns:
        parameter.requires_grad_(True)
    return trainable_part(network, train)


def learning(network: Network, train: Trainable, frozen_blocks: int = 0) -> list[nn.Parameter]:
    """The parameters that learn.

    Args:
        frozen_blocks: with `all`, so many blocks after the stem, and the stem, do not.

    Raises:
        UserError: the network has no more blocks than that.
    """
    if train == "all":
        network.materialize()
    parameters = list(trainable_part(network, train).parameters())
    if train != "all" or not frozen_blocks:
        return parameters
    stem, *blocks = network.blocks()
    if frozen_blocks >= len(blocks):
        raise UserError(
            f"params.yaml: frozen_blocks is {frozen_blocks}, and the network has {len(blocks)} "
            "blocks, of which one must learn; lower it, or set train to head"
        )
    frozen = {*stem, *chain.from_iterable(blocks[:frozen_blocks])}
    return [parameter for parameter in parameters if parameter not in frozen]


def training_mode(part: nn.Module) -> None:
    """Put `part` into training mode, but for the layers in it whose parameters are frozen."""
    part.train()
    for layer in part.modules():
        own = list(layer.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            layer.training = False  # it alone: what lies within may learn


def trainable_part(network: Network, train: Trainable) -> nn.Module:
    """The part of `network` that `train` names."""
    return {"head": network.classifier[-1], "classifier": network.classifier, "all": network}[train]


def count(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers there are in `parameters`."""
    return sum(parameter.numel() for parameter in parameters)


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
        UserError: there is no base model, it does not fit `params` and the cache, or
            data/taxonomy.csv is wrong.
    """
    network, base = load(MODELS / BASE.folder)
    _require_fit(base, params, train)
    replace_head(network, len(train.species), keep=params.finetune.mode == "extend")
    config = replace(base, species=train.species, split=params.split.strategy)
    return network, with_taxonomy(config, params.confidence_threshold)


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
