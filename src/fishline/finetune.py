"""Stage `finetune`: adapt the base model to `finetune.species`.

The head is replaced; `finetune.train` says what learns: `head` (the last layer), `classifier`
(all fully connected layers) or `all`. The rest is frozen, parameters and batch-norm statistics
alike. Reads `models/base`, `data/cache` and `data/split/finetune.csv`, writes `models/finetuned/`
and registers `fish-finetuned`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fishline import experiment
from fishline.dataset import Images, load_images
from fishline.errors import UserError
from fishline.files import read_json
from fishline.models import Description, freeze, load, replace_head
from fishline.params import load_params, training
from fishline.paths import BASE, CACHE, FINETUNED, MODELS, SPLIT, run_record
from fishline.training import seed_everything


def main() -> None:
    params = load_params()
    rng = seed_everything(params.seed)
    parts = load_images(CACHE, SPLIT / "finetune.csv", params.finetune.species)
    network, base = load(MODELS / BASE)
    _require_fit(base, parts["train"], MODELS / BASE)
    classes = len(params.finetune.species)
    replace_head(network, classes)
    description = replace(
        base,
        arguments={**base.arguments, "classes": classes},
        species=params.finetune.species,
        split=params.split.strategy,
    )
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
    )
    experiment.run(job, params)


def _require_fit(base: Description, images: Images, folder: Path) -> None:
    if base.image_size != images.size:
        raise UserError(
            f"{folder} was trained on images of {base.image_size} pixels, but {CACHE} holds "
            f"{images.size}: set image_size to {base.image_size}, or train the base model again"
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
