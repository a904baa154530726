"""Stage `train-base`: train the network of `model.name` on `base.species`.

Reads `data/cache` and `data/split/base.csv`, writes `models/base/` and registers `fish-base`.
"""

from __future__ import annotations

from fishline import experiment
from fishline.dataset import Images, mean_and_std
from fishline.devices import seed_everything
from fishline.models import Description, build, freeze
from fishline.params import Params, load_params, training
from fishline.paths import BASE
from fishline.pretrained import MEAN, STD, initialize, is_torchvisions
from fishline.tasks import model_images


def main() -> None:
    params = load_params()
    rng = seed_everything(params.seed)
    parts = model_images(BASE, params)
    description = _describe(params, parts["train"])
    network = build(description)
    origin = initialize(network, params.model.name, params.model.weights)
    job = experiment.Job(
        stage="train-base",
        model=BASE,
        settings=training(params, params),
        network=network,
        trainable=freeze(network, "all"),
        description=description,
        parts=parts,
        rng=rng,
        tags={"model.weights.sha256": origin} if origin else {},
        origin=origin,
    )
    experiment.run(job, params)


def _describe(params: Params, train: Images) -> Description:
    # Weights learnt elsewhere expect the normalisation that they were learnt with.
    given = is_torchvisions(params.model.name) and params.model.weights != "none"
    mean, std = (MEAN, STD) if given else mean_and_std(train)
    return Description(
        network=params.model.name,
        arguments={"classes": len(params.base.species), "image_size": train.size},
        species=params.base.species,
        image_size=train.size,
        mean=mean,
        std=std,
        split=params.split.strategy,
    )
