"""One queued experiment, run on a machine of the cluster: in a clone of its own, from remotes.

Nothing of it is left there but DVC's cache and checkpoints, in ~/.cache/fishline (XDG_CACHE_HOME),
which the next experiment reads. Where the machines share that folder, an experiment whose machine
was lost goes on from its last checkpoint, else from the start; either way as the same MLflow runs.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fishline.cluster.dvc_queue import Queued, pull_command, run_command
from fishline.core.dvc import Settings, configure, dvc_command
from fishline.core.errors import UserError
from fishline.core.git import GitError, git
from fishline.core.processes import run_to_end
from fishline.tracking.provenance import CODE, QUEUED
from fishline.tracking.snapshot import REF

WAITING = "refs/fishline/queue"  # on the git remote: the stashes, while they wait and run
NOT_PASSED_ON = ("DVC_EXP_", "DVC_ROOT", "PYTHONPATH")  # they name the driver's checkout


@dataclass(frozen=True)
class Origin:
    """Where a worker gets the project from.

    url:      of the git remote
    inside:   the project's folder in the repository: "" or with a slash at its end
    remotes:  of DVC
    identity: git's settings, name and email of whoever started
    """

    url: str
    inside: str
    remotes: Settings
    identity: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended.

    failure: why it failed, and the end of what it printed; "" if it did not
    output:  all that it printed
    states:  refs of the states that its runs began with, on the git remote now
    """

    host: str
    seconds: float
    failure: str
    output: str
    states: tuple[str, ...]


def run(experiment: Queued, origin: Origin, cpus: int) -> Outcome:
    """Run `experiment`, with `cpus` threads, and send its results to the remotes.

    Done twice it is done once: what the git remote has already is not run again.
    """
    started, failure = time.monotonic(), ""
    states: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="experiment-", dir=cache_folder()) as scratch:
        log = Path(scratch) / "output.txt"
        log.touch()
        try:
            project = clone(experiment, origin, Path(scratch) / "project")
            if not is_done(experiment, project):
                run_in(project, experiment, origin.inside, _runner(project, log, experiment, cpus))
                states = tuple(git("for-each-ref", "--format=%(refname)", REF, cwd=project).split())
        except (GitError, UserError) as error:
            failure = str(error)
        output = log.read_text(encoding="utf-8", errors="replace")
    return Outcome(socket.gethostname(), time.monotonic() - started, failure, output, states)


def cache_folder() -> Path:
    """Where this machine keeps what experiments of any project share."""
    above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(above) / "fishline"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def clone(experiment: Queued, origin: Origin, folder: Path) -> Path:
    """The project, as it was when `experiment` was queued.

    Raises:
        GitError: the git remote does not have it.
    """
    settings = [word for setting in origin.identity for word in ("--config", setting)]
    git("clone", "--quiet", "--no-checkout", *settings, origin.url, str(folder))
    git("fetch", "--quiet", "origin", f"{WAITING}/{experiment.revision}", cwd=folder)
    git("checkout", "--quiet", "--detach", f"{experiment.revision}^1", cwd=folder)
    git("stash", "apply", "--quiet", experiment.revision, cwd=folder)
    project = folder / origin.inside
    configure(project, {"dir": str(cache_folder() / "dvc")}, origin.remotes)
    checkpoints = cache_folder() / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    (project / ".fishline").mkdir()
    (project / ".fishline/checkpoints").symlink_to(checkpoints)
    return project


def is_done(experiment: Queued, project: Path) -> bool:
    """Whether the git remote has the result.

    Raises:
        UserError: it has an experiment of that name, but from other code or parameters.
    """
    if not git("ls-remote", "origin", experiment.result, cwd=project):
        return False
    git("fetch", "--quiet", "origin", experiment.result, cwd=project)
    if git("diff", "--name-only", experiment.revision, "FETCH_HEAD", "--", *CODE, cwd=project):
        raise UserError(
            f"the git remote has another experiment {experiment.name} of this commit; "
            f"`dvc exp remove --git-remote REMOTE {experiment.name}` deletes that one"
        )
    return True


Runner = Callable[[Sequence[str]], int]


def run_in(project: Path, experiment: Queued, inside: str, execute: Runner) -> None:
    """Bring the data, run the stages, send the results; the experiment's own ref last.

    Raises:
        GitError: the git remote does not take them.
        UserError: a command failed; `execute` has kept what it said.
    """
    complete = execute(pull_command(project)) == 0
    commands = [
        run_command(project, experiment, inside, complete),
        dvc_command("push", "--run-cache"),
        ["git", "push", "--quiet", "origin", f"+{REF}/*:{REF}/*"],
        dvc_command("exp", "push", "--no-cache", "origin", experiment.result),
    ]
    for words in commands:
        if code := execute(words):
            raise UserError(f"`{' '.join(words[-3:])}` ended with exit code {code}")


def _runner(project: Path, log: Path, experiment: Queued, cpus: int) -> Runner:
    """A function that runs a command in `project`, its output added to `log`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "OMP_NUM_THREADS": str(cpus),  # Ray says 1 where no number of processors is asked for
        QUEUED: experiment.revision,
    }

    def execute(words: Sequence[str]) -> int:
        with log.open("ab") as output:
            return run_to_end(words, project, environment, output, output)

    return execute
