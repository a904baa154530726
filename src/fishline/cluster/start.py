"""`fishline queue start --ray`: DVC's queue on a Ray cluster.

What goes to a machine and comes back passes through git's and DVC's remotes and the tracking
server. An experiment leaves the queue when its result is here: whatever stops this, the next start
goes on with the others.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import click
from tqdm import tqdm

from fishline.cluster import dvc_queue
from fishline.cluster.dvc_queue import Queued
from fishline.cluster.experiment import WAITING, Outcome
from fishline.cluster.requirements import origin
from fishline.cluster.tasks import Ended, outcomes
from fishline.core.dvc import dvc, exp_git_remote
from fishline.core.engine import connect_to_ray
from fishline.core.errors import UserError
from fishline.core.files import one_at_a_time, write_text
from fishline.core.git import GitError, git
from fishline.tracking.provenance import project_root

SHOWN = 12  # lines of a failed experiment's output


def main(jobs: int | None, cpus: int, gpus: float) -> int:
    """Run all that is queued, at most `jobs` at once; the number of experiments that failed.

    Args:
        cpus: processors, and threads, of an experiment.
        gpus: its GPUs; a part of one if others may use it, too.

    Raises:
        UserError: something that this needs is missing, or the queue is being run already.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    root = project_root()
    with _alone(root):
        experiments = dvc_queue.queued(root)
        if not experiments:
            click.echo("nothing is queued; `dvc exp run --queue -S KEY=VALUE` queues an experiment")
            return 0
        source = origin(root)
        _require_runnable(root, experiments)
        ray = connect_to_ray(shared=False)
        with _waiting(root, experiments):
            ended = outcomes(ray, experiments, source, jobs or len(experiments), cpus, gpus)
            failed = _collect(root, ended, len(experiments))
    if failed:
        click.echo(f"failed, and still in the queue: {', '.join(failed)}", err=True)
    return len(failed)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """While no other of these, and none of DVC's workers, takes from the queue.

    Raises:
        UserError: one does.
    """
    busy = "another `fishline queue start` runs this queue"
    with one_at_a_time(root / ".fishline/queue.lock", busy):
        if dvc_queue.workers(root):
            raise UserError("DVC's workers run this queue; `dvc queue stop` ends them")
        yield


def _require_runnable(root: Path, experiments: Sequence[Queued]) -> None:
    """See that what is queued can be made elsewhere.

    Raises:
        UserError: an experiment needs files that neither git nor DVC has.
    """
    copying = [experiment.name for experiment in experiments if experiment.copies]
    if copying:
        raise UserError(
            f"queued with --copy-paths: {', '.join(copying)}. Files that neither git nor DVC has "
            "do not travel; `dvc queue remove` takes an experiment out of the queue"
        )


@contextmanager
def _waiting(root: Path, experiments: Sequence[Queued]) -> Iterator[None]:
    """While the remotes have what the experiments begin with.

    Raises:
        UserError: a remote does not take it.
    """
    from dvc.exceptions import DvcException

    remote = exp_git_remote(root)
    refs = [f"{WAITING}/{experiment.revision}" for experiment in experiments]
    pairs = [f"{e.revision}:{ref}" for e, ref in zip(experiments, refs, strict=True)]
    try:
        dvc_queue.push_data(root, [experiment.revision for experiment in experiments])
        git("push", "--quiet", "--no-verify", remote, *pairs, cwd=root)
    except (DvcException, GitError, OSError) as error:
        raise UserError(f"the experiments cannot be sent: {error}") from None
    try:
        yield
    finally:
        with suppress(GitError):
            git("push", "--quiet", "--no-verify", "--delete", remote, *refs, cwd=root)


def _collect(root: Path, ended: Ended, count: int) -> list[str]:
    """Bring each result here as it comes, and say so; the names of those that failed."""
    failed = []
    with closing(ended), tqdm(total=count, unit="experiment", disable=None) as bar:
        for experiment, outcome in ended:
            reason = outcome.failure or _bring(root, experiment, outcome)
            how = f"{'failed' if reason else 'done'}, {outcome.seconds:.0f} s on {outcome.host}"
            bar.update()
            bar.write(f"{experiment.name}: {how}")
            if reason:
                failed.append(experiment.name)
                bar.write(_explanation(root, experiment, reason, outcome.output))
    return failed


def _explanation(root: Path, experiment: Queued, reason: str, output: str) -> str:
    """Why an experiment failed: the end of what it printed; all of that is kept in a file."""
    file = root / f".fishline/queue/{experiment.name}.txt"
    write_text(file, output)
    lines = [*output.splitlines()[-SHOWN:], reason, f"(all that it printed: {file})"]
    return "\n".join(f"    {line}" for line in lines)


def _bring(root: Path, experiment: Queued, outcome: Outcome) -> str:
    """Pull a result, then take it out of the queue; why it cannot be pulled, or ""."""
    remote = exp_git_remote(root)
    pulled = dvc("exp", "pull", remote, experiment.result, cwd=root)
    if pulled.returncode:
        return pulled.stderr.strip()
    if outcome.states:
        with suppress(GitError):  # `fishline reproduce` says how to get one
            git("fetch", "--quiet", remote, *(f"+{r}:{r}" for r in outcome.states), cwd=root)
    dvc_queue.remove(root, experiment)
    return ""
