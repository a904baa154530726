"""Stage `finetune`: adapt the base model to `finetune.species`.

`finetune.mode` is `replace`, a model of the new species alone, or `extend`, one of old and new
species together, trained on the images of both so that it does not forget. `finetune.train` says
what learns: `head` (the last layer), `classifier` or `all`; the rest is frozen, parameters and
batch-norm statistics alike. Reads `models/base`, `data/cache`, `data/split` and
`data/taxonomy.csv`, writes `models/finetuned/` and registers `fish-finetuned`. Without new species
it trains nothing.
"""

from __future__ import annotations

import hashlib

from fishline.core.params import load_params, training
from fishline.core.paths import MODELS, run_record
from fishline.core.roles import BASE, FINETUNED, NO_FINETUNED, active
from fishline.data.dataset import model_images
from fishline.models.devices import seed_everything
from fishline.models.transfer import freeze, start
from fishline.tracking.provenance import base_tags
from fishline.training import run
from fishline.training.linear_probe import linear_probe
from fishline.training.session import TrainingJob


def main() -> None:
    params = load_params()
    if FINETUNED not in active(params):
        run.skip(FINETUNED, NO_FINETUNED, params.device)
        return
    rng = seed_everything(params.seed)
    subsets = model_images(FINETUNED, params)
    network, config = start(params, subsets["train"])
    weights = MODELS / BASE.folder / "model.safetensors"
    trainable = freeze(network, params.finetune.train, params.frozen_blocks)
    linear_probe(network, config, subsets["train"], params, params.finetune.train)
    job = TrainingJob(
        stage=FINETUNED.stage,
        model=FINETUNED.folder,
        settings=training(params, params.finetune),
        network=network,
        trainable=trainable,
        config=config,
        subsets=subsets,
        rng=rng,
        tags=base_tags(run_record(BASE.folder)),
        origin=hashlib.sha256(weights.read_bytes()).hexdigest(),
        views=params.views,
    )
    run.run(job, params)
