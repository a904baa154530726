"""YAML files, and dataclasses checked against them: nothing here knows fishline's parameters."""

from __future__ import annotations

import difflib
import math
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from fishline.core.errors import UserError


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


def build(cls: Any, value: object, where: str, key: str = "", root: Any = None) -> Any:
    """`value` as an instance of the dataclass `cls`.

    Args:
        where: the file, for messages.
        key: the section's dotted name.
        root: the dataclass of the whole file.

    Raises:
        UserError: a key is unknown or missing, or its value is of the wrong type.
    """
    root = root or cls
    if not isinstance(value, dict):
        raise UserError(f"{where}: {key or 'the file'} must be a section of keys, not {value!r}")
    types = typing.get_type_hints(cls)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in types:
            near = _nearest(
                str(name), list(types), [t for t in types if t not in value], prefix, root
            )
            raise UserError(f"{where}: unknown key '{prefix}{name}'. {near}")
    for name in types:
        if name not in value:
            raise UserError(f"{where}: key '{prefix}{name}' is missing")
    return cls(
        **{name: _convert(types[name], value[name], where, prefix + name, root) for name in types}
    )


def _nearest(name: str, names: list[str], missing: list[str], prefix: str, root: Any) -> str:
    """What may have been meant: a key of this section, the only missing one, one elsewhere."""
    leaves = {full.rpartition(".")[2]: full for full in reversed(list(keys(root)))}
    near = [prefix + key for key in difflib.get_close_matches(name, names, n=1)]
    near = near or [prefix + key for key in missing if len(missing) == 1]
    near = near or [leaves[leaf] for leaf in difflib.get_close_matches(name, leaves, n=1)]
    return f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(names)}."


def keys(cls: Any, prefix: str = "") -> typing.Iterator[str]:
    """The dotted names of all values in a dataclass of dataclasses."""
    for name, kind in typing.get_type_hints(cls).items():
        if is_dataclass(kind):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def _convert(kind: Any, value: Any, where: str, key: str, root: Any) -> Any:
    """`value` as `kind`; an integer will do for a float, nothing else is converted."""
    if is_dataclass(kind):
        return build(kind, value, where, key, root)
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


def as_dict(params: Any) -> dict[str, Any]:
    """A parameter dataclass as nested dicts, species as lists: the shape of params.yaml."""
    out: dict[str, Any] = {}
    for field in fields(params):
        value = getattr(params, field.name)
        out[field.name] = as_dict(value) if is_dataclass(value) else value
    return out
