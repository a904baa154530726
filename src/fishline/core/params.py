"""`params.yaml`: every key with its type, its range and what it means.

The only reader of the file; training_params.py has the keys of a training. Every key must be there
(DVC needs them too) and none may be unknown; an integer will do for a float, nothing else is
converted. Read as YAML 1.2: `dvc exp run -S lr=1e-5` writes `1e-05`, which YAML 1.1 readers take
for a string.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fishline.core.training_params import (
    DECAY,
    HEAD_DECAY,
    Base,
    Finetune,
    Method,
    Model,
    Name,
    PathText,
    Recipe,
    Section,
    Seed,
    Text,
    Trainable,
    Training,
)
from fishline.core.validation import validate
from fishline.core.yaml_files import read_yaml

PATH = Path("params.yaml")

Strategy = Literal["grouped", "stratified", "random", "given"]
Share = Annotated[float, Field(gt=0, lt=1)]
Margin = Annotated[float, Field(ge=0, le=1)]
# Not strict: YAML has lists alone.
Columns = Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]


class Sample(Section):
    """The built-in, drawn data set."""

    seed: Seed = Field(description="of the drawing")
    originals: int = Field(
        ge=3, le=10_000, description="drawn pictures per species; one for each part at least"
    )
    copies: int = Field(ge=1, le=100, description="turned and mirrored copies of each picture")


class Data(Section):
    """The photographs."""

    dir: PathText = Field(description="one folder per species; `data/raw` for your own photographs")
    conflicts: Literal["fail", "drop"] = Field(
        description="a photograph that lies under two species: stop, or drop all files of it"
    )
    personal: Literal["drop", "keep"] = Field(
        description="whether the manifest has position and owner's name, from EXIF"
    )


class Split(Section):
    """What is trained, validated and tested on. The three shares add up to 1."""

    strategy: Strategy = Field(
        description="grouped: whole photographs (honest); stratified, random: single images; "
        "given: as folders named train, validation and test have it, or a column `part`"
    )
    by: Columns = Field(
        description="grouped: what the parts must not share: photograph, burst, day, camera, any "
        "column of photographs.csv"
    )
    burst_seconds: float = Field(
        ge=0,
        le=86_400,
        description="longest pause within a burst, that is photographs by one camera in a row",
    )
    given_leaks: Literal["fail", "report", "drop"] = Field(
        description="copies across a given split: stop; count them; or leave those out of training "
        "and validation that stand in test"
    )
    seed: Seed = Field(description="of the lot that divides the photographs")
    train: Share = Field(description="share to learn from")
    validation: Share = Field(description="share to choose the best epoch and calibrate by")
    test: Share = Field(description="share to test on; seen by `evaluate` alone")


class Gate(Section):
    """What `fishline promote` asks of a model before it becomes the champion."""

    accuracy_margin: Margin = Field(
        description="accuracy may fall by so much against the champion, on the same photographs"
    )
    recall_margin: Margin = Field(description="and the recall of any one species by so much")
    in_use_margin: Margin = Field(
        description="accuracy on photographs that came from where a model is used and were "
        "reviewed, as far as the test set has them: surely by no more than so much"
    )
    leak_audit: bool = Field(
        description="no test image has a copy in training, and the split is grouped or given"
    )
    clean_tree: bool = Field(
        description="code as committed; in an experiment parameters may differ, DVC keeps them"
    )
    reproduces: bool = Field(
        description="it loads, and answers its test images as it did when it was evaluated"
    )


class Params(Recipe, Method):
    """Every knob of the workflow."""

    image_size: int = Field(
        ge=48,
        le=1024,
        description="edge in pixels that photographs are resized to; cost grows squared",
    )
    views: int = Field(
        ge=1,
        le=1000,
        description="versions of an image that frozen layers run on: 1, as it is; "
        "more, augmented ones besides, of which training draws",
    )
    sample: Sample
    data: Data
    split: Split
    model: Model
    launch: Text = Field(
        description="what starts a training: python, or torchrun --nproc-per-node 2 for two GPUs",
    )
    system_metrics: bool = Field(description="processor, memory and GPU use in the MLflow run")
    known_recall: float = Field(
        gt=0,
        le=1,
        description="share of the validation images that must not be answered unknown, as a "
        "photograph unlike all species is; 1: none is",
    )
    confidence_threshold: float = Field(
        ge=0,
        lt=1,
        description="probability that an answer must have: the species, else its genus or family "
        "by data/taxonomy.csv, else unknown; 0: always the species",
    )
    gate: Gate
    base: Base
    finetune: Finetune

    @property
    def species(self) -> tuple[str, ...]:
        """All species, base first."""
        return self.base.species + self.finetune.species

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse values that contradict each other, with a sentence that names the keys."""
        split = self.split
        total = split.train + split.validation + split.test
        new = self.finetune.species
        both = sorted(set(self.base.species) & set(new))
        contradictions = {
            f"split.train + split.validation + split.test must be 1, not {total:g}": (
                abs(total - 1) > 1e-6
            ),
            f"{', '.join(both)} stands in base.species and in finetune.species; "
            "a species belongs to one of them": bool(both),
            f"finetune.species lists {', '.join(new)} alone, which leaves nothing to tell it from: "
            "name another, set finetune.mode to extend, or move it to base.species": (
                len(new) == 1 and self.finetune.mode == "replace"
            ),
            "label_smoothing is for loss: cross_entropy alone; set it to 0": (
                self.loss != "cross_entropy" and self.label_smoothing > 0
            ),
            "patience stops when no epoch is better any more, which needs keep: best": (
                self.patience > 0 and self.keep == "last"
            ),
            "schedule: one_cycle needs warmup above 0": (
                self.schedule == "one_cycle" and self.warmup == 0
            ),
            "precision: float16 needs a GPU; on device: cpu use bfloat16 or float32": (
                self.precision == "float16" and self.device == "cpu"
            ),
        }
        for message, holds in contradictions.items():
            if holds:
                raise ValueError(message)
        return self


def training(params: Params, recipe: Recipe) -> Training:
    """`recipe`, and what both training stages share."""
    own = recipe.model_dump(include=set(Recipe.model_fields))
    shared = params.model_dump(include=set(Method.model_fields))
    return Training(**own, **shared, pretrained=params.model.is_pretrained)


def load_params(path: Path = PATH) -> Params:
    """Read and check `path`; each `auto` becomes what it stands for.

    What is for pretrained weights alone has no effect on others.

    Raises:
        UserError: the file is missing or no YAML, or a key is unknown, missing, of the wrong
            type, out of range, or contradicts another. The message names the key.
    """
    params = validate(Params, read_yaml(path), path)
    base = params.base.model_copy(update={"train": _train(params.base.train, params.model)})
    tuned = _train(params.finetune.train, params.model)
    decay = _decay(params.finetune, tuned, params.model)
    finetune = params.finetune.model_copy(update={"train": tuned, "weight_decay": decay})
    decay = _decay(params, base.train, params.model)
    chosen = {"base": base, "finetune": finetune, "weight_decay": decay}
    if not params.model.is_pretrained:  # there is nothing to spare
        chosen |= {"backbone_lr": 1.0, "frozen_blocks": 0}
    return params.model_copy(update=chosen)


def _train(train: Trainable, model: Model) -> Trainable:
    by_itself: Trainable = "head" if model.is_pretrained else "all"
    return by_itself if train == "auto" else train


def _decay(recipe: Recipe, train: Trainable, model: Model) -> float:
    if recipe.weight_decay != "auto":
        return recipe.weight_decay
    return HEAD_DECAY if model.is_pretrained and train == "head" else DECAY
