"""`params.yaml` as frozen dataclasses, checked before any work starts.

The only reader of the file. Every key must be there (DVC needs them too), none may be unknown,
and each must have the type and range given here. Read as YAML 1.2: `dvc exp run -S lr=1e-5`
writes `1e-05`, which YAML 1.1 readers take for a string.
"""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from fishline.errors import UserError

PATH = Path("params.yaml")

Strategy = Literal["grouped", "stratified", "random"]
Balance = Literal["none", "oversample", "undersample", "class_weights"]
Loss = Literal["cross_entropy", "multi_margin"]
Optimizer = Literal["adam", "adamw", "sgd"]


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
    name: Literal["notebook"]


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
class Finetune(Recipe):
    species: tuple[str, ...]
    train: Literal["head", "classifier", "all"]


@dataclass(frozen=True)
class Params(Recipe):
    seed: int
    image_size: int
    sample: Sample
    data: Data
    split: Split
    model: Model
    loss: Loss
    optimizer: Optimizer
    base: Base
    finetune: Finetune

    @property
    def species(self) -> tuple[str, ...]:
        """All species, base first."""
        return self.base.species + self.finetune.species


@dataclass(frozen=True)
class Training(Recipe):
    """What the training loop needs to know, of either training stage."""

    seed: int
    loss: Loss
    optimizer: Optimizer


def training(params: Params, recipe: Recipe) -> Training:
    """`recipe`, and what both training stages share."""
    own = {field.name: getattr(recipe, field.name) for field in fields(Recipe)}
    return Training(**own, seed=params.seed, loss=params.loss, optimizer=params.optimizer)


def load_params(path: Path = PATH) -> Params:
    """Read and check `path`.

    Raises:
        UserError: the file is missing or no YAML, or a key is unknown, missing, of the wrong
            type, out of range, or contradicts another. The message names the key.
    """
    params: Params = _build(Params, read_yaml(path), str(path))
    _check_ranges(params, path)
    _check_species(params, path)
    return params


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file as plain dicts, lists and scalars."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path} not found: run this in the project's root folder") from None
    except (YAMLError, OSError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys: {"split": {"seed": 1}} -> {"split.seed": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _build(cls: Any, value: object, where: str, key: str = "") -> Any:
    """`value` as an instance of the dataclass `cls`; `key` is its dotted name."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: {key or 'the file'} must be a section of keys, not {value!r}")
    types = typing.get_type_hints(cls)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in types:
            near = _nearest(str(name), list(types), [t for t in types if t not in value], prefix)
            raise UserError(f"{where}: unknown key '{prefix}{name}'. {near}")
    for name in types:
        if name not in value:
            raise UserError(f"{where}: key '{prefix}{name}' is missing")
    return cls(**{name: _convert(types[name], value[name], where, prefix + name) for name in types})


def _nearest(name: str, keys: list[str], missing: list[str], prefix: str) -> str:
    """What may have been meant: a key of this section, the only missing one, one elsewhere."""
    leaves = {full.rpartition(".")[2]: full for full in reversed(list(_keys(Params)))}
    near = [prefix + key for key in difflib.get_close_matches(name, keys, n=1)]
    near = near or [prefix + key for key in missing if len(missing) == 1]
    near = near or [leaves[leaf] for leaf in difflib.get_close_matches(name, leaves, n=1)]
    return f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(keys)}."


def _keys(cls: Any, prefix: str = "") -> typing.Iterator[str]:
    for name, kind in typing.get_type_hints(cls).items():
        if is_dataclass(kind):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def _convert(kind: Any, value: Any, where: str, key: str) -> Any:
    """`value` as `kind`; an integer will do for a float, nothing else is converted."""
    if is_dataclass(kind):
        return _build(kind, value, where, key)
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise UserError(f"{where}: {key} must be one of {', '.join(choices)}, not {value!r}")
        return value
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise UserError(f"{where}: {key} must be a list of names, not {value!r}")
        return tuple(value)
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
        raise UserError(f"{where}: {key} must be {names[kind]}, not {value!r}")
    return value


_POSITIVE: tuple[str, Callable[[Any], bool]] = ("must be above 0", lambda v: v > 0)
_SEED: tuple[str, Callable[[Any], bool]] = (
    "must lie between 0 and 4294967295, as NumPy has it",
    lambda v: 0 <= v < 2**32,
)
_NOT_NEGATIVE: tuple[str, Callable[[Any], bool]] = ("must be 0 or more", lambda v: v >= 0)
_FRACTION: tuple[str, Callable[[Any], bool]] = ("must lie between 0 and 1", lambda v: 0 < v < 1)

_RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "seed": _SEED,
    "image_size": ("must lie between 48 and 1024 pixels", lambda v: 48 <= v <= 1024),
    "sample.seed": _SEED,
    "sample.originals": ("must be at least 3: one for each part", lambda v: v >= 3),
    "sample.copies": _POSITIVE,
    "data.dir": ("must name a folder", bool),
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
    for key, (rule, holds) in _RANGES.items():
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


def as_dict(params: Any) -> dict[str, Any]:
    """A parameter dataclass as nested dicts, species as lists: the shape of params.yaml."""
    out: dict[str, Any] = {}
    for field in fields(params):
        value = getattr(params, field.name)
        out[field.name] = as_dict(value) if is_dataclass(value) else value
    return out
