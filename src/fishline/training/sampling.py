"""Which images an epoch has, in which order, and what each of them counts."""

from __future__ import annotations

import math

import numpy as np
import torch

from fishline.core.training_params import Balance, SampleWeight
from fishline.data.dataset import Images


def epoch_order(labels: torch.Tensor, balance: Balance, rng: torch.Generator) -> torch.Tensor:
    """Positions to train on in one epoch, shuffled.

    `oversample` draws every species as often as the most frequent one: all its images equally
    often, the remainder at random. `undersample` draws as many as the rarest has, anew in each
    epoch. `none` and `class_weights` take each image once.
    """
    if balance in ("none", "class_weights"):
        return torch.randperm(len(labels), generator=rng)
    counts = labels.bincount()
    target = int(counts.max() if balance == "oversample" else counts[counts > 0].min())
    drawn = []
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        rounds = math.ceil(target / len(members))
        shuffled = [members[torch.randperm(len(members), generator=rng)] for _ in range(rounds)]
        drawn.append(torch.cat(shuffled)[:target])
    order = torch.cat(drawn)
    return order[torch.randperm(len(order), generator=rng)]


def epoch_length(labels: torch.Tensor, balance: Balance) -> int:
    """How many positions `epoch_order` gives."""
    counts = labels.bincount()
    counts = counts[counts > 0]
    drawn = {"oversample": int(counts.max()), "undersample": int(counts.min())}
    return len(counts) * drawn[balance] if balance in drawn else len(labels)


def sample_weights(images: Images, alike: SampleWeight) -> torch.Tensor:
    """float32 (n,), 1 on average: what each image counts in the loss.

    With `photographs`, all images of one photograph together count as those of any other: twenty
    turned copies do not outvote a photograph that has none.
    """
    if alike == "files":
        return torch.ones(len(images))
    copies = images.table.groupby("original")["file"].transform("size").to_numpy()
    return torch.tensor(len(copies) / (1 / copies).sum() / copies, dtype=torch.float32)


def class_weights(images: Images) -> torch.Tensor:
    """float32 (classes,): inverse to a class's frequency, 1 if all are equally frequent."""
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.arange(len(images.species))
    weights = compute_class_weight("balanced", classes=classes, y=images.labels.numpy())
    return torch.tensor(weights, dtype=torch.float32)
