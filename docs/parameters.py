"""The page on parameters, from params.yaml, its remarks, the checks of params.py and dvc.yaml."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from jinja2 import Template

from fishline.core import params
from fishline.core.schema import flatten, read_yaml

ROOT = Path(__file__).parents[1]

# What params.yaml leaves to the key's name.
MEANINGS = {
    "sample.seed": "of the drawing",
    "split.seed": "of the lot that divides the photographs",
    "split.train": "share to learn from",
    "split.validation": "share to choose and calibrate by",
    "split.test": "share to test on",
    "model.name": "the network; `fishline` is made for 128 pixels and a few cores",
    "loss": "what training makes small",
    "optimizer": "what turns gradients into steps",
    "schedule": "course of the learning rate, up and down",
    "device": "what a network runs on",
    "epochs": "how often training sees every image",
    "balance": "what is done where species are unequally frequent",
    "base.species": "what the base model tells apart: folders of `data.dir`, two or more",
    "finetune.species": "the new species: folders of `data.dir`, two or more",
}

SECTION = """\
{% for group in groups %}
## {{ group.title }}
{% if group.remark %}
{{ group.remark }}
{% endif %}
| key | default | meaning | allowed | read by |
| --- | --- | --- | --- | --- |
{% for row in group.rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
{%- endfor %}"""

INTRODUCTION = """\
# Parameters

Every knob of the workflow stands in `params.yaml`. `dvc exp run -S lr=0.001` changes one for one
experiment, an editor changes it for good. `fishline check` says at once what is wrong: a key that
is misspelt or missing, a value of another type or out of range, two values that contradict each
other.
The last column names the stages that run again when the value changes; where it is empty, none
does. This page is written from that file and from its checks by `python docs/generate.py`.
"""


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def remarks() -> Iterator[tuple[str, dict[str, str]]]:
    """The groups of params.yaml, parted by empty lines: the remark above, the keys' remarks."""
    for block in (ROOT / "params.yaml").read_text().strip().split("\n\n"):
        above, keys, section, last = "", {}, "", ""
        for line in block.splitlines():
            found = re.match(r"( *)(\w+):[^#]*(?:# *(.*))?$", line)
            if found:
                indent, key, remark = found.groups()
                section = section if indent else f"{key}."
                last = section + key if indent else key
                keys[last] = remark or ""
            elif line.startswith("# "):
                above += line[1:]
            elif line.lstrip().startswith("#"):
                keys[last] += f" {line.strip(' #')}"
        if keys:
            yield above.strip(), keys


def types(cls: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> type, of a dataclass of dataclasses."""
    found: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(cls).items():
        nested = is_dataclass(kind)
        found |= types(kind, f"{prefix}{name}.") if nested else {f"{prefix}{name}": kind}
    return found


def allowed(key: str, kind: Any) -> str:
    """What the checks of params.py let through."""
    if typing.get_origin(kind) is typing.Literal:
        return code(typing.get_args(kind))
    if key in params.RANGES:
        return re.sub(r"^must (be|lie|name) ", "", params.RANGES[key][0])
    return {bool: code(("true", "false")), str: "a text"}.get(kind, "names")


def meaning(key: str, remark: str, kind: Any) -> str:
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    if sorted(remark.split(" | ")) == sorted(choices):
        remark = ""  # the column before says it
    if not remark and key not in MEANINGS and key.startswith("finetune."):
        return f"as `{key.removeprefix('finetune.')}`, to fine-tune"
    said = "; ".join(filter(None, (MEANINGS.get(key), remark)))
    if not said:
        raise ValueError(f"docs/generate.py: params.yaml says nothing of {key}, nor does MEANINGS")
    return said.replace("|", r"\|")


def readers(key: str) -> str:
    """The stages that DVC runs again for this key."""
    found = []
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        declared = any(key == entry or key.startswith(f"{entry}.") for entry in stage["params"])
        if declared or f"${{{key}}}" in str(stage):
            found.append(name)
    return ", ".join(found)


def parameters() -> str:
    kinds, groups = types(params.Params), []
    defaults = flatten(read_yaml(ROOT / "params.yaml"))
    for above, keys in remarks():
        section = next((key for key in keys if key not in kinds), "")
        rows = []
        for key, remark in keys.items():
            if key not in kinds:
                continue
            value = defaults[key]
            text = str(value).lower() if isinstance(value, bool) else str(value)
            default = ", ".join(value) if isinstance(value, list) else f"`{text}`"
            said = meaning(key, remark, kinds[key])
            rows.append([f"`{key}`", default, said, allowed(key, kinds[key]), readers(key)])
        title = above.rstrip(".") or code([section] if section else keys)
        remark = keys.get(section, "")
        groups.append({"title": title, "remark": sentence(remark), "rows": rows})
    return INTRODUCTION + Template(SECTION, keep_trailing_newline=True).render(groups=groups)


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""
