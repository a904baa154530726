"""Logging a trained model so that MLflow can serve it: photographs in, species out.

As "models from code" (https://mlflow.org/docs/latest/ml/model/models-from-code): no pickle, and
the package's own source beside the weights, so that it loads where the project is not installed.
Served is the ONNX file, by ONNX Runtime alone; the weights beside it are for training and tests.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import LoggedModelStatus
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Map
from PIL import Image

from fishline.data.decode import Pixels
from fishline.models import onnx_export, onnx_model
from fishline.models.trained_model import TrainedModel
from fishline.serving.answer_log.schema import LOG

COLUMN = "photograph"  # mlflow_model.py says the same
PACKAGE = Path(__file__).parents[1]
REQUIREMENTS = "mlflow click numpy onnxruntime pandas pillow tqdm".split()  # of mlflow_model.py
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, COLUMN)]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "species", required=False),
            ColSpec(DataType.double, "probability", required=False),
            ColSpec(Map(DataType.double), "probabilities", required=False),
            ColSpec(DataType.string, "error", required=False),
            ColSpec(DataType.string, "rank", required=False),
        ]
    ),
    params=ParamSchema(
        [
            ParamSpec("only", DataType.string, [], shape=(-1,)),
            ParamSpec("place", DataType.string, ""),
        ]
    ),
)


def log_model(
    run_id: str,
    model: TrainedModel,
    pixels: Pixels,
    folder: Path,
    params: Mapping[str, Any],
    origin: Mapping[str, str],
) -> str:
    """Log a model to the active run, once; the logged model's id.

    Args:
        run_id: the active run.
        pixels: an image to ask it about as an example, uint8 (size, size, 3).
        folder: what `model.save` wrote.
        origin: where it comes from, for the ONNX file.
    """
    if known := _logged(run_id):
        return known
    config = model.config
    with TemporaryDirectory() as temporary, _unlogged():
        onnx = Path(temporary, onnx_model.FILE)
        onnx_export.export(model, onnx, origin)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).parent / "mlflow_model.py"),
            artifacts={"model": str(folder), "onnx": str(onnx)},
            code_paths=[str(PACKAGE)],
            signature=SIGNATURE,
            input_example=pd.DataFrame({COLUMN: [_base64_jpeg(pixels)]}),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            metadata={"species": list(config.species), "image_size": config.image_size},
            params={key: str(value) for key, value in params.items()},
        )
    model_id: str = info.model_id
    return model_id


@contextmanager
def _unlogged() -> Iterator[None]:
    """MLflow asks the model about its example, which is no answer that anybody was given."""
    log = os.environ.pop(LOG, None)
    try:
        yield
    finally:
        if log is not None:
            os.environ[LOG] = log


def _base64_jpeg(pixels: Pixels) -> str:
    file = BytesIO()
    Image.fromarray(np.asarray(pixels)).save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()


def _logged(run_id: str) -> str | None:
    """The model that a run has logged whole, before it broke off."""
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    whole = [str(model.model_id) for model in logged if model.status == LoggedModelStatus.READY]
    return whole[0] if whole else None
