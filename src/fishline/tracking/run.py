"""One training as one MLflow run: started or continued, logged to, ended."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import mlflow
import mlflow.data.pandas_dataset
import pandas as pd
import psutil
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException

from fishline.tracking.measurements import dataset_of
from fishline.tracking.metric_buffer import LOST, MetricBuffer, short
from fishline.tracking.store import connect, experiment_name, tracking_uri, unusable

if TYPE_CHECKING:
    from fishline.data.dataset import Images  # loads torch

FINGERPRINT = "fishline.fingerprint"  # tag: what a run trains, see checkpoints.py
PROCESS = "fishline.process"  # tag: host, pid and start of the process that a run belongs to
CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}


@contextmanager
def stage_run(
    stage: str,
    params: Mapping[str, Any],
    subsets: Mapping[str, Images],
    tags: Mapping[str, str],
    key: str = "",
    run_id: str | None = None,
    system_metrics: bool = False,
) -> Iterator[MetricBuffer]:
    """One training stage as one MLflow run, with its parameters, tags and data.

    The run ends as FINISHED, as FAILED on an error, as KILLED on Ctrl-C or SIGTERM.

    Args:
        key: the training's fingerprint. A run of the same that broke off is continued.
        run_id: the run that a checkpoint belongs to; continued if the store has it.
    """
    client = connect()
    try:
        end_stale_runs(client)
        known = _known(client, tags, key, run_id)
        stored = _stored(client, known) if known and known != run_id else frozenset()
        with _unseeded():
            run = mlflow.start_run(known, log_system_metrics=system_metrics)
        mlflow.set_tags({**tags, PROCESS: _process(psutil.Process()), FINGERPRINT: key})
        if known is None:
            nice = tags.get("dvc.exp", run.info.run_name)
            client.update_run(run.info.run_id, name=f"{stage} · {nice}")
        mlflow.log_params(
            {k: ", ".join(v) if isinstance(v, tuple) else v for k, v in params.items()}
        )
        for subset, images in subsets.items():
            _log_dataset(stage, subset, images)
    except LOST as error:
        raise unusable(error) from None
    status = "FAILED"
    try:
        yield MetricBuffer(run.info.run_id, stored)
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        _end(status)


def _known(
    client: mlflow.MlflowClient, tags: Mapping[str, str], key: str, run_id: str | None
) -> str | None:
    """The run to continue.

    The checkpoint's; of an experiment that a cluster runs again, as its machine was lost, the one
    of the first time, whatever became of it; or one that broke off before its first metric.
    """
    if run_id:
        try:
            run = client.get_run(run_id)
        except MlflowException:
            return None
        return run_id if run.info.lifecycle_stage == "active" else None
    experiment = client.get_experiment_by_name(experiment_name())
    if experiment is None:
        return None
    if revision := tags.get("dvc.queued"):
        same = f"tags.`dvc.queued` = '{revision}' AND tags.`dvc.stage` = '{tags['dvc.stage']}'"
        first = client.search_runs([experiment.experiment_id], same)
        return first[0].info.run_id if first else None
    if not key:
        return None
    runs = client.search_runs([experiment.experiment_id], f"tags.`{FINGERPRINT}` = '{key}'")
    broken = [r for r in runs if r.info.status in ("KILLED", "FAILED") and not r.data.metrics]
    return broken[0].info.run_id if broken else None


def _stored(client: mlflow.MlflowClient, run_id: str) -> frozenset[tuple[str, int]]:
    """Names and steps of the metrics that a run has."""
    names = client.get_run(run_id).data.metrics
    return frozenset(
        (name, value.step) for name in names for value in client.get_metric_history(run_id, name)
    )


def _end(status: str) -> None:
    try:
        mlflow.end_run(status)
    except LOST as error:
        if status == "FINISHED":
            raise
        click.echo(f"the run stays open in {tracking_uri()}: {short(error)}", err=True)


@contextmanager
def _unseeded() -> Iterator[None]:
    # MLflow draws a run's name from the global generator: seeded, all runs have the same name.
    state = random.getstate()
    random.seed()
    try:
        yield
    finally:
        random.setstate(state)


def _log_dataset(stage: str, subset: str, images: Images) -> None:
    table = images.table[["file", "species", "original", "sha256"]].astype(str)
    name, digest = dataset_of(stage, subset, table)
    dataset = mlflow.data.pandas_dataset.from_pandas(
        table, name=name, targets="species", digest=digest
    )
    mlflow.log_input(dataset, context=CONTEXTS[subset])


def note(tags: Mapping[str, str]) -> None:
    """Tags of the active run; if the store is away just then, the registered version has them."""
    with suppress(*LOST):
        mlflow.set_tags(dict(tags))


def log_metrics(values: Mapping[str, float]) -> None:
    """Metrics of the active run that have no step."""
    mlflow.log_metrics(dict(values))


def log_audit(audit: Mapping[str, Any]) -> None:
    """Log what `split` found of its own leaks, whole as `split.json` and its heart as metrics."""
    mlflow.log_dict(dict(audit), "split.json")
    copies = "test_images_with_a_copy_in_train"
    mlflow.log_metrics({copies: audit[copies], f"{copies}_if_random": audit["random"][copies]})


def log_split(subsets: Mapping[str, Images]) -> None:
    """Log which image was used for what, as `split.csv`: what a later comparison must know."""
    columns = ["file", "sha256", "original", "group", "species", "part"]
    whole = pd.concat([images.table[columns] for images in subsets.values()])
    mlflow.log_text(whole.to_csv(index=False), "split.csv")


def log_text(text: str, file: str) -> None:
    """Log a text as a file of the active run."""
    mlflow.log_text(text, file)


def log_files(paths: list[Path], folder: str) -> None:
    """Add files to the active run, below `folder`."""
    for path in paths:
        mlflow.log_artifact(str(path), folder)


def _process(process: psutil.Process) -> str:
    return f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"


def end_stale_runs(client: mlflow.MlflowClient) -> None:
    """Mark as KILLED the RUNNING runs of this machine whose process is gone (kill -9, power)."""
    experiment = client.get_experiment_by_name(experiment_name())
    if experiment is None:
        return
    running = client.search_runs(
        [experiment.experiment_id],
        f"attributes.status = 'RUNNING' AND tags.`{PROCESS}` LIKE '{socket.gethostname()} %'",
    )
    for run in running:
        pid = int(run.data.tags[PROCESS].split()[1])
        try:
            alive = _process(psutil.Process(pid)) == run.data.tags[PROCESS]
        except psutil.NoSuchProcess:
            alive = False
        if not alive:
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))
