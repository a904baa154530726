"""`fishline history MODEL`: who made which version the champion, when and why."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.registry import champion
from fishline.registry.champion import HistoryEntry
from fishline.tracking import versions
from fishline.tracking.aliases import RegisteredModel


def history(name: str, as_json: bool) -> None:
    """Print every move of the champion of `name` in the order in which they were made.

    Raises:
        UserError: there is no such model.
    """
    versions.require_versions(name)
    entries = champion.history(RegisteredModel(name))
    if as_json:
        return click.echo(json.dumps([asdict(e) for e in entries], indent=2, ensure_ascii=False))
    if not entries:
        return click.echo(f"{name} never had a champion; `fishline promote {name}` makes one")
    head = ["time (UTC)", "action", "from", "to", "who", "gate"]
    rows = [_row(entry) for entry in entries]
    click.echo(tabulate(rows, head, "simple", disable_numparse=True))


def _row(entry: HistoryEntry) -> list[str]:
    time = entry.when[:19].replace("T", " ")
    former = "none" if entry.replaced is None else str(entry.replaced)
    return [time, entry.action, former, str(entry.champion), entry.who, outcome(entry)]


def outcome(entry: HistoryEntry) -> str:
    """What the gate said of a move, and whether the move came to its end."""
    failed = [rule for rule, text in entry.verdicts.items() if not text.startswith("pass")]
    if not entry.verdicts:
        gate = ""
    elif failed:
        gate = f"forced against {', '.join(failed)}"
    else:
        gate = "passed"
    reason = f'"{entry.reason}"' if entry.reason else ""
    broken = "" if entry.done else "broke off, champion not moved"
    return "; ".join(filter(None, [gate, reason, broken]))
