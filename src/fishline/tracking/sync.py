"""`fishline track`: what trainings could not send to the tracking store, and sending it."""

from __future__ import annotations

import click

from fishline.core.errors import UserError
from fishline.tracking import store
from fishline.tracking.checkpoints import kept
from fishline.tracking.metric_buffer import LOST, MetricValue, send


def sync() -> None:
    """Send the metrics that kept checkpoints hold and the store did not take.

    A training under way sends its own.

    Raises:
        UserError: the store cannot be reached; everything stays where it is.
    """
    sent = 0
    for checkpoint in kept():
        with checkpoint.held() as held:
            state = checkpoint.load() if held else None
            if not state or not state["unsent"]:
                continue
            sent += _send(state["run_id"], [MetricValue(*entry) for entry in state["unsent"]])
            checkpoint.save(state | {"unsent": []})
    click.echo(f"{sent} values sent to {store.tracking_uri()}" if sent else "nothing to send")


def _send(run_id: str, entries: list[MetricValue]) -> int:
    store.connect()
    try:
        send(run_id, entries)
    except LOST as error:
        raise UserError(
            f"{store.tracking_uri()} does not take the metrics of run {run_id}: {error}\n"
            "They are kept. Is this the store that the training began with (MLFLOW_TRACKING_URI)?"
        ) from None
    return len(entries)
