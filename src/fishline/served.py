"""What MLflow runs to load a registered model: photographs in, species out."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from fishline.devices import find_device
from fishline.predictor import Predictor

# MLflow would take a hint on model_input for a schema, but the signature is one.
warnings.filterwarnings("ignore", ".*Add type hints to the `predict` method")


class PhotographModel(PythonModel):
    """A row per photograph: its path, its content as bytes, or that in base64."""

    def load_context(self, context: PythonModelContext) -> None:
        self.predictor = Predictor(Path(context.artifacts["model"]), find_device("auto"))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """A row per photograph: species, probability, probabilities, error; see Answer."""
        rows = model_input["photograph"] if isinstance(model_input, pd.DataFrame) else model_input
        return pd.DataFrame([a.as_dict() for a in self.predictor.predict(rows)], dtype=object)


set_model(PhotographModel())
