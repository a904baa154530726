"""What `evaluate` adds to the run that trained a model, and to its registered version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from fishline.tracking.measurements import Dataset, log_examples, log_measured
from fishline.tracking.store import connect
from fishline.tracking.versions import Version

if TYPE_CHECKING:
    from fishline.data.decode import Pixels

TABLE = "eval_results_table.json"  # as `mlflow.evaluate` calls what MLflow's evaluation view shows


def log_tests(
    record: Mapping[str, Any],
    summary: Mapping[str, float],
    species: Mapping[str, Any],
    files: list[Path],
    predictions: pd.DataFrame,
    dataset: Dataset,
    examples: Pixels,
) -> bool:
    """Add a model's test metrics and pictures to the run that trained it.

    Args:
        record: run_id and model_id.
        summary: the few metrics to compare runs by; each gets a chart in the UI.
        species: details, as one file.
        predictions: a row per test image, see TestRun: whole as `test/predictions.csv`, its answers
            as the table that MLflow's evaluation view lays beside those of other runs.
        dataset: the test images'.
        examples: a picture of some, uint8 (h, w, 3).

    Returns:
        False if the store has no such run: models can come without the store they were logged to.
    """
    client, run_id = connect(), record["run_id"]
    try:
        client.get_run(run_id)
    except MlflowException:
        return False
    values = {f"test_{name}": value for name, value in summary.items()}
    tables = {MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": TABLE, "type": "table"}])}
    log_measured(run_id, values, dataset, record["model_id"], tables)
    for path in files:
        client.log_artifact(run_id, str(path), "test")
        if path.name.endswith("-confusion.png"):  # MLflow compares the files of a run's root alone
            client.log_artifact(run_id, str(path))
    log_examples(run_id, "test", examples)
    client.log_dict(run_id, dict(species), "test/species.json")
    client.log_text(run_id, predictions.to_csv(index=False), "test/predictions.csv")
    # Not by `log_table`, which appends to the table of an evaluation before.
    answers = predictions[["file", "answer", "species", "predicted"]]
    client.log_text(run_id, answers.to_json(orient="split", index=False), TABLE)
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
