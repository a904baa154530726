"""`params.yaml`: every key with its type, its range and what it means.

The only reader of the file. Every key must be there (DVC needs them too) and none may be unknown;
an integer will do for a float, nothing else is converted. Read as YAML 1.2:
`dvc exp run -S lr=1e-5` writes `1e-05`, which YAML 1.1 readers take for a string.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fishline.core.files import TEXT_COLUMNS
from fishline.core.validation import validate
from fishline.core.yaml_files import read_yaml

PATH = Path("params.yaml")

# What tables of predictions, which have a column for each species, call other columns and answers.
RESERVED = frozenset({*TEXT_COLUMNS, *"error model model_sha256 only probability unknown".split()})

Strategy = Literal["grouped", "stratified", "random", "given"]
Balance = Literal["none", "oversample", "undersample", "class_weights"]
Loss = Literal["cross_entropy", "multi_margin"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["one_cycle", "cosine", "constant"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Keep = Literal["last", "best"]
Trainable = Literal["auto", "head", "classifier", "all"]
SampleWeight = Literal["photographs", "files"]
Mode = Literal["replace", "extend"]
HEAD_DECAY, DECAY = 3.0, 0.01  # what `weight_decay: auto` stands for
UNTRAINED = ("fishline", "notebook")  # networks that come without weights


def _path(text: str) -> str:
    """`text`, if the system can look for such a path.

    Raises:
        ValueError: no file can have this name.
    """
    if "\0" in text or any(len(name) > 255 for name in os.fsencode(text).split(b"/")):
        raise ValueError("must be a path; a name in it is too long, or has a NUL character")
    return text


def _species(names: tuple[str, ...]) -> tuple[str, ...]:
    """`names`, if each can be a column of a table, and differs from the others."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"lists {', '.join(repeated)} more than once")
    if reserved := sorted(RESERVED.intersection(names)):
        raise ValueError(
            f"lists {', '.join(reserved)}, which tables of predictions have for something else; "
            "rename the species and its folder"
        )
    return names


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Margin = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(pattern=r"\S", max_length=1000)]
PathText = Annotated[Text, AfterValidator(_path)]
Name = Annotated[str, Field(pattern=r"\S", max_length=255)]
# Not strict: YAML has lists alone.
WeightDecay = Literal["auto"] | Annotated[float, Field(ge=0, le=10)]
Columns = Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
Species = Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(_species)]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


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


class Model(Section):
    """The network."""

    name: Name = Field(
        description="the network: efficientnet_lite0, any of timm, fishline or notebook (from "
        "nothing), torchvision's resnet18, mobilenet_v3_small, efficientnet_b0 or convnext_tiny"
    )
    weights: PathText = Field(
        description="default: its own pretrained ones, if it has any (those of efficientnet_lite0 "
        "are installed, others downloaded once); none; or the path of a weights file"
    )

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from weights."""
        return self.weights != "none" and not (self.weights == "default" and self.name in UNTRAINED)


TRAIN = (
    "the last layer, the classifier or all; what is frozen runs once an image; auto: head where "
    "weights are pretrained, else all"
)


class Base(Section):
    """The base model."""

    species: Species = Field(
        min_length=2, description="what the base model tells apart: folders of `data.dir`"
    )
    train: Trainable = Field(description=TRAIN)


class Recipe(Section):
    """What base training (at the top of params.yaml) and fine-tuning each set for themselves."""

    lr: float = Field(gt=0, le=10, description="highest learning rate; 1e-3…4e-3 works with adamw")
    weight_decay: WeightDecay = Field(
        description="not on biases and norms (decoupled with adamw, else an L2 penalty); auto: "
        f"{HEAD_DECAY:g} where the last layer of pretrained weights learns alone, else {DECAY:g}",
    )
    batch_size: int = Field(
        ge=2,
        le=65_536,
        description="images per step, of all processes together; batch norm needs two",
    )
    epochs: int = Field(ge=1, le=10_000, description="how often training sees every image")
    augment: bool = Field(
        description="mirror, turn, shift, scale, light, colour: anew in every epoch; with "
        "pretrained weights mirror and turn by quarters alone"
    )
    balance: Balance = Field(description="what is done where species are unequally frequent")


class Method(Section):
    """What base training and fine-tuning share."""

    seed: Seed = Field(description="of weights, shuffling and augmentation")
    loss: Loss = Field(description="what training makes small")
    label_smoothing: float = Field(
        ge=0, lt=1, description="share of the target spread over all species; cross_entropy alone"
    )
    optimizer: Optimizer = Field(
        description="what turns gradients into steps; sgd has a momentum of 0.9"
    )
    schedule: Schedule = Field(
        description="course of the learning rate; one_cycle and cosine end at 0"
    )
    warmup: float = Field(
        ge=0, lt=1, description="share of the steps in which the learning rate rises"
    )
    sample_weight: SampleWeight = Field(
        description="what counts the same in the loss: photographs, however many copies there are "
        "of each, or files"
    )
    backbone_lr: float = Field(
        gt=0,
        le=1,
        description="steps of pretrained layers below the head where those learn too, as a share "
        "of lr",
    )
    frozen_blocks: int = Field(
        ge=0,
        le=1000,
        description="with train: all and pretrained weights, the first blocks of the network that "
        "stay as they are, beside its stem: they know edges and textures, and cost time; 0: none",
    )
    clip: float = Field(ge=0, description="largest norm of a step's gradient; 0: any")
    ema: float = Field(
        ge=0,
        lt=1,
        description="decay of the averaged weights that are kept, as 0.99; 0: the last ones",
    )
    keep: Keep = Field(
        description="weights of the last epoch, or of the best by validation, if it has hundreds "
        "of photographs: one of few is good by luck"
    )
    patience: int = Field(
        ge=0,
        le=10_000,
        description="with keep: best, stop after so many epochs without a better one; 0: never",
    )
    device: Device = Field(description="what a network runs on")
    precision: Precision = Field(
        description="of the computation; auto: bfloat16 where the device has it, else float32"
    )
    compile: bool = Field(description="torch.compile: pays on a GPU, over many epochs")
    checkpoint_minutes: float = Field(
        gt=0, le=1440, description="save at least so often, besides at the end of an epoch"
    )


class Finetune(Recipe):
    """The base model adapted to new species."""

    species: Species = Field(
        description="the new species: folders of `data.dir`; none: the base model is the only one"
    )
    mode: Mode = Field(
        description="replace: a model of these alone; extend: of the base species and these"
    )
    train: Trainable = Field(description=TRAIN)


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


class Training(Recipe, Method):
    """What the training loop needs to know, of either training stage."""

    weight_decay: float
    pretrained: bool = Field(description="whether training starts from weights")


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
