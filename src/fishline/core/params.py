"""`params.yaml` as frozen dataclasses, checked before any work starts.

The only reader of the file. Every key must be there (DVC needs them too), none may be unknown,
and each must have the type and range given here. Read as YAML 1.2: `dvc exp run -S lr=1e-5`
writes `1e-05`, which YAML 1.1 readers take for a string.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from fishline.core.errors import UserError
from fishline.core.schema import as_dict, build, flatten, read_yaml

PATH = Path("params.yaml")

Strategy = Literal["grouped", "stratified", "random"]
Balance = Literal["none", "oversample", "undersample", "class_weights"]
Loss = Literal["cross_entropy", "multi_margin"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["one_cycle", "cosine", "constant"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Keep = Literal["last", "best"]
Trainable = Literal["head", "classifier", "all"]
Mode = Literal["replace", "extend"]
NetworkName = Literal[
    "fishline", "notebook", "resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny"
]


@dataclass(frozen=True)
class Sample:
    seed: int
    originals: int
    copies: int


@dataclass(frozen=True)
class Data:
    dir: str
    conflicts: Literal["fail", "drop"]


@dataclass(frozen=True)
class Split:
    strategy: Strategy
    seed: int
    train: float
    validation: float
    test: float


@dataclass(frozen=True)
class Model:
    name: NetworkName
    weights: str


@dataclass(frozen=True)
class Base:
    species: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """What base training (at the top of params.yaml) and fine-tuning each set for themselves."""

    lr: float
    weight_decay: float
    batch_size: int
    epochs: int
    augment: bool
    balance: Balance


@dataclass(frozen=True)
class Method:
    """What base training and fine-tuning share."""

    seed: int
    loss: Loss
    label_smoothing: float
    optimizer: Optimizer
    schedule: Schedule
    warmup: float
    clip: float
    ema: float
    keep: Keep
    patience: int
    device: Device
    precision: Precision
    compile: bool
    checkpoint_minutes: float


@dataclass(frozen=True)
class Finetune(Recipe):
    species: tuple[str, ...]
    mode: Mode
    train: Trainable
    views: int


@dataclass(frozen=True)
class Gate:
    """What is asked of a model before it becomes the champion; gate.py has the rules."""

    accuracy_margin: float
    recall_margin: float
    leak_audit: bool
    clean_tree: bool
    reproduces: bool


@dataclass(frozen=True)
class Params(Recipe, Method):
    image_size: int
    sample: Sample
    data: Data
    split: Split
    model: Model
    launch: str
    system_metrics: bool
    known_recall: float
    gate: Gate
    base: Base
    finetune: Finetune

    @property
    def species(self) -> tuple[str, ...]:
        """All species, base first."""
        return self.base.species + self.finetune.species


@dataclass(frozen=True)
class Training(Recipe, Method):
    """What the training loop needs to know, of either training stage."""


def training(params: Params, recipe: Recipe) -> Training:
    """`recipe`, and what both training stages share."""
    own = {field.name: getattr(recipe, field.name) for field in fields(Recipe)}
    shared = {field.name: getattr(params, field.name) for field in fields(Method)}
    return Training(**own, **shared)


def load_params(path: Path = PATH) -> Params:
    """Read and check `path`.

    Raises:
        UserError: the file is missing or no YAML, or a key is unknown, missing, of the wrong
            type, out of range, or contradicts another. The message names the key.
    """
    params: Params = build(Params, read_yaml(path), str(path))
    _check_ranges(params, path)
    _check_species(params, path)
    _check_method(params, path)
    return params


_POSITIVE: tuple[str, Callable[[Any], bool]] = ("must be above 0", lambda v: v > 0)
_SEED: tuple[str, Callable[[Any], bool]] = (
    "must lie between 0 and 4294967295, as NumPy has it",
    lambda v: 0 <= v < 2**32,
)
_NOT_NEGATIVE: tuple[str, Callable[[Any], bool]] = ("must be 0 or more", lambda v: v >= 0)
_MARGIN: tuple[str, Callable[[Any], bool]] = (
    "must lie between 0 (no fall) and 1 (any fall)",
    lambda v: 0 <= v <= 1,
)
_FRACTION: tuple[str, Callable[[Any], bool]] = ("must lie between 0 and 1", lambda v: 0 < v < 1)

RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "seed": _SEED,
    "image_size": ("must lie between 48 and 1024 pixels", lambda v: 48 <= v <= 1024),
    "sample.seed": _SEED,
    "sample.originals": ("must be at least 3: one for each part", lambda v: v >= 3),
    "sample.copies": _POSITIVE,
    "data.dir": ("must name a folder", bool),
    "label_smoothing": ("must be 0 or more and below 1", lambda v: 0 <= v < 1),
    "warmup": ("must be 0 or more and below 1: a share of the steps", lambda v: 0 <= v < 1),
    "clip": ("must be 0 (off) or more", lambda v: v >= 0),
    "ema": ("must be 0 (off) or more and below 1", lambda v: 0 <= v < 1),
    "patience": ("must be 0 (off) or more", lambda v: v >= 0),
    "launch": ("must be a command, such as python", lambda v: bool(v.strip())),
    "checkpoint_minutes": _POSITIVE,
    "known_recall": ("must be above 0, and 1 at most", lambda v: 0 < v <= 1),
    "model.weights": ("must be none, default or the path of a file", bool),
    "gate.accuracy_margin": _MARGIN,
    "gate.recall_margin": _MARGIN,
    "finetune.views": _POSITIVE,
    "split.seed": _SEED,
    "split.train": _FRACTION,
    "split.validation": _FRACTION,
    "split.test": _FRACTION,
    **{
        f"{section}{key}": check
        for section in ("", "finetune.")
        for key, check in {
            "lr": _POSITIVE,
            "weight_decay": _NOT_NEGATIVE,
            "batch_size": ("must be at least 2: batch norm needs a batch", lambda v: v >= 2),
            "epochs": _POSITIVE,
        }.items()
    },
}


def _check_ranges(params: Params, path: Path) -> None:
    flat = flatten(as_dict(params))
    for key, (rule, holds) in RANGES.items():
        if not holds(flat[key]):
            raise UserError(f"{path}: {key} {rule}, not {flat[key]!r}")
    split = params.split
    total = split.train + split.validation + split.test
    if abs(total - 1) > 1e-6:
        raise UserError(
            f"{path}: split.train + split.validation + split.test must be 1, not {total:g}"
        )


def _check_species(params: Params, path: Path) -> None:
    for key in ("base", "finetune"):
        names = getattr(params, key).species
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError(f"{path}: {key}.species lists {', '.join(repeated)} more than once")
        if len(names) < 2:
            raise UserError(f"{path}: {key}.species must list at least two species")
    both = sorted(set(params.base.species) & set(params.finetune.species))
    if both:
        raise UserError(
            f"{path}: {', '.join(both)} stands in base.species and in finetune.species; "
            "a species belongs to one of them"
        )


def _check_method(params: Params, path: Path) -> None:
    """Values that contradict each other, each a sentence that names the keys."""
    weights, name = params.model.weights, params.model.name
    contradictions = {
        "label_smoothing is for loss: cross_entropy alone; set it to 0": (
            params.loss != "cross_entropy" and params.label_smoothing > 0
        ),
        "patience stops when no epoch is better any more, which needs keep: best": (
            params.patience > 0 and params.keep == "last"
        ),
        "schedule: one_cycle needs warmup above 0": (
            params.schedule == "one_cycle" and params.warmup == 0
        ),
        f"model.weights: default is for torchvision's networks; model.name {name} has none": (
            weights == "default" and name in ("fishline", "notebook")
        ),
        "precision: float16 needs a GPU; on device: cpu use bfloat16 or float32": (
            params.precision == "float16" and params.device == "cpu"
        ),
    }
    for message, holds in contradictions.items():
        if holds:
            raise UserError(f"{path}: {message}")
