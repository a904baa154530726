"""`fishline queue`: for who trains many models."""

from __future__ import annotations

import sys

import click

from fishline.cli.help import InProject


@click.group()
def queue() -> None:
    """Run queued experiments on a cluster.

    \b
    dvc exp run --queue -S 'lr=0.001,0.003'
    fishline queue start --ray
    """


@queue.command(cls=InProject)
@click.option(
    "--ray", is_flag=True, help="On the Ray cluster of RAY_ADDRESS, or Ray on this machine."
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="How many at once. By default as many as the cluster has room for.",
)
@click.option(
    "--cpus",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processors of each experiment, and its threads.",
)
@click.option(
    "--gpus",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="GPUs of each experiment; 0.5 shares one between two.",
)
def start(ray: bool, jobs: int | None, cpus: int, gpus: float) -> None:
    """Run what `dvc exp run --queue` has queued.

    Each experiment in a clone of its own, on whatever machine has room. Needs a git remote, a DVC
    remote and an MLflow server. Results come back, as if `dvc queue start` had run them here; what
    failed stays queued, and the exit code is 1.

    \b
    fishline queue start --ray -j 8
    fishline queue start --ray --cpus 4 --gpus 1
    """
    if not ray:
        raise click.UsageError("--ray runs them on a cluster; here, `dvc queue start` does")
    from fishline.cluster.start import main

    sys.exit(1 if main(jobs, cpus, gpus) else 0)
