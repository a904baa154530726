"""Stage `finetune`: adapt the base model to `finetune.species`.

`finetune.mode` is `replace`, a model of the new species alone, or `extend`, one of old and new
species together, trained on the images of both so that it does not forget. `finetune.train` says
what learns: `head` (the last layer), `classifier` or `all`; the rest is frozen, parameters and
batch-norm statistics alike. Reads `models/base`, `data/cache` and `data/split`, writes
`models/finetuned/` and registers `fish-finetuned`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from fishline import experiment
from fishline.dataset import Images
from fishline.devices import seed_everything
from fishline.errors import UserError
from fishline.files import read_json
from fishline.models import Description, freeze, load, replace_head
from fishline.networks import Network
from fishline.params import Params, load_params, training
from fishline.paths import BASE, CACHE, FINETUNED, MODELS, run_record
from fishline.tasks import model_images


def main() -> None:
    params = load_params()
    rng = seed_everything(params.seed)
    parts = model_images(FINETUNED, params)
    network, description = start(params, parts["train"])
    job = experiment.Job(
        stage="finetune",
        model=FINETUNED,
        settings=training(params, params.finetune),
        network=network,
        trainable=freeze(network, params.finetune.train),
        description=description,
        parts=parts,
        rng=rng,
        tags=base_tags(run_record(BASE)),
        origin=hashlib.sha256((MODELS / BASE / "model.safetensors").read_bytes()).hexdigest(),
        views=params.finetune.views,
    )
    experiment.run(job, params)


def start(params: Params, train: Images) -> tuple[Network, Description]:
    """The base model with a head for the species of `train`.

    Raises:
        UserError: there is no base model, or it does not fit `params` and the cache.
    """
    network, base = load(MODELS / BASE)
    _require_fit(base, params, train)
    replace_head(network, len(train.species), keep=params.finetune.mode == "extend")
    description = replace(
        base,
        arguments={**base.arguments, "classes": len(train.species)},
        species=train.species,
        split=params.split.strategy,
    )
    return network, description


def _require_fit(base: Description, params: Params, images: Images) -> None:
    folder = MODELS / BASE
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


def base_tags(record: Path) -> dict[str, str]:
    """The run and the registered version that the base model came from, if its record is there."""
    if not record.is_file():
        return {"base.run_id": "unknown", "base.model_version": "unknown"}
    origin = read_json(record)
    return {
        "base.run_id": origin["run_id"],
        "base.model_version": f"{origin['name']}/{origin['version']}",
    }
