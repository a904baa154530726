"""What both training stages do: train, save, plot, log and register one model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from fishline import models, plots, registry, tracking
from fishline.dataset import Images
from fishline.files import read_json, require, write_json
from fishline.models import Description, Network, Normalize
from fishline.params import Params, Training
from fishline.paths import METRICS, MODELS, PLOTS, TASKS, run_record
from fishline.provenance import data_hash, dvc_tags, git_tags, stage_params
from fishline.training import Epoch, Trainer, assess, best_epoch, fit


@dataclass(frozen=True)
class Job:
    """What one training stage trains.

    stage:     as in dvc.yaml
    model:     the folder below models/ that it writes
    trainable: a part of `network`, or all of it
    parts:     images to train on, to choose the best epoch by, and (only noted) to test on
    tags:      for the run, beyond those that every run has
    """

    stage: str
    model: str
    settings: Training
    network: Network
    trainable: nn.Module
    description: Description
    parts: dict[str, Images]
    rng: torch.Generator
    tags: Mapping[str, str]


def run(job: Job, params: Params) -> None:
    """Do `job` as one tracked run and register its model.

    Writes `models/<model>/`, `models/<model>.run.json`, `metrics/<stage>.json` and
    `plots/<stage>.csv` and `.png`.
    """
    tags, audit = _tags(job), _audit(job)
    logged = stage_params(job.stage, params)
    normalize = Normalize(job.description)
    with tracking.stage_run(job.stage, logged, job.parts, tags) as run_id:
        tracking.log_audit(audit)
        trainer = Trainer(
            job.network, job.trainable, normalize, job.settings, job.rng, job.parts["train"]
        )
        history = fit(trainer, job.parts["validation"], tracking.log_epoch, job.stage)
        models.save(MODELS / job.model, job.network, job.description)
        best = best_epoch(history)
        write_json(METRICS / f"{job.stage}.json", _summary(best))
        tracking.log_best(best)
        tracking.log_files(_curves(job.stage, history), "plots")
        _log_validation(job, normalize)
        example = job.parts["train"].pixels[job.parts["train"].rows[:2]].numpy()
        model_id = registry.log_model(
            job.network, job.description, example, MODELS / job.model, logged
        )
    version = registry.register(job.model, run_id, model_id, tags)
    name = registry.NAMES[job.model]
    record = {"run_id": run_id, "model_id": model_id, "name": name, "version": version}
    write_json(run_record(job.model), record)
    print(
        f"{job.stage}: validation accuracy {best.val_accuracy:.3f} "
        f"(epoch {best.epoch} of {len(history)}); registered as {name} version {version}"
    )


def _audit(job: Job) -> dict[str, Any]:
    audits: dict[str, dict[str, Any]] = read_json(require(METRICS / "split.json", "split"))
    return audits[TASKS[job.model]]


def _tags(job: Job) -> dict[str, str]:
    table = pd.concat([images.table for images in job.parts.values()])
    return {
        **git_tags(),
        **dvc_tags(job.stage),
        "data.hash": data_hash(table),
        "split.strategy": job.description.split,
        **job.tags,
    }


def _summary(best: Epoch) -> dict[str, float]:
    # No times here: a metrics file that differs with every run would hide what changed.
    names = ("epoch", "train_loss", "val_loss", "val_accuracy")
    return {name: getattr(best, name) for name in names}


def _curves(stage: str, history: list[Epoch]) -> list[Path]:
    table = pd.DataFrame([asdict(epoch) for epoch in history])
    return plots.write_curves(PLOTS / stage, table.drop(columns="images_per_second"), stage)


def _log_validation(job: Job, normalize: Normalize) -> None:
    """Log the confusion matrix on the validation images, as picture and as data."""
    found = assess(job.network, normalize, job.parts["validation"])
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "confusion"
        tracking.log_files(
            plots.write_confusion(stem, found, f"{job.stage}: validation"), "validation"
        )
