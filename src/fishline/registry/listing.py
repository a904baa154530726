"""`fishline models`: what is registered, as a table."""

from __future__ import annotations

import json
from typing import Any

import click
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.core.roles import ROLES
from fishline.tracking import versions

HEAD = "model,aliases,experiment,commit,data,split,accuracy (95 %),worst,size,created".split(",")
UNITS = ("B", "kB", "MB", "GB")


def models(name: str | None, as_json: bool) -> None:
    """Print the versions of `name`, or of all models, the newest first.

    Raises:
        UserError: there is no such model.
    """
    names = [role.registered for role in ROLES.values()]
    registered = (
        versions.require_versions(name)
        if name
        else [version for model in names for version in versions.versions(model)]
    )
    rows = [versions.as_dict(version, versions.weights_size(version)) for version in registered]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        click.echo("nothing is registered yet; `dvc repro` trains and registers models")
    else:
        cells = [[*cells_of(row).values()] for row in rows]
        click.echo(tabulate(cells, HEAD, "simple", disable_numparse=True))
        click.echo("\n* code or parameters differed from the commit; worst: recall of one species")


def cells_of(row: dict[str, Any]) -> dict[str, str]:
    """A row of the table, from what `versions.as_dict` returned."""
    interval = row["test_accuracy_interval"]
    between = "" if interval is None else f" ({interval[0]:.3f}–{interval[1]:.3f})"
    return {
        "model": f"{row['model']}/{row['version']}",
        "aliases": ", ".join(row["aliases"]),
        "experiment": row["experiment"] or "",
        "commit": (row["commit"] or "")[:7] + "*" * bool(row["dirty"]),
        "data": (row["data_hash"] or "")[:7],
        "split": row["split"] or "",
        "accuracy": _share(row["test_accuracy"]) + between,
        "worst": _share(row["worst_recall"]),
        "size": human(row["bytes"]),
        "created": row["created"][:16].replace("T", " "),
    }


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def human(size: int | None) -> str:
    """Bytes in words: 2.4 MB; nothing for None."""
    if size is None:
        return ""
    value, power = float(size), 0
    while value >= 999.5 and power < len(UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {UNITS[power]}"
