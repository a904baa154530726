"""One training as it goes: taken up where it broke off, with checkpoints and metrics of it kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import click
import torch
from torch import nn

from fishline.core.training_params import Training
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, Normalize
from fishline.models.networks import Network
from fishline.tracking.checkpoints import Checkpoint
from fishline.tracking.metric_buffer import MetricBuffer, MetricValue
from fishline.tracking.provenance import runs_in_dvc, stored_outputs
from fishline.training import distributed
from fishline.training.loop import Epoch, TrainingProgress, fit
from fishline.training.trainer import EpochState, Trainer


@dataclass(frozen=True)
class TrainingJob:
    """What one training stage trains.

    stage:     as in dvc.yaml
    model:     the folder below models/ that it writes
    trainable: a part of `network`, or all of it
    subsets:   images to train on, to choose the kept epoch by, and (only noted) to test on
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


def resumable(job: TrainingJob, checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What `checkpoint` holds, unless it is done with: then a new training is meant.

    A finished training is taken up only if DVC, which stores its outputs, was broken off.
    """
    stored = stored_outputs(job.stage).values() if runs_in_dvc() else None
    if checkpoint.is_finished() and (stored is None or checkpoint.record() in stored):
        checkpoint.remove()
    return checkpoint.load()


def restore_metrics(log: MetricBuffer, saved: dict[str, Any]) -> None:
    """What the run does not have yet; if the store lost the run, the new one gets all epochs."""
    if log.run_id == saved["run_id"]:
        log.unsent = [MetricValue(*entry) for entry in saved["unsent"]]
        return
    for epoch in saved["progress"]["history"]:
        log.add({k: v for k, v in epoch.items() if k != "epoch"}, epoch["epoch"])


class TrainingSession:
    """One training with what is kept of it: checkpoints and the run's metrics.

    Without a log and a checkpoint, it only trains: the part of all processes but the first.
    `is_kept`: whether a checkpoint holds the finished training.
    """

    is_kept = False

    def __init__(
        self,
        job: TrainingJob,
        log: MetricBuffer | None = None,
        checkpoint: Checkpoint | None = None,
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
        self.progress = TrainingProgress()
        if state:
            self.trainer.load_state_dict(state["trainer"])
            self.progress = TrainingProgress.of(state["progress"], self.trainer.device)
            self._say_where()
        history = fit(
            self.trainer, validation, self.progress, job.stage, self.after_step, self.after_epoch
        )
        self.is_kept = self.save()
        if self.checkpoint and not self.is_kept:
            click.echo(
                f"{job.stage}: the finished training is in no checkpoint; if the model cannot be "
                "stored now, it is trained again",
                err=True,
            )
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

    def save(self) -> bool:
        """Write a checkpoint, then send the metrics that it holds; False if none was written."""
        if not self.log:
            return False
        saved = self.checkpoint is not None and self.checkpoint.save(
            {
                "run_id": self.log.run_id,
                "unsent": [astuple(entry) for entry in self.log.unsent],
                "trainer": self.trainer.state_dict(),
                "progress": self.progress.state_dict(),
            }
        )
        if saved or self.checkpoint is None:
            self.log.send()
        return saved
