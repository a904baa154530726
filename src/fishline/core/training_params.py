"""`params.yaml`: the keys of a training, of either stage. All others are in params.py."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fishline.core.files import TEXT_COLUMNS

# What tables of predictions, which have a column for each species, call other columns and answers.
RESERVED = frozenset({*TEXT_COLUMNS, *"error model model_sha256 only probability unknown".split()})

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
Text = Annotated[str, Field(pattern=r"\S", max_length=1000)]
PathText = Annotated[Text, AfterValidator(_path)]
Name = Annotated[str, Field(pattern=r"\S", max_length=255)]
WeightDecay = Literal["auto"] | Annotated[float, Field(ge=0, le=10)]
# Not strict: YAML has lists alone.
Species = Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(_species)]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


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


class Training(Recipe, Method):
    """What the training loop needs to know, of either training stage."""

    weight_decay: float
    pretrained: bool = Field(description="whether training starts from weights")
