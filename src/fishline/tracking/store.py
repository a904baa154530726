"""The tracking store: where it is, a client for it, what it is called when it fails.

The store is MLFLOW_TRACKING_URI where it is set, else a SQLite file in the main checkout, so that
runs of experiments in temporary folders outlive them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # else an absent server costs minutes

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException

from fishline.core.errors import UserError
from fishline.core.roles import BASE, FINETUNED
from fishline.tracking.metric_buffer import LOST, short
from fishline.tracking.provenance import project_root
from fishline.tracking.sqlite import ensure_database, sqlite_file, why_unusable

# What MLflow does to its tables is not what a stage's reader looks for.
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

COLUMNS = [  # of the table of runs, in a saved view
    "attributes.`Models`",
    "metrics.`kept_val_accuracy`",
    "metrics.`test_accuracy`",
    "metrics.`test_accuracy_low`",
    "metrics.`test_accuracy_high`",
    "metrics.`test_worst_recall`",
    "metrics.`test_calibration_error`",
    "tags.`split.strategy`",
    "tags.`dvc.exp`",
]


def _view(name: str, stage: str) -> str:
    """What the UI offers at *Views*, as it saves it itself."""
    state = {"searchFilter": f"tags.`dvc.stage` = '{stage}'", "selectedColumns": COLUMNS}
    return json.dumps({"name": name, "createdAt": 0, "state": json.dumps(state)})


EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # which of its faces the UI shows
    "mlflow.experiment.primaryMetric.name": "test_accuracy",
    "mlflow.sharedViewState.base": _view("Base models", BASE.stage),
    "mlflow.sharedViewState.finetuned": _view("Fine-tuned models", FINETUNED.stage),
    "mlflow.note.content": (
        "Trainings of the fish species classifier. *Views*, at the top right, has a table for each "
        "model, with the columns that matter. Runs named train-base are of the base species, "
        "finetune of the new ones, curve of few photographs of these, compare of recipes over "
        "seeds. Compare `test_accuracy` only between runs of one stage with the same test dataset, "
        "and see the tag `split.strategy`: with `random` or `stratified`, copies of training "
        "photographs may be among the test images."
    ),
}


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store in the main checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


def experiment_name() -> str:
    """MLFLOW_EXPERIMENT_NAME, or fishline."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "fishline"


def store_lock() -> FileLock:
    """Held while a store's tables, experiment or registered models are created.

    MLflow does none of these atomically: of several processes that start on a store that does
    not exist yet, all but one fail.
    """
    return FileLock(project_root() / "mlflow.db.lock")


def connect() -> mlflow.MlflowClient:
    """A client for the store, which is made, with the experiment in it, if it is not there.

    Raises:
        UserError: the store cannot be reached or used.
    """
    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    name = experiment_name()
    try:
        if file := sqlite_file(uri):
            ensure_database(file, _artifact_folder())
        with store_lock():
            client = mlflow.MlflowClient()  # makes the tables of a new store
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                _create_experiment(client, name, uri)
    except UserError:
        raise
    except Exception as error:  # each kind of store fails in its own ways
        raise unusable(error) from None
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment '{name}' in {uri} is deleted; "
            f"`mlflow experiments restore -x {experiment.experiment_id}` brings it back"
        )
    mlflow.set_experiment(name)
    return client


def _create_experiment(client: mlflow.MlflowClient, name: str, uri: str) -> None:
    try:
        client.create_experiment(name, _artifact_root(uri), EXPERIMENT_TAGS)
    except MlflowException:  # another machine may have done so: its processes have another lock
        if client.get_experiment_by_name(name) is None:
            raise


def _artifact_root(uri: str) -> str | None:
    # A server decides itself. A database alone would keep a path relative to this process's
    # working directory, which for a queued experiment is a temporary folder.
    if urlparse(uri).scheme in ("http", "https", "databricks"):
        return None
    return _artifact_folder()


def _artifact_folder() -> str:
    return (project_root() / "mlartifacts").as_uri()


def unusable(error: Exception) -> UserError:
    """What is wrong with the store, where it is, and what to do."""
    uri = tracking_uri()
    file = sqlite_file(uri)
    message = (
        why_unusable(file, str(error))
        if file
        else f"the tracking store {uri} cannot be used: {error}"
    )
    if os.environ.get("MLFLOW_TRACKING_URI"):
        message += "\nCheck MLFLOW_TRACKING_URI, or unset it to use mlflow.db in the project."
    return UserError(message)


KEPT = (
    "The training is done and kept in .fishline/checkpoints. When that is mended, `dvc repro` "
    "stores the model and its metrics without training again."
)
NOT_KEPT = (
    "No checkpoint holds the finished training. When that is mended, `dvc repro` trains on from "
    "the last checkpoint, or anew if there is none."
)


@contextmanager
def needs_store(kept: bool) -> Iterator[None]:
    """Make the loss of the store, where it cannot be done without, a message.

    Args:
        kept: whether a checkpoint holds the finished training.

    Raises:
        UserError: the stage can be run again.
    """
    try:
        yield
    except LOST as error:
        raise UserError(
            f"the trained model cannot be stored, here or in {tracking_uri()}: {short(error)}\n"
            + (KEPT if kept else NOT_KEPT)
        ) from None
