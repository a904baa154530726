"""`fishline models`: what is registered, as a table."""

from __future__ import annotations

import json
from typing import Any

import click
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline import registry
from fishline.registry import Version

HEAD = "model,aliases,experiment,commit,data,split,accuracy (95 %),worst,size,created".split(",")
UNITS = ("B", "kB", "MB", "GB")


def models(name: str | None, as_json: bool) -> None:
    """Print the versions of `name`, or of all models, the newest first.

    Raises:
        UserError: there is no such model.
    """
    names = list(registry.NAMES.values())
    versions = (
        registry.known(name) if name else [v for each in names for v in registry.versions(each)]
    )
    rows = [facts(version, registry.weights_size(version)) for version in versions]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        click.echo("nothing is registered yet; `dvc repro` trains and registers models")
    else:
        cells = [[*cells_of(row).values()] for row in rows]
        click.echo(tabulate(cells, HEAD, "simple", disable_numparse=True))
        click.echo("\n* code or parameters differed from the commit; worst: recall of one species")


def facts(version: Version, size: int | None) -> dict[str, Any]:
    """All that is known of a version, ready for JSON; None for what its run did not log."""
    tags, metrics = version.tags, version.metrics
    low, high = metrics.get("test_accuracy_low"), metrics.get("test_accuracy_high")
    return {
        "model": version.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "experiment": tags.get("dvc.exp"),
        "commit": tags.get("git.commit"),
        "dirty": {"true": True, "false": False}.get(tags.get("git.dirty", "")),
        "data_hash": tags.get("data.hash"),
        "split": tags.get("split.strategy"),
        "test_accuracy": metrics.get("test_accuracy"),
        "test_accuracy_interval": None if low is None or high is None else [low, high],
        "worst_recall": metrics.get("test_worst_recall"),
        "bytes": size,
        "created": version.created.isoformat(timespec="seconds"),
        "run_id": version.run_id,
        "tags": dict(tags),
        "metrics": dict(metrics),
        "params": dict(version.params),
    }


def cells_of(row: dict[str, Any]) -> dict[str, str]:
    """A row of the table, from what `facts` returned."""
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
