"""What both training stages do: train, save, plot, log and register one model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import pandas as pd
import torch
from torch import nn

from fishline.core.files import read_json, require, write_json
from fishline.core.params import Params, Training
from fishline.core.paths import METRICS, MODELS, PLOTS, run_record
from fishline.core.roles import ROLES
from fishline.data.dataset import Images, epoch_length
from fishline.evaluation import figures
from fishline.evaluation.metrics import assess
from fishline.models import artifact, transfer
from fishline.models.artifact import ModelConfig, Normalize
from fishline.models.devices import find_device
from fishline.models.networks import Network
from fishline.models.novelty import save_detector
from fishline.serving import log_model
from fishline.tracking import run as tracking_run
from fishline.tracking import store, versions
from fishline.tracking.checkpoints import Checkpoint, fingerprint, prune
from fishline.tracking.metric_buffer import MetricBuffer, MetricValue
from fishline.tracking.provenance import (
    data_hash,
    run_tags,
    runs_in_dvc,
    stage_params,
    stored_outputs,
)
from fishline.tracking.snapshot import snapshot
from fishline.training import distributed
from fishline.training.calibrate import calibrate
from fishline.training.loop import Epoch, Progress, chosen_epoch, fit
from fishline.training.trainer import EpochState, Trainer


@dataclass(frozen=True)
class Job:
    """What one training stage trains.

    stage:     as in dvc.yaml
    model:     the folder below models/ that it writes
    trainable: a part of `network`, or all of it
    parts:     images to train on, to choose the kept epoch by, and (only noted) to test on
    tags:      for the run, beyond those that every run has
    origin:    what the network's weights came from, for the fingerprint
    views:     how many versions of an image to keep the frozen layers' features of
    """

    stage: str
    model: str
    settings: Training
    network: Network
    trainable: nn.Module
    config: ModelConfig
    subsets: dict[str, Images]
    rng: torch.Generator
    tags: Mapping[str, str]
    origin: str
    views: int = 1


def run(job: Job, params: Params) -> None:
    """Do `job` as one tracked run and register its model; take it up again where it broke off.

    Writes `models/<model>/`, `models/<model>.run.json`, `metrics/<stage>.json` and
    `plots/<stage>.csv` and `.png`. Of several processes the first alone writes and logs.
    """
    with distributed.processes(find_device(job.settings.device)):
        if distributed.is_first():
            _run_first(job, params)
        else:
            _Session(job).train()


def _run_first(job: Job, params: Params) -> None:
    tables = [images.table for images in job.subsets.values()]
    tags = {**run_tags(job.stage, tables, job.config.split), **job.tags}
    audit = _audit(job)
    logged = stage_params(job.stage, params)
    key = fingerprint(
        {"stage": job.stage, "params": logged, "origin": job.origin, "data": tags["data.hash"]}
        | {"parts": {subset: data_hash(images.table) for subset, images in job.subsets.items()}},
        distributed.world_size(),
    )
    checkpoint = Checkpoint(job.stage, key, job.settings.checkpoint_minutes)
    prune(job.stage, checkpoint)
    with checkpoint.held() as held:
        saved = _resumable(job, checkpoint) if held else None
        run_id = saved["run_id"] if saved else None
        with tracking_run.stage_run(
            job.stage, logged, job.subsets, tags, key, run_id, params.system_metrics
        ) as log:
            tags["git.snapshot"] = snapshot(log.run_id)
            tracking_run.note({"git.snapshot": tags["git.snapshot"]})
            if saved:
                _restore(log, saved)
            session = _Session(job, log, checkpoint if held else None)
            history = session.train(saved)
            with store.needs_store():
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


def _resumable(job: Job, checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What `checkpoint` holds, unless it is done with: then a new training is meant.

    A finished training is taken up only if DVC, which stores its outputs, was broken off.
    """
    stored = stored_outputs(job.stage).values() if runs_in_dvc() else None
    if checkpoint.is_finished() and (stored is None or checkpoint.record() in stored):
        checkpoint.remove()
    return checkpoint.load()


def _restore(log: MetricBuffer, saved: dict[str, Any]) -> None:
    """What the run does not have yet; if the store lost the run, the new one gets all epochs."""
    if log.run_id == saved["run_id"]:
        log.unsent = [MetricValue(*entry) for entry in saved["unsent"]]
        return
    for epoch in saved["progress"]["history"]:
        log.add({k: v for k, v in epoch.items() if k != "epoch"}, epoch["epoch"])


class _Session:
    """One training with what is kept of it: checkpoints and the run's metrics.

    Without a log and a checkpoint, it only trains: the part of all processes but the first.
    """

    def __init__(
        self, job: Job, log: MetricBuffer | None = None, checkpoint: Checkpoint | None = None
    ) -> None:
        self.job, self.log, self.checkpoint = job, log, checkpoint

    def train(self, saved: dict[str, Any] | None = None) -> list[Epoch]:
        job = self.job
        state = distributed.from_first(saved)
        self.trainer = Trainer(
            job.network,
            job.trainable,
            Normalize(job.config),
            job.settings,
            job.rng,
            job.subsets["train"],
            job.views,
        )
        validation = self.trainer.validation(job.subsets["validation"])
        self.progress = Progress()
        if state:
            self.trainer.load_state_dict(state["trainer"])
            self.progress = Progress.of(state["progress"], self.trainer.device)
            self._say_where()
        history = fit(
            self.trainer, validation, self.progress, job.stage, self.after_step, self.after_epoch
        )
        self.save()
        return history

    def _say_where(self) -> None:
        if not self.log:
            return
        steps = self.progress.under_way
        where = f", step {len(steps.losses)} of the next" if steps else ""
        epochs = f"{len(self.progress.history)} of {self.job.settings.epochs}"
        click.echo(f"{self.job.stage}: resumes after epoch {epochs}{where} (run {self.log.run_id})")

    def after_step(self) -> None:
        if self.checkpoint and self.checkpoint.is_due(in_epoch=True):
            self.save()

    def after_epoch(self, epoch: Epoch, steps: EpochState) -> None:
        if self.log:
            values = asdict(epoch)
            self.log.add(values, values.pop("epoch"))
            first = (epoch.epoch - 1) * len(steps.lrs) + 1
            losses = torch.stack(steps.losses).tolist()
            for step, (loss, lr) in enumerate(zip(losses, steps.lrs, strict=True), first):
                self.log.add({"train_loss_step": loss, "lr_step": lr}, step)
            if not self.checkpoint or self.checkpoint.is_due(in_epoch=False):
                self.save()

    def save(self) -> None:
        """Write a checkpoint, then send the metrics that it holds."""
        if not self.log:
            return
        if self.checkpoint:
            saved = self.checkpoint.save(
                {
                    "run_id": self.log.run_id,
                    "unsent": [astuple(entry) for entry in self.log.unsent],
                    "trainer": self.trainer.state_dict(),
                    "progress": self.progress.state_dict(),
                }
            )
            if not saved:
                return
        self.log.send()


def _publish(
    job: Job,
    log: MetricBuffer,
    history: list[Epoch],
    logged: dict[str, Any],
    tags: Mapping[str, str],
    recall: float,
) -> dict[str, Any]:
    """Write the model and its curves, log and register them; the record of it."""
    log.finish()
    folder = MODELS / job.model
    config, known = calibrate(job.network, job.config, job.subsets, recall)
    artifact.save(folder, job.network, config)
    save_detector(folder, known)
    kept = chosen_epoch(history, job.settings.keep)
    write_json(METRICS / f"{job.stage}.json", _summary(kept))
    tracking_run.log_metrics({"kept_epoch": kept.epoch, "kept_val_accuracy": kept.val_accuracy})
    tracking_run.log_metrics(_cost(job, history))
    tracking_run.log_files(_curves(job.stage, history), "plots")
    _log_validation(job)
    train = job.subsets["train"]
    example = train.pixels[train.rows[:1]].numpy()[0]
    model_id = log_model.log_model(log.run_id, config, example, folder, logged)
    version = versions.register(job.model, log.run_id, model_id, tags)
    name = ROLES[job.model].registered
    return {"run_id": log.run_id, "model_id": model_id, "name": name, "version": version}


def _audit(job: Job) -> dict[str, Any]:
    audits: dict[str, dict[str, Any]] = read_json(require(METRICS / "split.json", "split"))
    return audits[ROLES[job.model].task]


def _summary(kept: Epoch) -> dict[str, float]:
    # No times here: a metrics file that differs with every run would hide what changed.
    names = ("epoch", "train_loss", "val_loss", "val_accuracy")
    return {name: getattr(kept, name) for name in names}


def _cost(job: Job, history: list[Epoch]) -> dict[str, float]:
    """What learnt, and how long an epoch took."""
    images = epoch_length(job.subsets["train"].labels, job.settings.balance)
    return {
        "trained_parameters": transfer.count_parameters(job.trainable),
        "seconds_per_epoch": median(images / epoch.images_per_second for epoch in history),
    }


def _curves(stage: str, history: list[Epoch]) -> list[Path]:
    table = pd.DataFrame([asdict(epoch) for epoch in history])
    return figures.write_curves(PLOTS / stage, table.drop(columns="images_per_second"), stage)


def _log_validation(job: Job) -> None:
    """Log the confusion matrix on the validation images, as picture and as data."""
    found = assess(job.network, Normalize(job.config), job.subsets["validation"])
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "confusion"
        tracking_run.log_files(
            figures.write_confusion(stem, found, f"{job.stage}: validation"), "validation"
        )
