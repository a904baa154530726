"""YAML files: read, a list in one added to, and what is nested as one level of dotted keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fishline.core.errors import UserError


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file as plain dicts, lists and scalars.

    Raises:
        UserError: the file is missing, cannot be read or is no YAML.
    """
    return parse_yaml(path, path)


def parse_yaml(content: Path | str, path: Path) -> Any:
    """`content`, a file or its text, as `read_yaml` has it; `path` is what an error calls it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(content)
    except FileNotFoundError:
        raise UserError(f"{path} not found: run this in the project's root folder") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deep to be read") from None
    except (YAMLError, OSError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None


def append(text: str, section: str, key: str, items: Sequence[str]) -> str:
    """YAML `text` with `items` behind the others in the list `key` of `section`; all else stays.

    In place: to load and to write it again would lay the whole file out anew.
    """
    from ruamel.yaml import YAML

    node = YAML(pure=True).compose(text)
    for name in (section, key):
        node = {child.value: value for child, value in node.value}[name]
    there, new = node.value, [_scalar(item) for item in items]
    place = there[-1].end_mark.index if there else node.start_mark.index + 1
    if node.flow_style:
        inserted = ", ".join([""] * bool(there) + new)
    else:
        end = "\r\n" if "\r\n" in text else "\n"
        place += (text[place:] + end).index(end)  # behind a comment
        inserted = "".join(f"{end}{' ' * node.start_mark.column}- {item}" for item in new)
    return text[:place] + inserted + text[place:]


def _scalar(text: str) -> str:
    """`text` in YAML, in quotes where it needs some."""
    try:
        plain = parse_yaml(f"[{text}]", Path()) == [text]
    except UserError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys: {"split": {"seed": 1}} -> {"split.seed": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
