"""The metrics of a run: collected, kept while the store is away, sent in batches."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import click
import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

LOST = (MlflowException, OSError)  # a server's and a disk's ways to fail; requests' are OSErrors
PAUSE = 300.0  # seconds before a store that did not answer is asked again
BATCH = 1000  # metrics in one call, MLflow's limit


@dataclass(frozen=True)
class MetricValue:
    """One value of a metric; sent twice, it is stored once: MLflow's key is all four together."""

    key: str
    value: float
    timestamp: int  # milliseconds
    step: int


class MetricBuffer:
    """The metrics of a run: collected, and sent in batches when the store can be reached.

    What is not sent yet stays in `unsent`, which belongs into every checkpoint: a value is sent
    only after a checkpoint has it, so that a training that is taken up again repeats none.

    Args:
        stored: names and steps that a training of the same has sent, whose checkpoint is lost.
    """

    def __init__(self, run_id: str, stored: Collection[tuple[str, int]] = ()) -> None:
        self.run_id = run_id
        self._stored = stored
        self.unsent: list[MetricValue] = []
        self._quiet_until = 0.0

    def add(self, values: Mapping[str, float | None], step: int) -> None:
        """Note `values` of this step; None is no value."""
        now = int(time.time() * 1000)
        self.unsent += [
            MetricValue(key, value, now, step)
            for key, value in values.items()
            if value is not None and (key, step) not in self._stored
        ]

    def send(self) -> None:
        """Send all. A store that does not answer is not asked again for some minutes."""
        if time.monotonic() < self._quiet_until:
            return
        try:
            send(self.run_id, self.unsent)
        except LOST as error:
            self._quiet_until = time.monotonic() + PAUSE
            click.echo(
                f"{mlflow.get_tracking_uri()} does not take metrics ({short(error)}); training "
                "goes on, they are kept and sent later",
                err=True,
            )
        else:
            self.unsent = []

    def finish(self) -> None:
        """Send what is left.

        Raises:
            MlflowException, OSError: the store does not answer.
        """
        send(self.run_id, self.unsent)
        self.unsent = []


def send(run_id: str, entries: Sequence[MetricValue]) -> None:
    """Send `entries`, as many at a time as MLflow takes."""
    client = mlflow.MlflowClient()
    for first in range(0, len(entries), BATCH):
        part = entries[first : first + BATCH]
        client.log_batch(run_id, [Metric(e.key, e.value, e.timestamp, e.step) for e in part])


def short(error: Exception) -> str:
    """The beginning of what `error` says: a lost server's messages fill pages."""
    return str(error).partition("\n")[0][:200]
