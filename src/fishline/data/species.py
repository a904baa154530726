"""`fishline species`: which species params.yaml names, of how many images, and more of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.core.errors import UserError
from fishline.core.files import write_text
from fishline.core.params import PATH, Params, load_params
from fishline.core.text import many
from fishline.core.validation import validate
from fishline.core.yaml_files import append, parse_yaml, read_yaml
from fishline.data.photo_files import count_images, other_folders


def show() -> None:
    """Print the species of params.yaml, and folders of `data.dir` that are none."""
    params = load_params()
    root = Path(params.data.dir)
    others = other_folders(root, params.species)
    counts = count_images(root, [*params.species, *others])
    lists = {"base": params.base.species, "finetune": params.finetune.species, "": others}
    rows = [
        (task, name, f"{counts[name]:,}" if name in counts else "no folder")
        for task, names in lists.items()
        for name in names
    ]
    head, align = ("list", "species", f"images in {root}"), ("left", "left", "right")
    click.echo(tabulate(rows, head, "simple", disable_numparse=True, colalign=align))


def add(names: Sequence[str], to: str | None) -> None:
    """Write `names` into params.yaml, at the end of a list; say what there is of them.

    Args:
        to: base or finetune; if None, finetune where that names species already, else base.

    Raises:
        UserError: one is there already, or params.yaml would not be valid; it is as it was.
    """
    params = load_params()
    section = to or ("finetune" if params.finetune.species else "base")
    if known := [name for name in names if name in params.species]:
        raise UserError(f"{PATH} names {', '.join(known)} already; nothing was added")
    text = PATH.read_bytes().decode("utf-8")
    added = append(text, section, "species", names)
    changed = _checked(added, section, names)
    write_text(PATH, added)
    click.echo(f"{section}.species in {PATH}: added {', '.join(names)}")
    _say_next(changed, names)


def _checked(text: str, section: str, names: Sequence[str]) -> Params:
    """The parameters in `text`, which must be those of params.yaml and `names`."""
    try:
        tree = parse_yaml(text, PATH)
        params = validate(Params, tree, PATH)
    except UserError as error:
        why = error.message.removeprefix(f"{PATH}: ")
        raise UserError(f"nothing was added, {PATH} would not be valid: {why}") from None
    expected = read_yaml(PATH)
    expected[section]["species"] += names
    if tree != expected:
        raise UserError(f"{section}.species in {PATH} cannot be added to by a program; edit it")
    return params


def _say_next(params: Params, names: Sequence[str]) -> None:
    root = Path(params.data.dir)
    counts = count_images(root, params.species)
    for name in names:
        there = many(counts[name], "image") + " in" if name in counts else "no folder"
        click.echo(f"  {name}: {there} {root / name}")
    if lacking := [name for name in params.species if not counts.get(name)]:
        click.echo(
            f"{root} has no images of {', '.join(lacking)}: bring some (`fishline ingest`), set "
            f"data.dir to the folder that has them, or take the names out of {PATH}"
        )
    else:
        click.echo("Next: dvc repro")
