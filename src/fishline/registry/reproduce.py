"""Train a registered version again from what is kept of it: `fishline reproduce VERSION`.

In a clone below `.dvc/tmp`, with its own tracking store. DVC's cache is shared for reading: data
comes from there, and nothing that the clone computes goes there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from fishline.core.dvc import dvc_command
from fishline.core.errors import UserError
from fishline.core.files import read_json
from fishline.core.git import commit_of
from fishline.core.parallel import usable_cores
from fishline.core.paths import METRICS, MODELS
from fishline.core.processes import run_to_end
from fishline.registry.clone import clone, fetch_data
from fishline.registry.git_tags import kept
from fishline.tracking import versions
from fishline.tracking.provenance import environment_hash, machine_tags, project_root
from fishline.tracking.snapshot import REF
from fishline.tracking.versions import Version

STAGE = "evaluate"  # the last one that a model's test metrics need
NOT_INHERITED = ("DVC_", "MLFLOW_", "GIT_", "PYTHONPATH")  # by the clone: they name this checkout
INHERITED = "DVC_NO_ANALYTICS"  # but for this wish


@dataclass(frozen=True)
class Result:
    """What came out.

    differences: from the registered version, in words; none if it is the same
    warnings:    what is not as it was then
    seconds:     that the stages took
    """

    version: str
    commit: str
    differences: list[str]
    warnings: list[str]
    seconds: float


def main(reference: str, keep: Path | None, as_json: bool) -> None:
    """Reproduce a version and print what came out; ends the process with 1 if it differs.

    Raises:
        UserError: code or data of then are not to be had, or a stage failed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # removes the clone, too
    version = versions.find(reference)
    ref = state_of(version)
    warnings = list(changes(version.tags, machine_tags() | {"environment": environment_hash()}))
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    with tempfile.TemporaryDirectory() as files, _folder(keep) as folder:
        registered = versions.fetch(version, Path(files))
        place = clone(project_root(), ref, folder)
        fetch_data(place, STAGE)
        click.echo(f"{version} from {commit_of('HEAD', place)} in {place}", err=True)
        started = time.monotonic()
        run_stages(place, version.tags, as_json)
        seconds = time.monotonic() - started
        differences = [*compare_files(registered, place / MODELS / version.model),
                       *compare_metrics(version, place / METRICS / "evaluate.json")]  # fmt: skip
        result = Result(
            str(version), commit_of("HEAD", place), differences, warnings, round(seconds, 1)
        )
    _say(result, as_json)
    if differences:
        sys.exit(1)


def state_of(version: Version) -> str:
    """The git ref with the code and parameters that `version` was trained with.

    Raises:
        UserError: none was kept, or it is not in this clone.
    """
    for ref in (f"{REF}/{version.run_id}", f"refs/tags/{kept(version)}"):
        if commit_of(ref, project_root()):
            return ref
    known = version.tags.get("git.snapshot", "none")
    if known == "none":
        raise UserError(
            f"{version} cannot be reproduced: no state of its code was kept when it was trained "
            "(no git repository, or no commit in it)"
        )
    raise UserError(
        f"{version} cannot be reproduced here: commit {known} with its code is not in this clone. "
        f"`git fetch THERE '{REF}/*:{REF}/*'` brings it from the clone that trained it"
    )


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """What may give other bytes: whatever of the machine is not as in a run's tags."""
    names = {"environment": "requirements.txt", "gpu": "GPU", "cpu": "processor"}
    for key in ("environment", "python", "torch", "cpu", "gpu"):
        name = names.get(key, key)
        if key not in then:
            yield f"{name} of then is not recorded"
        elif then[key] != now[key]:
            yield f"{name} was {then[key]}, is {now[key]}"
    threads = then.get("threads", "")
    if not threads:
        yield "the number of threads of then is not recorded"
    elif int(threads) > usable_cores():
        yield f"{threads} threads were used; {usable_cores()} cores are here: slow, and the same"


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A folder that is not there yet, removed afterwards unless it is to be kept."""
    if keep is not None:
        if keep.exists():
            raise UserError(f"{keep} is there already; name a folder that is not")
        yield keep.resolve()
        return
    scratch = project_root() / ".dvc/tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reproduce-", dir=scratch) as folder:
        yield Path(folder) / "project"


def run_stages(place: Path, tags: Mapping[str, str], quiet: bool) -> None:
    """Run the graph in `place`, every stage of it, with its output to be seen.

    Raises:
        UserError: a stage failed.
    """
    code = run_to_end(
        dvc_command("repro", "--no-run-cache", "--no-commit", STAGE),
        cwd=place,
        env=_environment(place, tags.get("threads", "")),
        stdout=sys.stderr if quiet else None,
    )
    if code:
        raise UserError(f"the stages did not run to their end in {place}; see above")


def _environment(place: Path, threads: str) -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == INHERITED or not name.startswith(NOT_INHERITED)
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment["PYTHONPATH"] = str(place / "src")
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{place / 'mlflow.db'}"
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    return environment


def compare_files(registered: Path, made: Path) -> Iterator[str]:
    """How the files of the model in `made` differ from those that were registered."""
    for path in sorted(registered.iterdir()):
        then, now = _digest(path), _digest(made / path.name)
        if then != now:
            yield f"{path.name} had SHA-256 {then}, has {now}"


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "none: it is missing"


def compare_metrics(version: Version, made: Path) -> Iterator[str]:
    """How the test metrics in `made` differ from those of the run."""
    now: dict[str, Any] = read_json(made)[version.model]
    common = {key: f"test_{key}" for key in now if f"test_{key}" in version.metrics}
    if not common:
        yield "the run has no test metrics to compare with"
    for key, name in common.items():
        if now[key] != version.metrics[name]:
            yield f"{name} was {version.metrics[name]}, is {now[key]}"


def _say(result: Result, as_json: bool) -> None:
    same = not result.differences
    if as_json:
        click.echo(json.dumps(asdict(result) | {"same": same}, indent=2))
        return
    for difference in result.differences:
        click.echo(f"differs: {difference}")
    what = "the same bytes and test metrics" if same else "not the same"
    click.echo(f"{result.version}, trained again in {result.seconds:.0f} s: {what}")
