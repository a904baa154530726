"""What was measured on one of a run's datasets: metrics that name it, and pictures of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.entities import Metric, RunTag

from fishline.tracking.provenance import data_hash

if TYPE_CHECKING:
    from fishline.data.decode import Pixels

Dataset = tuple[str, str]  # name and digest


def dataset_of(stage: str, subset: str, table: pd.DataFrame) -> Dataset:
    """What the images in `table` (columns file, sha256) are called in MLflow."""
    return f"{stage}-{subset}", data_hash(table)


def log_measured(
    run_id: str,
    values: Mapping[str, float],
    dataset: Dataset,
    model_id: str | None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Metrics without a step, of a dataset that the run has logged, and tags, in one request.

    MLflow's page of the model `model_id` names the dataset beside each.
    """
    name, digest = dataset
    now = int(time.time() * 1000)
    metrics = [
        Metric(k, v, now, 0, model_id=model_id, dataset_name=name, dataset_digest=digest)
        for k, v in values.items()
    ]
    client = mlflow.MlflowClient()
    client.log_batch(run_id, metrics, tags=[RunTag(k, v) for k, v in (tags or {}).items()])


def log_examples(run_id: str, subset: str, examples: Pixels) -> None:
    """A picture, uint8 (h, w, 3), that MLflow lays beside those of other runs: three requests.

    Its step is 0 in each run, whatever the epochs: what has the same step is compared.
    """
    # Not in the background: there MLflow looks for work once a second, and a stage would wait.
    mlflow.MlflowClient().log_image(
        run_id, examples, key=f"{subset} examples", step=0, synchronous=True
    )
