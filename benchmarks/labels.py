"""How many wrong labels `fishline labels` finds, and what it is worth to put them right.

    python benchmarks/labels.py FOLDER [--draws 3] [--share 0.05]

FOLDER is a project whose stage `embed` has run, and whose labels count as right. In each draw its
photographs are split anew, by photograph, and a share of the training photographs is given a wrong
species, with all copies: any other one, or the one that the photograph resembles most. Then the
training photographs are ranked by each of cleanlab's scores of what a classifier says of them out
of sample, and by the loss of a last layer that was trained on them, as `train-base` trains it. Of
each ranking the first photographs are looked at, as many as are wrong: the table has the share of
these that are wrong, which is also the share of the wrong ones that are found. `estimated` is how
many cleanlab takes to be wrong. Last, the accuracy on the test images of such a last layer: trained
with the right labels, with the wrong ones, and with those put right that a ranking has among its
first. Mean, lowest and highest of the draws.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cleanlab.rank import get_label_quality_scores
from report import print_table
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from fishline.core.files import read_csv
from fishline.core.params import Params, load_params, training
from fishline.core.paths import CACHE, FEATURES
from fishline.data.cache import Cache
from fishline.data.dataset import Images, Packed
from fishline.data.explore.label_errors import count_wrong
from fishline.data.explore.out_of_sample import Floats, Numbers, mean_features, out_of_sample
from fishline.data.features import WEIGHTS, Features
from fishline.data.prepare.splitting import split
from fishline.models.artifact import ModelConfig, Normalize, build
from fishline.models.devices import seed_everything
from fishline.models.pretrained import load_weights, normalization
from fishline.models.transfer import freeze
from fishline.training.loop import TrainingProgress, fit
from fishline.training.trainer import Trainer

SCORES = {
    "self_confidence": ("self_confidence", False),
    "self_confidence, adjusted": ("self_confidence", True),
    "normalized_margin": ("normalized_margin", False),
    "normalized_margin, adjusted": ("normalized_margin", True),
    "confidence_weighted_entropy": ("confidence_weighted_entropy", False),
}
LOSS, OURS = "loss in training", "self_confidence"


class Head:
    """The last layer for all species, trained as `train-base` trains the base model's."""

    def __init__(self, params: Params, train: Images, validation: Images) -> None:
        rng = seed_everything(params.seed)
        model = params.model
        mean, std = normalization(model.name, model.weights)
        config = ModelConfig(model.name, params.species, train.size, mean, std, split="grouped")
        network = build(config)
        load_weights(network, load_file(FEATURES / WEIGHTS), model.name, model.weights)
        settings = training(params, params)
        head = freeze(network, "head")
        self._trainer = Trainer(network, head, Normalize(config), settings, rng, train)
        fit(self._trainer, self._trainer.validation(validation), TrainingProgress(), "head")

    @torch.no_grad()
    def losses(self, images: Images) -> Floats:
        """Cross-entropy of each image: (n,)."""
        return cross_entropy(self._logits(images), images.labels, reduction="none").numpy()

    @torch.no_grad()
    def accuracy(self, images: Images) -> float:
        return float((self._logits(images).argmax(1) == images.labels).float().mean())

    def _logits(self, images: Images) -> torch.Tensor:
        inputs = self._trainer.validation(images)
        logits: torch.Tensor = self._trainer.tail(inputs.take(torch.arange(len(images))))
        return logits.float()


class Part:
    """A part of the split: its images, and the features and labels of its photographs."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.number, names = pd.factorize(images.table["original"])
        assert images.features is not None
        self.features = mean_features(images.rows.numpy(), self.number, images.features.plain)
        self.labels = np.zeros(len(names), np.int64)
        self.labels[self.number] = images.labels.numpy()

    def labelled(self, labels: Numbers) -> Images:
        """The images, if their photographs' labels are `labels` (photographs,)."""
        labels_of = torch.from_numpy(labels[self.number])
        return Images(**{**vars(self.images), "labels": labels_of})

    def mean(self, values: Floats) -> Floats:
        """Of `values` (images,) the mean for each photograph."""
        return np.bincount(self.number, values) / np.bincount(self.number)


def load(params: Params, seed: int) -> dict[str, Part]:
    """The parts of a split of all species."""
    cache = Cache(CACHE)
    features = Features.open(FEATURES, cache)
    assert features is not None, "the network of model.name comes without weights"
    images = read_csv(CACHE / "manifest.csv")
    table = split(images, params.split.model_copy(update={"strategy": "grouped", "seed": seed}))
    label = {name: number for number, name in enumerate(params.species)}
    return {
        str(part): Part(
            Images(
                Packed(cache),
                torch.tensor(rows["index"].to_numpy(np.int64)),
                torch.tensor(rows["species"].map(label).to_numpy(np.int64)),
                params.species,
                rows.reset_index(drop=True),
                features,
            )
        )
        for part, rows in table.groupby("part")
    }


def plant(train: Part, count: int, alike: bool, seed: int) -> Numbers:
    """The labels of `train`, of which `count` are wrong: (photographs,)."""
    rng = np.random.default_rng(seed)
    labels, classes = train.labels.copy(), len(train.images.species)
    wrong = rng.choice(len(labels), count, replace=False)
    if alike:
        said = out_of_sample(train.features, labels)
        said[np.arange(len(labels)), labels] = -1
        labels[wrong] = said[wrong].argmax(1)
    else:
        labels[wrong] = (labels[wrong] + rng.integers(1, classes, count)) % classes
    return labels


def rankings(train: Part, labels: Numbers, head: Head) -> Iterator[tuple[str, Numbers]]:
    """The photographs of `train`, the likeliest wrong first, by each score."""
    said = out_of_sample(train.features, labels)
    for name, (method, adjust) in SCORES.items():
        quality = get_label_quality_scores(labels, said, method=method, adjust_pred_probs=adjust)
        yield name, np.argsort(quality, kind="stable")
    losses = train.mean(head.losses(train.labelled(labels)))
    yield LOSS, np.argsort(-losses, kind="stable")


def draw(params: Params, share: float, alike: bool, seed: int) -> dict[str, float]:
    """What is found among the first, by ranking, and accuracies."""
    parts = load(params, seed)
    train, validation, test = parts["train"], parts["validation"].images, parts["test"].images
    count = max(1, round(share * len(train.labels)))
    labels = plant(train, count, alike, seed)
    wrong = labels != train.labels
    spoilt = Head(params, train.labelled(labels), validation)
    found = {
        "accuracy: right labels": Head(params, train.images, validation).accuracy(test),
        "accuracy: wrong labels": spoilt.accuracy(test),
    }
    for name, order in rankings(train, labels, spoilt):
        first = order[:count]
        found[f"found: {name}"] = float(wrong[first].mean())
        if name in (LOSS, OURS):
            mended = labels.copy()
            mended[first] = train.labels[first]
            head = Head(params, train.labelled(mended), validation)
            found[f"accuracy: put right by {name}"] = head.accuracy(test)
    estimate = count_wrong(labels, out_of_sample(train.features, labels))
    numbers = {"photographs": len(labels), "wrong": count, "estimated": estimate}
    return numbers | dict(sorted(found.items(), key=lambda item: item[0].startswith("accuracy")))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--draws", type=int, default=3)
    options.add_argument("--share", type=float, default=0.05)
    chosen = options.parse_args()
    os.chdir(chosen.folder)
    params = load_params()
    seeds = range(params.split.seed, params.split.seed + chosen.draws)
    columns = {
        what: pd.DataFrame([draw(params, chosen.share, alike, seed) for seed in seeds])
        for what, alike in {"any other species": False, "the most alike": True}.items()
    }
    rows = [["training photographs with a wrong label", *columns]]
    for name in map(str, next(iter(columns.values()))):
        values = [table[name] for table in columns.values()]
        form = "{:.3f} ({:.3f}–{:.3f})" if ":" in name else "{:.0f} ({:.0f}–{:.0f})"
        rows.append([name, *(form.format(v.mean(), v.min(), v.max()) for v in values)])
    print_table(rows)


if __name__ == "__main__":
    main()
