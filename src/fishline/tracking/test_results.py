"""What `evaluate` adds to the run that trained a model, and to its registered version."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from fishline.tracking.store import connect
from fishline.tracking.versions import Version


def log_tests(
    record: Mapping[str, Any],
    summary: Mapping[str, float],
    species: Mapping[str, Any],
    files: list[Path],
    predictions: Path,
) -> bool:
    """Add a model's test metrics and pictures to the run that trained it.

    Args:
        record: run_id and model_id.
        summary: the few metrics to compare runs by; each gets a chart in the UI.
        species: details, as one file.
        predictions: a row per test image, as `test/predictions.csv`.

    Returns:
        False if the store has no such run: models can come without the store they were logged to.
    """
    client = connect()
    try:
        client.get_run(record["run_id"])
    except MlflowException:
        return False
    values = {f"test_{name}": value for name, value in summary.items()}
    now = int(time.time() * 1000)
    metrics = [Metric(k, v, now, 0, model_id=record["model_id"]) for k, v in values.items()]
    client.log_batch(record["run_id"], metrics=metrics)
    for path in files:
        client.log_artifact(record["run_id"], str(path), "test")
        if path.name.endswith("-confusion.png"):  # MLflow compares the files of a run's root alone
            client.log_artifact(record["run_id"], str(path))
    client.log_dict(record["run_id"], dict(species), "test/species.json")
    client.log_text(
        record["run_id"], predictions.read_text(encoding="utf-8"), "test/predictions.csv"
    )
    return True


def describe(version: Version, card: str, files: Mapping[Path, str]) -> None:
    """Make `card`, Markdown, the description of a registered version; add `files` to its run.

    Args:
        files: the folder in the run's artifacts that each goes to; "" for the root.
    """
    client = connect()
    client.update_model_version(version.name, str(version.number), description=card)
    for path, folder in files.items():
        client.log_artifact(version.run_id, str(path), folder or None)
