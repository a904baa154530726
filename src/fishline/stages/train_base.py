"""Stage `train-base`: train the network of `model.name` on `base.species`.

Reads `data/cache`, `data/features`, `data/split/base.csv` and `data/taxonomy.csv`, writes
`models/base/` and registers `fish-base`.
"""

from __future__ import annotations

from safetensors.torch import load_file

from fishline.core.files import require
from fishline.core.params import Params, load_params, training
from fishline.core.paths import FEATURES
from fishline.core.roles import BASE
from fishline.core.training_params import Model
from fishline.data.dataset import Images, mean_and_std, model_images
from fishline.data.features import WEIGHTS
from fishline.models.artifact import ModelConfig, build
from fishline.models.devices import seed_everything
from fishline.models.embedding import digest
from fishline.models.networks import Network
from fishline.models.pretrained import load_weights, normalization
from fishline.models.taxonomy import with_taxonomy
from fishline.models.transfer import freeze
from fishline.training import run
from fishline.training.linear_probe import linear_probe
from fishline.training.session import TrainingJob


def main() -> None:
    params = load_params()
    rng = seed_everything(params.seed)
    subsets = model_images(BASE, params)
    config = _config(params, subsets["train"])
    network = build(config)
    origin = _initialize(network, params.model) if params.model.is_pretrained else ""
    trainable = freeze(network, params.base.train, params.frozen_blocks)
    linear_probe(network, config, subsets["train"], params, params.base.train)
    job = TrainingJob(
        stage=BASE.stage,
        model=BASE.folder,
        settings=training(params, params),
        network=network,
        trainable=trainable,
        config=config,
        subsets=subsets,
        rng=rng,
        tags={"model.weights.sha256": origin} if origin else {},
        origin=origin,
        views=params.views,
    )
    run.run(job, params)


def _initialize(network: Network, model: Model) -> str:
    """Give `network` the weights that `embed` has read; their digest."""
    state = load_file(require(FEATURES / WEIGHTS, "embed"))
    load_weights(network, state, model.name, model.weights)
    return digest(state)


def _config(params: Params, train: Images) -> ModelConfig:
    if params.model.is_pretrained:
        mean, std = normalization(params.model.name, params.model.weights)
    else:
        mean, std = mean_and_std(train)
    config = ModelConfig(
        network=params.model.name,
        species=params.base.species,
        image_size=train.size,
        mean=mean,
        std=std,
        split=params.split.strategy,
    )
    return with_taxonomy(config, params.confidence_threshold)
