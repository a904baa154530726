"""What both training stages do: train, save, plot, log and register one model."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from statistics import median
from typing import Any

import click
import pandas as pd

from fishline.core.files import read_json, remaking, require, write_json, write_text
from fishline.core.params import Params
from fishline.core.paths import METRICS, MODELS, PLOTS, run_record
from fishline.core.roles import ROLES, Role
from fishline.core.training_params import Device
from fishline.evaluation import figures
from fishline.evaluation.examples import draw_examples
from fishline.evaluation.metrics import classification_report
from fishline.models import transfer
from fishline.models.devices import find_device
from fishline.models.trained_model import TrainedModel
from fishline.serving import log_model
from fishline.tracking import run as tracking_run
from fishline.tracking import store, versions
from fishline.tracking.checkpoints import Checkpoint, fingerprint, prune
from fishline.tracking.measurements import log_examples
from fishline.tracking.metric_buffer import MetricBuffer
from fishline.tracking.provenance import data_hash, run_tags, stage_params
from fishline.tracking.snapshot import snapshot
from fishline.training import distributed
from fishline.training.calibrate import calibrate
from fishline.training.loop import Epoch, chosen_epoch
from fishline.training.sampling import epoch_length
from fishline.training.session import (
    TrainingJob,
    TrainingSession,
    restore_metrics,
    resumable,
)


def run(job: TrainingJob, params: Params) -> None:
    """Do `job` as one tracked run and register its model; take it up again where it broke off.

    Writes `models/<model>/`, `models/<model>.run.json`, `metrics/<stage>.json` and
    `plots/<stage>.csv` and `.png`. Of several processes the first alone writes and logs. SIGTERM
    ends it as Ctrl-C does.
    """
    with _ending_on_sigterm(), distributed.processes(find_device(job.settings.device)):
        if distributed.is_first():
            _run_first(job, params)
        else:
            TrainingSession(job).train()


def skip(role: Role, why: str, device: Device) -> None:
    """Write what DVC expects of a training without species: no model, and curves of no epoch."""
    with distributed.processes(find_device(device)):
        if distributed.is_first():
            with remaking(MODELS / role.folder) as new:
                write_text(new / "README.md", f"{why}\n")  # DVC warns of an empty folder
            write_json(run_record(role.folder), {})
            write_json(METRICS / f"{role.stage}.json", {})
            _curves(role.stage, [])
            click.echo(f"{role.stage}: {why}")


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Leave in order on SIGTERM: Ctrl-C does not reach what a shell started in the background."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run_first(job: TrainingJob, params: Params) -> None:
    tables = [images.table for images in job.subsets.values()]
    tags = {**run_tags(job.stage, tables, job.config.split), **job.tags}
    audit = _audit(job.model, params)
    logged = stage_params(job.stage, params)
    key = fingerprint(
        {"stage": job.stage, "params": logged, "origin": job.origin, "data": tags["data.hash"]}
        | {"subsets": {subset: data_hash(images.table) for subset, images in job.subsets.items()}},
        distributed.world_size(),
    )
    checkpoint = Checkpoint(job.stage, key, job.settings.checkpoint_minutes)
    prune(job.stage, checkpoint)
    with checkpoint.held() as held:
        saved = resumable(job, checkpoint) if held else None
        run_id = saved["run_id"] if saved else None
        with tracking_run.stage_run(
            job.stage, logged, job.subsets, tags, key, run_id, params.system_metrics
        ) as log:
            tags["git.snapshot"] = snapshot(log.run_id)
            tracking_run.note({"git.snapshot": tags["git.snapshot"]})
            if saved:
                restore_metrics(log, saved)
            session = TrainingSession(job, log, checkpoint if held else None)
            history = session.train(saved)
            with store.needs_store(session.is_kept):
                tracking_run.log_audit(audit)
                tracking_run.log_split(job.subsets)
                record = _publish(job, log, history, logged, tags, params.known_recall)
                write_json(run_record(job.model), record)
        if held:
            checkpoint.finish(run_record(job.model))
    kept = chosen_epoch(history, job.settings.keep)
    click.echo(
        f"{job.stage}: validation accuracy {kept.val_accuracy:.3f} "
        f"(epoch {kept.epoch} of {len(history)}); "
        f"registered as {record['name']} version {record['version']}"
    )


def _publish(
    job: TrainingJob,
    log: MetricBuffer,
    history: list[Epoch],
    logged: dict[str, Any],
    tags: Mapping[str, str],
    recall: float,
) -> dict[str, Any]:
    """Write the model and its curves, log and register them; the record of it."""
    log.finish()
    folder = MODELS / job.model
    model = calibrate(TrainedModel(job.network, job.config), job.subsets, recall)
    model.save(folder)
    kept = chosen_epoch(history, job.settings.keep)
    write_json(METRICS / f"{job.stage}.json", _summary(kept))
    values = {"kept_epoch": kept.epoch, "kept_val_accuracy": kept.val_accuracy}
    tracking_run.log_metrics(values | _cost(job, history))
    tracking_run.log_files(_curves(job.stage, history), "plots")
    _log_validation(job, model, log.run_id)
    train = job.subsets["train"]
    example = train.pixels[train.rows[:1]].numpy()[0]
    origin = {
        "run": log.run_id,
        "git_commit": tags["git.commit"],
        "data_hash": tags["data.hash"],
    }
    model_id = log_model.log_model(log.run_id, model, example, folder, logged, origin)
    version = versions.register(job.model, log.run_id, model_id, tags)
    name = ROLES[job.model].registered
    return {"run_id": log.run_id, "model_id": model_id, "name": name, "version": version}


def _audit(model: str, params: Params) -> dict[str, Any]:
    """What `split` found of its own leaks; of a model of two tasks the sums, and each task's."""
    audits: dict[str, dict[str, Any]] = read_json(require(METRICS / "split.json", "split"))
    chosen = {task: audits[task] for task in ROLES[model].tasks(params)}
    if len(chosen) == 1:
        return chosen.popitem()[1]
    copies = "test_images_with_a_copy_in_train"
    by_chance = sum(audit["random"][copies] for audit in chosen.values())
    here = sum(audit[copies] for audit in chosen.values())
    return {copies: here, "random": {copies: by_chance}, **chosen}


def _summary(kept: Epoch) -> dict[str, float]:
    # No times here: a metrics file that differs with every run would hide what changed.
    names = ("epoch", "train_loss", "val_loss", "val_accuracy")
    return {name: getattr(kept, name) for name in names}


def _cost(job: TrainingJob, history: list[Epoch]) -> dict[str, float]:
    """What learnt, and how long an epoch took, if any was timed."""
    images = epoch_length(job.subsets["train"].labels, job.settings.balance)
    learnt = [p for p in job.trainable.parameters() if p.requires_grad]
    cost: dict[str, float] = {"trained_parameters": transfer.count(learnt)}
    seconds = [images / epoch.images_per_second for epoch in history if epoch.images_per_second]
    return cost | ({"seconds_per_epoch": median(seconds)} if seconds else {})


def _curves(stage: str, history: list[Epoch]) -> list[Path]:
    table = pd.DataFrame(map(asdict, history), columns=[field.name for field in fields(Epoch)])
    return figures.write_curves(PLOTS / stage, table.drop(columns="images_per_second"), stage)


def _log_validation(job: TrainingJob, model: TrainedModel, run_id: str) -> None:
    """Log of the validation images examples and the confusion matrix, as picture and as data."""
    validation, title = job.subsets["validation"], f"{job.stage}: validation"
    log_examples(run_id, "validation", draw_examples(model, validation, title))
    embeddings, labels = model.embed_images(validation)
    predicted = model.logits(embeddings).argmax(1)
    report = classification_report(labels.numpy(), predicted.numpy(), validation.species)
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "confusion"
        tracking_run.log_files(figures.write_confusion(stem, report, title), "validation")
