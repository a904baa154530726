"""Which species, and so which images, a model is trained and tested on."""

from __future__ import annotations

from fishline.dataset import Images, load_images
from fishline.params import Params
from fishline.paths import BASE, CACHE, FINETUNED, SPLIT


def tasks(model: str, params: Params) -> tuple[str, ...]:
    """The tasks of `models/<model>`, as the tables in `data/split` and params.yaml name them."""
    if model == FINETUNED and params.finetune.mode == "extend":
        return ("base", "finetune")
    return {BASE: ("base",), FINETUNED: ("finetune",)}[model]


def model_images(model: str, params: Params) -> dict[str, Images]:
    """The images of a model by part, its species in the order of its logits: base first."""
    chosen = tasks(model, params)
    species = [name for task in chosen for name in getattr(params, task).species]
    return load_images(CACHE, [SPLIT / f"{task}.csv" for task in chosen], species)
