"""Runs as they stand in the store, found by MLflow's search words or by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from fishline.tracking.run import CONTEXTS
from fishline.tracking.store import connect, experiment_name


@dataclass(frozen=True)
class Run:
    """A run as it stands in the store, registered or not.

    started:     in UTC
    test_digest: of the images that it was tested on; "" if it logged none
    """

    run_id: str
    status: str
    started: datetime
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    test_digest: str = ""


def runs(condition: str = "") -> list[Run]:
    """The experiment's runs, newest first, that fulfil `condition`, in MLflow's search words."""
    store = connect()
    experiment = store.get_experiment_by_name(experiment_name())
    listed: list[Any] = []
    token = None
    while experiment:
        page = store.search_runs([experiment.experiment_id], condition, page_token=token)
        listed += page
        token = page.token
        if not token:
            break
    return [_run(run) for run in listed]


def get_run(run_id: str) -> Run | None:
    """A run by its whole id; None if the store has none."""
    try:
        return _run(connect().get_run(run_id))
    except MlflowException:
        return None


def _run(run: Any) -> Run:
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    info, data = run.info, run.data
    digest = _test_digest(run.inputs.dataset_inputs)
    return Run(info.run_id, info.status, started, data.tags, data.metrics, data.params, digest)


def _test_digest(inputs: Iterable[Any]) -> str:
    for logged in inputs:
        tags = {tag.key: tag.value for tag in logged.tags}
        if tags.get(MLFLOW_DATASET_CONTEXT) == CONTEXTS["test"]:
            return str(logged.dataset.digest)
    return ""
