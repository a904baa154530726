"""Fine-tuning with few photographs of each new species, drawn from those to train with.

As the stage `finetune` does it, on all images of the photographs drawn, and tested on all test
images of the new species. Base species that are learnt beside them (`finetune.mode: extend`) keep
all their images.

Every training takes as many steps as one with all photographs: the images are repeated, augmented
each time, until each species has as many as it has in all. With fewer steps, few photographs would
look worse than they are, for being merely undertrained. Validation is the
stage's.

Draws are nested: the third draw of five photographs holds the third draw of two, so that what a
few photographs more bring is not mixed up with which ones they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fishline.core.params import Params, training
from fishline.data.dataset import Images
from fishline.models.artifact import Normalize
from fishline.models.devices import seed_everything
from fishline.models.transfer import freeze, start
from fishline.training.batches import BATCH, Inputs
from fishline.training.linear_probe import linear_probe
from fishline.training.loop import TrainingProgress, fit
from fishline.training.trainer import Trainer


def count_photographs(table: pd.DataFrame, species: Sequence[str]) -> dict[str, int]:
    """How many photographs `table` (columns species, original) has of each of `species`."""
    counts = table.groupby("species")["original"].nunique()
    return {name: int(counts[name]) for name in species}


def draw_photographs(
    table: pd.DataFrame, species: Sequence[str], size: int, seed: Sequence[int]
) -> list[int]:
    """Positions in `table` of the images of `size` photographs of each of `species`.

    A species that has fewer gives all. The images of other species are all taken.

    Args:
        table: columns species and original, a row per image.
    """
    chosen = ~table["species"].isin(species)
    for number, name in enumerate(species):
        mine = table["species"] == name
        names = sorted(set(table.loc[mine, "original"]))
        order = np.random.default_rng([*seed, number]).permutation(len(names))
        chosen |= mine & table["original"].isin([names[i] for i in order[:size]])
    return [int(position) for position in np.flatnonzero(chosen)]


def repeat(positions: Sequence[int], labels: torch.Tensor, seed: int) -> torch.Tensor:
    """`positions`, repeated until each species stands there as often as among all images.

    An epoch of them then has the steps and the balance of one of all images.

    Args:
        labels: int64 (n,), the species of all images.

    Returns:
        int64 (n,). Images of a species stand there equally often, but for a remainder.
    """
    rng = np.random.default_rng(seed)
    mine, of = np.array(positions), labels.cpu().numpy()
    species, counts = np.unique(of, return_counts=True)
    repeated = [
        np.resize(rng.permutation(mine[of[mine] == label]), count)
        for label, count in zip(species, counts, strict=True)
    ]
    return torch.from_numpy(np.concatenate(repeated))


class Subset:
    """Those of other inputs at `positions` int64 (n,), each as often as it stands there."""

    def __init__(self, inputs: Inputs, positions: torch.Tensor) -> None:
        self._inputs = inputs
        self._positions = positions.to(inputs.labels.device)
        self.labels = inputs.labels[self._positions]
        self.weights = inputs.weights[self._positions]

    def draw(self, count: int, rng: torch.Generator) -> torch.Tensor:
        return self._inputs.draw(count, rng)

    def take(self, positions: torch.Tensor, drawn: torch.Tensor | None = None) -> torch.Tensor:
        return self._inputs.take(self._positions[positions], drawn)


class FineTuner:
    """Fine-tunes the base model again and again; what is frozen runs once, for all of them."""

    def __init__(self, params: Params, subsets: Mapping[str, Images]) -> None:
        rng = seed_everything(params.seed)
        self._params, self._images = params, subsets["train"]
        network, config = start(params, self._images)
        self._trainer = Trainer(
            network,
            freeze(network, params.finetune.train, params.frozen_blocks),
            Normalize(config),
            training(params, params.finetune),
            rng,
            self._images,
            params.views,
        )
        self._all = self._trainer.train
        self._validation = self._trainer.validation(subsets["validation"])
        test = subsets["test"]
        test = test.where(test.table["species"].isin(params.finetune.species))
        self._test, self._tested = self._trainer.validation(test), test.table["species"]
        self._fresh = deepcopy(self._trainer.state_dict())

    def right(self, positions: Sequence[int], seed: int, title: str) -> pd.Series[bool]:
        """Train on the images at `positions`; which of the new species' test images it has right.

        Returns:
            bool (n,), each under the name of its species.
        """
        self._begin(seed, positions)
        repeated = repeat(positions, self._all.labels, seed)
        self._trainer.train = Subset(self._all, repeated)
        fit(self._trainer, self._validation, TrainingProgress(), title)
        return pd.Series(_right(self._trainer, self._test), self._tested)

    def _begin(self, seed: int, positions: Sequence[int]) -> None:
        """Make the trainer as new, with what chance decides drawn anew."""
        trainer = self._trainer
        trainer.load_state_dict(deepcopy(self._fresh))
        trainer.rng = seed_everything(seed)
        network, config = start(self._params, self._images)
        drawn = self._images.at(torch.tensor(positions))
        linear_probe(network, config, drawn, self._params, self._params.finetune.train)
        trainer.restore(network.state_dict())


@torch.no_grad()
def _right(trainer: Trainer, inputs: Inputs) -> npt.NDArray[np.bool_]:
    """Of each image (n,), whether its species is told."""
    predicted = [
        trainer.tail(inputs.take(positions)).argmax(1)
        for positions in torch.split(torch.arange(len(inputs.labels), device=trainer.device), BATCH)
    ]
    return (torch.cat(predicted) == inputs.labels).cpu().numpy()
