"""From DVC's experiments to MLflow's runs: `fishline runs EXPERIMENT`.

A run's tag says which experiment computed it. An experiment whose result DVC had seen before
computed none: the records of its models, models/*.run.json, then name the runs of the first time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from fishline.core.dvc import read_at
from fishline.core.errors import UserError
from fishline.core.git import GitError, git
from fishline.core.paths import run_record
from fishline.core.roles import ROLES
from fishline.tracking import search, versions
from fishline.tracking.provenance import project_root

EXPERIMENT = re.compile(r"([0-9a-f]{40}) refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/([^/]+)")


@dataclass(frozen=True)
class Experiment:
    """An experiment in git: its name, its own commit, and the commit that it started from."""

    name: str
    commit: str
    baseline: str


def experiments() -> list[Experiment]:
    """All of this repository; none without git."""
    try:
        listed = git(
            "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps", cwd=project_root()
        )
    except GitError:
        return []
    matches = (EXPERIMENT.fullmatch(line) for line in listed.splitlines())
    return [Experiment(match[4], match[1], match[2] + match[3]) for match in matches if match]


def trained_by(model: str, commit: str) -> str:
    """The id of the run that trained models/<model> as `commit` has it; "" if DVC has no record."""
    record = read_at(run_record(model), project_root(), commit)
    try:
        return str(json.loads(record or "{}").get("run_id", ""))
    except ValueError:
        return ""


def runs_of(name: str) -> Iterator[dict[str, Any]]:
    """What is known of each run of an experiment, those that it computed first.

    `restored` says that another experiment, or none, computed the run.
    """
    own = search.runs(f"tags.`dvc.exp` = {_quoted(name)}")
    yield from (_facts(run, restored=False) for run in own)
    seen = {run.run_id for run in own}
    for experiment in experiments():
        for model in ROLES if experiment.name == name else ():
            run_id = trained_by(model, experiment.commit)
            if run_id and run_id not in seen:
                seen.add(run_id)
                run = search.get_run(run_id)
                yield _facts(run, restored=True) if run else _gone(model, run_id)


def _quoted(text: str) -> str:
    """As a value in MLflow's search, which knows both quotes and no escapes."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def _facts(run: search.Run, restored: bool) -> dict[str, Any]:
    return {
        "run": run.run_id,
        "stage": run.tags.get("dvc.stage", "?"),
        "version": _version(run.run_id),
        "status": run.status,
        "started": run.started.isoformat(timespec="seconds"),
        "restored": restored,
        "test_accuracy": run.metrics.get("test_accuracy"),
    }


def _gone(model: str, run_id: str) -> dict[str, Any]:
    facts = dict.fromkeys(("version", "started", "test_accuracy"))
    return {"run": run_id, "stage": model, **facts, "status": "not in this store", "restored": True}


def _version(run_id: str) -> str | None:
    try:
        return str(versions.find(run_id))
    except UserError:
        return None


def main(name: str, as_json: bool) -> None:
    """Print the runs of an experiment.

    Raises:
        UserError: neither git nor the store knows the experiment.
    """
    runs = list(runs_of(name))
    names = sorted({experiment.name for experiment in experiments()})
    if not runs and name not in names:
        raise UserError(
            f"no experiment '{name}' here, and no run of one in the store. "
            f"Experiments here: {', '.join(names) or 'none'}"
        )
    if as_json:
        click.echo(json.dumps(runs, indent=2))
        return
    for run in runs:
        score = run["test_accuracy"]
        click.echo(
            f"{run['run']}  {run['stage']:<10}  {run['version'] or '-':<18}  {run['status']}"
            + (f"  test accuracy {score:.3f}" if score is not None else "")
            + ("  (restored: computed earlier, not by this experiment)" if run["restored"] else "")
        )
    if not runs:
        click.echo(f"{name} has no run: it trained nothing, or its record is in no DVC cache")
