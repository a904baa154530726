"""Where a run or a registered version comes from: `fishline provenance VERSION`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from fishline.core.errors import UserError
from fishline.core.files import read_csv
from fishline.core.git import commit_of
from fishline.core.paths import CACHE, SPLIT
from fishline.core.roles import ROLES
from fishline.registry import champion
from fishline.registry.experiment_runs import experiments
from fishline.registry.git_tags import kept
from fishline.tracking import search, versions
from fishline.tracking.aliases import RegisteredModel
from fishline.tracking.provenance import data_hash, environment_hash, project_root
from fishline.tracking.search import Run
from fishline.tracking.snapshot import REF
from fishline.tracking.versions import Version

MACHINE = ("python", "torch", "threads", "cpu", "gpu")


def origin(reference: str) -> dict[str, Any]:
    """What is known of where a run or version comes from; within it, the same of its base model.

    Raises:
        UserError: there is no such run or version.
    """
    run, version = _find(reference)
    tags = {**(run.tags if run else {}), **(version.tags if version else {})}
    run_id = run.run_id if run else version.run_id if version else ""
    return {
        "version": str(version) if version else None,
        "aliases": list(version.aliases) if version else [],
        "run": run_id,
        "status": run.status if run else "deleted",
        "started": run.started.isoformat(timespec="seconds") if run else None,
        "stage": tags.get("dvc.stage"),
        "experiment": _experiment(tags.get("dvc.exp")),
        "code": _code(tags, run_id, version),
        "data": _data(tags),
        "environment": _environment(tags),
        "machine": {name: tags.get(name) for name in MACHINE},
        "promoted": _promoted(version),
        "params": dict(run.params) if run else {},
        "base": _base(tags),
    }


def _find(reference: str) -> tuple[Run | None, Version | None]:
    try:
        version = versions.find(reference)
        return search.get_run(version.run_id), version
    except UserError:
        if not re.fullmatch(r"[0-9a-f]{8,32}", reference):
            raise
        runs = [run for run in search.runs() if run.run_id.startswith(reference)]
        if len(runs) != 1:
            raise UserError(f"{len(runs)} runs have an id that begins with {reference}") from None
        return runs[0], None


def _experiment(name: str | None) -> dict[str, Any] | None:
    exists = any(experiment.name == name for experiment in experiments())
    return {"name": name, "exists": exists} if name else None


def _code(tags: Mapping[str, str], run_id: str, version: Version | None) -> dict[str, Any]:
    state = commit_of(f"{REF}/{run_id}", project_root())
    return {
        "commit": tags.get("git.commit", "unknown"),
        "dirty": {"true": True, "false": False}.get(tags.get("git.dirty", "")),
        "changed": tags.get("git.dirty.files", "").split(),
        "snapshot": state or tags.get("git.snapshot", "none"),
        "snapshot_here": bool(state),
        "kept": kept(version) if version else "",
    }


def _data(tags: Mapping[str, str]) -> dict[str, Any]:
    known = tags.get("data.hash", "unknown")
    return {
        "hash": known,
        "split": tags.get("split.strategy", "unknown"),
        "in_cache_now": known in set(present_data()),
    }


def present_data() -> Iterator[str]:
    """The hashes of the data that `split` divided last: of each task, and of both together."""
    tables = (SPLIT / f"{role.task}.csv" for role in ROLES.values())
    files = [path for path in tables if path.is_file()]
    if not files or not (CACHE / "manifest.csv").is_file():
        return
    manifest = read_csv(CACHE / "manifest.csv")
    tasks = [set(read_csv(path)["file"]) for path in files]
    for names in (*tasks, set.union(*tasks)):
        yield data_hash(manifest[manifest["file"].isin(names)])


def _environment(tags: Mapping[str, str]) -> dict[str, Any]:
    known = tags.get("environment", "unknown")
    return {"requirements.txt": known, "same_now": known == environment_hash() != "unknown"}


def _promoted(version: Version | None) -> list[dict[str, str]]:
    """By whom and when a version was made champion, the oldest first."""
    if version is None:
        return []
    entries = champion.history(RegisteredModel(version.name))
    return [
        {"action": entry.action, "who": entry.who, "time": entry.when, "reason": entry.reason}
        for entry in entries
        if entry.done and entry.champion == version.number
    ]


def _base(tags: Mapping[str, str]) -> dict[str, Any] | None:
    run_id = tags.get("base.run_id")
    if not run_id:
        return None
    try:
        return origin(run_id)
    except UserError:
        return {"run": run_id, "version": tags.get("base.model_version"), "gone": True}


def main(reference: str, as_json: bool) -> None:
    """Print the origin of a run or version."""
    lineage = origin(reference)
    click.echo(json.dumps(lineage, indent=2) if as_json else "\n".join(lines(lineage)))


def lines(
    lineage: Mapping[str, Any], indent: str = "", above: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """`origin` in words; of the parameters, those that do not stand `above` with the same value."""
    yield f"{indent}{lineage['version'] or 'run'} {_aliases(lineage)}".rstrip()
    if lineage.get("gone"):
        yield f"{indent}  run          {lineage['run']}, not in this store"
        return
    for name, text in _rows(lineage):
        yield f"{indent}  {name:<12} {text}"
    others = sorted(lineage["params"].items() - (above or {}).items())
    yield f"{indent}  params" + ("" if above is None else ": as above" + ", but" * bool(others))
    yield from (f"{indent}    {key}: {value}" for key, value in others)
    if lineage["base"]:
        yield f"{indent}  base model"
        yield from lines(lineage["base"], indent + "    ", lineage["params"])


def _aliases(lineage: Mapping[str, Any]) -> str:
    return f"({', '.join(lineage['aliases'])})" if lineage.get("aliases") else ""


def _rows(lineage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    code, data, environment = lineage["code"], lineage["data"], lineage["environment"]
    yield (
        "run",
        f"{lineage['run']}, {lineage['status']}, {lineage['started'] or 'deleted from the store'}",
    )
    yield "stage", lineage["stage"] or "unknown"
    if experiment := lineage["experiment"]:
        yield "experiment", experiment["name"] + ("" if experiment["exists"] else " (removed)")
    changed = {True: ", changed: " + " ".join(code["changed"]), False: ", unchanged", None: ""}
    yield "commit", code["commit"] + changed[code["dirty"]]
    yield "snapshot", code["snapshot"] + ("" if code["snapshot_here"] else " (not in this clone)")
    if code["kept"]:
        yield "kept", f"git tag {code['kept']}"
    there = "in data/cache now" if data["in_cache_now"] else "data/cache now holds other data"
    yield "data", f"{data['hash']}, {there}"
    yield "split", data["split"]
    now = "as now" if environment["same_now"] else "not as now"
    yield "environment", f"requirements.txt {environment['requirements.txt']}, {now}"
    machine = {name: value for name, value in lineage["machine"].items() if value}
    yield "machine", ", ".join(f"{name} {value}" for name, value in machine.items()) or "unknown"
    for move in lineage["promoted"]:
        why = f": {move['reason']}" if move["reason"] else ""
        yield "champion", f"{move['action']} by {move['who']}, {move['time'][:19]} UTC{why}"
