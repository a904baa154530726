"""Values checked by a Pydantic model; what is wrong is said in one sentence that names the key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fishline.core.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

_SHORT = Repr()  # a value may be as long as a file, or longer: YAML can repeat what it names
_SHORT.maxlevel = 1
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def validate(model: type[Model], value: object, file: Path) -> Model:
    """`value`, the content of `file`, as a `model`.

    Raises:
        UserError: the first thing that is wrong; a key that is unknown goes before all others.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    unknown = [problem for problem in problems if _is_unknown(problem)]
    if unknown:
        missing = [_key(problem) for problem in problems if problem["type"] == "missing"]
        raise UserError(f"{file}: {_unknown(model, unknown[0], missing)}")
    raise UserError(f"{file}: {_sentence(model, problems[0])}")


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The dotted names of all values in a model of models, and their fields."""
    for name, field in model.model_fields.items():
        if section := _section(field):
            yield from keys(section, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def allowed(field: FieldInfo) -> str:
    """In words, what values a field takes: "a number above 0 and below 1"."""
    kind: Any = field.annotation
    if get_origin(kind) is Union:
        return ", or ".join(allowed(FieldInfo.from_annotation(one)) for one in get_args(kind))
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return f"one of {', '.join(choices)}" if len(choices) > 1 else str(choices[0])
    if _section(field):
        return "a section of keys"
    limits = {
        name: getattr(rule, name)
        for rule in field.metadata
        for name in (*_BOUNDS, "min_length", "max_length")
        if hasattr(rule, name)
    }
    if get_origin(kind) is tuple:
        least = limits.get("min_length")
        return f"a list of at least {least} names" if least else "a list of names"
    if kind is str:
        return f"a text, not blank, of at most {limits['max_length']} characters"
    if {"ge", "le"} <= limits.keys():
        return f"{_KINDS[kind]} from {limits['ge']:g} to {limits['le']}"
    bounds = [f"{_BOUNDS[name]} {limit}" for name, limit in limits.items()]
    return f"{_KINDS[kind]} {' and '.join(bounds)}".strip()


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section of keys."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _is_unknown(problem: ErrorDetails) -> bool:
    return problem["type"] in ("extra_forbidden", "invalid_key")


def _key(problem: ErrorDetails) -> str:
    """The dotted key of one that is missing or unknown."""
    return ".".join(map(str, problem["loc"]))


def _unknown(model: type[BaseModel], problem: ErrorDetails, missing: Sequence[str]) -> str:
    """What may have been meant: the only key that its section lacks, or one that reads alike."""
    key = _key(problem)
    section, names = key.rpartition(".")[0], [name for name, _ in keys(model)]
    near = [name for name in missing if name.rpartition(".")[0] == section]
    if len(near) != 1:
        near = difflib.get_close_matches(key, names, n=1)
    siblings = [name for name in names if name.rpartition(".")[0] == section]
    hint = f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(siblings)}."
    return f"unknown key {_SHORT.repr(key)}. {hint}"


def _sentence(model: type[BaseModel], problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return f"key '{_key(problem)}' is missing"
    key, field = _place(model, problem)
    if problem["type"] == "value_error":  # of a validator, which says what is wrong
        return f"{key} {problem['ctx']['error']}".strip()
    rule = allowed(field) if field else "a section of keys"
    return f"{key or 'the file'} must be {rule}, not {_SHORT.repr(problem['input'])}"


def _place(model: type[BaseModel], problem: ErrorDetails) -> tuple[str, FieldInfo | None]:
    """The dotted key of what is wrong, and its field; without both, the file as a whole.

    What Pydantic says beyond the key is left out: a place in a list, or which kind it tried.
    """
    names: list[str] = []
    field, section = None, model
    for name in problem["loc"]:
        names.append(str(name))
        field = section.model_fields[str(name)]
        if not (inner := _section(field)):
            break
        section = inner
    return ".".join(names), field
