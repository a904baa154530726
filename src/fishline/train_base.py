"""Stage `train-base`: train the network of `model.name` on `base.species`.

Reads `data/cache` and `data/split/base.csv`, writes `models/base/` and registers `fish-base`.
"""

from __future__ import annotations

from fishline import experiment
from fishline.dataset import load_images, mean_and_std
from fishline.models import Description, build, freeze
from fishline.params import load_params, training
from fishline.paths import BASE, CACHE, SPLIT
from fishline.training import seed_everything


def main() -> None:
    params = load_params()
    rng = seed_everything(params.seed)
    parts = load_images(CACHE, SPLIT / "base.csv", params.base.species)
    mean, std = mean_and_std(parts["train"])
    size = parts["train"].size
    description = Description(
        network=params.model.name,
        arguments={"classes": len(params.base.species), "image_size": size},
        species=params.base.species,
        image_size=size,
        mean=mean,
        std=std,
        split=params.split.strategy,
    )
    network = build(description)
    job = experiment.Job(
        stage="train-base",
        model=BASE,
        settings=training(params, params),
        network=network,
        trainable=freeze(network, "all"),
        description=description,
        parts=parts,
        rng=rng,
        tags={},
    )
    experiment.run(job, params)
