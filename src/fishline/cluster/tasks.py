"""Experiments as tasks of Ray's.

Ray finds the machine, and runs a task again, elsewhere and once, whose machine was lost
(https://docs.ray.io/en/latest/ray-core/fault_tolerance/tasks.html).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import click

from fishline.cluster.dvc_queue import Queued
from fishline.cluster.experiment import Origin, Outcome, run
from fishline.core.text import many

RETRIES = 1  # after the loss of a machine
PATIENCE = 60.0  # seconds for experiments that are interrupted to end in order
Ended = Generator[tuple[Queued, Outcome], None, None]


def outcomes(
    ray: Any, experiments: Sequence[Queued], origin: Origin, jobs: int, cpus: int, gpus: float
) -> Ended:
    """Experiments as they end, never more than `jobs` at once.

    What runs when this is closed is interrupted.

    Args:
        cpus, gpus: what an experiment needs; its threads are as many as its processors.
    """
    _say_where(ray, len(experiments), cpus, gpus)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(run)

    def submit(experiment: Queued) -> Any:
        return task.options(name=experiment.name).remote(experiment, origin, cpus)

    return _as_they_end(ray, experiments, submit, jobs)


def _say_where(ray: Any, count: int, cpus: int, gpus: float) -> None:
    """Ray itself waits without a word for a machine that may never come."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    click.echo(f"{many(count, 'experiment')} on {many(len(machines), 'machine')}", err=True)
    if not any(m.get("CPU", 0) >= cpus and m.get("GPU", 0) >= gpus for m in machines):
        wanted = many(cpus, "processor") + (f" and {gpus:g} GPU" if gpus else "")
        click.echo(f"no machine of the cluster has {wanted} now; waiting for one", err=True)


def _as_they_end(
    ray: Any, experiments: Sequence[Queued], submit: Callable[[Queued], Any], jobs: int
) -> Ended:
    """What `submit` starts, as it ends."""
    waiting, running = deque(experiments), dict[Any, Queued]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                experiment = waiting.popleft()
                running[submit(experiment)] = experiment
            (done,), _ = ray.wait(list(running))
            yield running.pop(done), _outcome(ray, done)
    finally:
        for task in running:
            ray.cancel(task)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=PATIENCE)


def _outcome(ray: Any, done: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(done)
    except ray.exceptions.RayError as error:  # a machine was lost twice, or cannot run this at all
        return Outcome("the cluster", 0.0, type(error).__name__, str(error), ())
    return outcome
