"""Trained models in MLflow's model registry."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
from mlflow.entities import LoggedModelStatus
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from fishline.models import Classifier, Description
from fishline.networks import Network
from fishline.tracking import store_lock

NAMES = {"base": "fish-base", "finetuned": "fish-finetuned"}


def log_model(
    run_id: str,
    network: Network,
    description: Description,
    example: npt.NDArray[np.uint8],
    folder: Path,
    params: Mapping[str, Any],
) -> str:
    """Log the network with its input and output sides to the active run, once; the model's id.

    Saved as `pt2` (torch.export), which holds no pickle. With an example of two or more images
    the batch stays free; with one it would be fixed at one.

    Args:
        run_id: the active run.
        example: uint8 (b ≥ 2, size, size, 3).
        folder: the model's files, kept beside it: fine-tuning starts from these.
    """
    if known := _logged(run_id):
        return known
    size, classes = description.image_size, len(description.species)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, classes))]),
    )
    model = Classifier(network.cpu(), description).eval()
    with warnings.catch_warnings():
        # torch.export says this of every model, wherever its weights are.
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        info = mlflow.pytorch.log_model(
            model,
            name="model",
            signature=signature,
            input_example=example,
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "torch", "numpy")],
            metadata={"species": list(description.species), "image_size": size},
            params={key: str(value) for key, value in params.items()},
            serialization_format="pt2",
        )
    mlflow.log_artifacts(str(folder), "model_files")
    model_id: str = info.model_id
    return model_id


def _logged(run_id: str) -> str | None:
    """The model that a run has logged whole, before it broke off."""
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    whole = [str(model.model_id) for model in found if model.status == LoggedModelStatus.READY]
    return whole[0] if whole else None


def register(model: str, run_id: str, model_id: str, tags: Mapping[str, str]) -> int:
    """Register a logged model once, however often asked; its version."""
    client = mlflow.MlflowClient()
    name = NAMES[model]
    with store_lock():
        found = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
        if found:
            return int(found[0].version)
        registered = mlflow.register_model(
            f"models:/{model_id}", name, tags={**tags, "run_id": run_id}
        )
    return int(registered.version)
