"""Stage `train-base`: train the network of `model.name` on `base.species`.

Reads `data/cache` and `data/split/base.csv`, writes `models/base/` and registers `fish-base`.
"""

from __future__ import annotations

from fishline.core.params import Params, load_params, training
from fishline.core.roles import BASE
from fishline.data.dataset import Images, mean_and_std, model_images
from fishline.models.artifact import ModelConfig, build
from fishline.models.devices import seed_everything
from fishline.models.pretrained import initialize, normalization
from fishline.models.transfer import freeze
from fishline.training import run
from fishline.training.session import TrainingJob


def main() -> None:
    params = load_params()
    rng = seed_everything(params.seed)
    subsets = model_images(BASE, params)
    config = _config(params, subsets["train"])
    network = build(config)
    origin = initialize(network, params.model.name, params.model.weights)
    job = TrainingJob(
        stage=BASE.stage,
        model=BASE.folder,
        settings=training(params, params),
        network=network,
        trainable=freeze(network, "all"),
        config=config,
        subsets=subsets,
        rng=rng,
        tags={"model.weights.sha256": origin} if origin else {},
        origin=origin,
    )
    run.run(job, params)


def _config(params: Params, train: Images) -> ModelConfig:
    learnt = normalization(params.model.name, params.model.weights)
    mean, std = learnt or mean_and_std(train)
    return ModelConfig(
        network=params.model.name,
        species=params.base.species,
        image_size=train.size,
        mean=mean,
        std=std,
        split=params.split.strategy,
    )
