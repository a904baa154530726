"""DVC's queue of experiments: what is in it, and one of it run in a clone of the project.

`dvc exp run --queue` keeps an experiment as a stash: a commit of the workspace with its parameters
and, packed into a file, with what DVC's worker is to do. These functions do what that worker does
(dvc/repo/experiments/queue/tasks.py), wherever the clone is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fishline.core.dvc import dvc, dvc_command, repository
from fishline.core.git import git

RUN = "dvc.repo.experiments.queue.tasks.run_exp"  # what DVC calls such a task
BASELINE = "refs/exps/exec/EXEC_BASELINE"  # where DVC looks for the commit to put a result beneath


@dataclass(frozen=True)
class Queued:
    """An experiment in DVC's queue.

    name:     DVC's or the user's
    revision: the stash's commit
    baseline: the commit that the experiment is shown beneath
    message:  of the experiment's commit, "" for DVC's own
    copies:   files to be copied from the workspace, though git ignores them
    """

    name: str
    revision: str
    baseline: str
    message: str
    copies: tuple[str, ...]

    @property
    def result(self) -> str:
        """The ref that DVC gives to the result."""
        return f"refs/exps/{self.baseline[:2]}/{self.baseline[2:]}/{self.name}"


def queued(root: Path) -> list[Queued]:
    """What is queued in the project of `root` and not started yet, the oldest first."""
    with repository(root) as repo:
        messages = repo.experiments.celery_queue.celery.iter_queued() if repo else ()
        contents = [m.decode() for m in messages if m.headers.get("task") == RUN]
    return [
        Queued(
            entry["name"],
            entry["stash_rev"],
            entry["baseline_rev"],
            options.get("message") or "",
            tuple(options.get("copy_paths") or ()),
        )
        for (entry, *_), options, _ in contents
    ]


def workers(root: Path) -> list[str]:
    """DVC's own workers that take from the queue at the moment: `dvc queue start` starts them."""
    with repository(root) as repo:
        return list(repo.experiments.celery_queue.worker_status()) if repo else []


def remove(root: Path, experiment: Queued) -> None:
    """Take `experiment` out of the queue."""
    dvc("queue", "remove", experiment.name, cwd=root)


def push_data(root: Path, revisions: list[str]) -> None:
    """Send to the DVC remote what these revisions read, where the cache has it, and the run cache.

    Raises:
        DvcException: the remote does not take it.
    """
    with repository(root) as repo:
        if repo:
            repo.push(revs=revisions, workspace=False, run_cache=True)


def pull_command(project: Path) -> list[str]:
    """The command that brings what stages have made; everything, where all are forced to run."""
    from dvc.repo.experiments.executor.base import BaseExecutor

    _, options = BaseExecutor.unpack_repro_args(_packed(project))
    return dvc_command("pull", *(() if options.get("force") else ("dvc.yaml",)))


def run_command(project: Path, experiment: Queued, inside: str, complete: bool) -> list[str]:
    """The command that runs `experiment` in `project`, where git has applied its stash.

    Args:
        inside: the project's folder in its git repository.
        complete: whether the pull brought all. What else an unchanged stage would read then stays
            where it is; otherwise DVC brings what it can, and runs stages.
    """
    from dvc.repo.experiments.executor.base import BaseExecutor, ExecutorInfo

    arguments, options = BaseExecutor.unpack_repro_args(_packed(project))
    options["run_env"] |= {"DVC_ROOT": str(project)}  # not where it was queued
    options |= {"pull": True, "allow_missing": complete}
    BaseExecutor.pack_repro_args(_packed(project), *arguments, **options)
    git("update-ref", BASELINE, experiment.baseline, cwd=project)
    repository_root = git("rev-parse", "--show-toplevel", cwd=project)
    info = project / ".dvc/tmp/queued.run"
    ExecutorInfo(
        git_url="",
        baseline_rev=experiment.baseline,
        location="ray",
        root_dir=repository_root,
        dvc_dir=f"{inside}.dvc",
        name=experiment.name,
        wdir=inside or ".",
    ).dump_json(str(info))
    message = ["--message", experiment.message] if experiment.message else []
    return dvc_command("exp", "exec-run", "--infofile", str(info), *message)


def _packed(project: Path) -> str:
    """The file with what DVC's worker is to do."""
    return str(project / ".dvc/tmp/repro.dat")
