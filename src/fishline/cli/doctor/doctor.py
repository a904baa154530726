"""`fishline doctor`: is everything here that the workflow needs? Changes nothing.

The checks are functions of the modules beside this one; each is imported when it is run, so that
what is missing in the environment is found by its own check and stops no other.
"""

from __future__ import annotations

import importlib
import json
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import asdict

import click

from fishline.cli.doctor.checks import Check, failure
from fishline.core.errors import UserError, how_to_install

PROBES = {
    "python": "machine.python",
    "environment": "machine.environment",
    "device": "machine.device",
    "engine": "machine.engine",
    "answer log": "machine.answer_log",
    "git": "machine.repository",
    "disk": "machine.disks",
    "params.yaml": "project.parameters",
    "data": "project.data",
    "DVC cache": "project.cache",
    "DVC remote": "project.remote",
    "tracking store": "store.store",
    "artifacts": "store.artifacts",
}
COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


def examine() -> Iterator[tuple[str, Check]]:
    """Every check with its name, in the order of PROBES."""
    for name in PROBES:
        yield from ((name, check) for check in ask(name))


def ask(name: str) -> list[Check]:
    """What one of PROBES finds. None raises: that would be a failure itself."""
    module, _, function = PROBES[name].partition(".")
    try:
        return list(getattr(importlib.import_module(f"fishline.cli.doctor.{module}"), function)())
    except UserError as error:
        return [failure(error.message)]
    except ModuleNotFoundError as error:
        return [failure(str(error), f"install fishline[train]: {how_to_install('train')}")]
    except Exception as error:
        return [failure(f"{type(error).__name__}: {error}")]


def lines(name: str, check: Check, width: int) -> Iterator[str]:
    """A check for people: what was found, and below it what to do."""
    wrap = textwrap.TextWrapper(max(width - 25, 30), break_on_hyphens=False)
    rows = wrap.wrap(check.found)
    wrap.initial_indent, wrap.subsequent_indent = "→ ", "  "
    rows += wrap.wrap(check.advice)
    mark = click.style(f"{check.state:<9}", fg=COLOURS[check.state])
    yield f"{mark}{name:<16}{rows[0]}"
    yield from (" " * 25 + row for row in rows[1:])


def main(as_json: bool) -> int:
    """Print every check as soon as it is made; 1 if one failed, else 0."""
    width, checks = shutil.get_terminal_size().columns, []
    for name, check in examine():
        checks.append({"name": name} | asdict(check))
        for line in () if as_json else lines(name, check, width):
            click.echo(line)
    states = [check["state"] for check in checks]
    if as_json:
        click.echo(json.dumps(checks, indent=2, ensure_ascii=False))
    else:
        click.echo(
            f"{states.count('ok')} ok, {states.count('warning')} to look at, "
            f"{states.count('failure')} failed"
        )
    return int("failure" in states)
