"""YAML files, and what is nested in them as one level of dotted keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fishline.core.errors import UserError


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file as plain dicts, lists and scalars.

    Raises:
        UserError: the file is missing, cannot be read or is no YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path} not found: run this in the project's root folder") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deep to be read") from None
    except (YAMLError, OSError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys: {"split": {"seed": 1}} -> {"split.seed": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
