"""The page on parameters and their JSON schema, from params.yaml, its model and dvc.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Template
from pydantic.fields import FieldInfo

from fishline.core.params import Params
from fishline.core.training_params import Method, Recipe
from fishline.core.validation import allowed, keys
from fishline.core.yaml_files import flatten, read_yaml

ROOT = Path(__file__).parents[1]

PAGE = """\
# Parameters

Every knob of the workflow stands in `params.yaml`. `dvc exp run -S lr=0.001` changes one for one
experiment, an editor changes it for good; one that knows JSON schemas (VS Code with the YAML
extension, PyCharm) completes and checks keys by `params.schema.json`. `fishline check` says at once
what is wrong: a key that is misspelt or missing, a value of another type or out of range, two
values that contradict each other.
The last column names the stages that run again when the value changes; where it is empty, none
does. This page and the schema are written from `params.yaml`, `src/fishline/core/params.py` and
`src/fishline/core/training_params.py` by `python docs/generate.py`.
{% for title, remark, rows in groups %}
## {{ title }}
{% if remark %}
{{ remark }}
{% endif %}
| key | default | meaning | allowed | read by |
| --- | --- | --- | --- | --- |
{% for row in rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
{%- endfor %}"""


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def schema() -> str:
    """The JSON schema of params.yaml."""
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(title | Params.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def parameters() -> str:
    defaults, fields = flatten(read_yaml(ROOT / "params.yaml")), dict(keys(Params))
    groups: dict[tuple[str, str], list[list[str]]] = {}
    for key, default in defaults.items():
        groups.setdefault(heading(key), []).append(row(key, default, fields[key]))
    rendered = [(title, remark, rows) for (title, remark), rows in groups.items()]
    return Template(PAGE, keep_trailing_newline=True).render(groups=rendered)


def heading(key: str) -> tuple[str, str]:
    """The title of the group that a key belongs to, and what is said of the group."""
    section = key.rpartition(".")[0]
    if section:
        return code([section]), Params.model_fields[section].annotation.__doc__ or ""
    if key in Method.model_fields:
        return "Training of both models", ""
    return ("Training of the base model" if key in Recipe.model_fields else "Further keys"), ""


def row(key: str, default: Any, field: FieldInfo) -> list[str]:
    text = str(default).lower() if isinstance(default, bool) else str(default)
    shown = ", ".join(default) if isinstance(default, list) else f"`{text}`"
    name = key.removeprefix("finetune.")
    again = name != key and name in Recipe.model_fields
    meaning = f"as `{name}`, to fine-tune" if again else field.description
    return [f"`{key}`", shown, meaning or "", allowed(field), readers(key)]


def readers(key: str) -> str:
    """The stages that DVC runs again for this key."""
    names = []
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        declared = any(key == entry or key.startswith(f"{entry}.") for entry in stage["params"])
        if declared or f"${{{key}}}" in str(stage):
            names.append(name)
    return ", ".join(names)
