"""What MLflow runs to load a registered model: photographs in, species out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from fishline.models.devices import find_device
from fishline.serving.predictor import Predictor


class PhotographModel(PythonModel):
    """A row per photograph: its path, its content as bytes, or that in base64."""

    def load_context(self, context: PythonModelContext) -> None:
        self.predictor = Predictor(Path(context.artifacts["model"]), find_device("auto"))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None
    ) -> pd.DataFrame:
        """A row per photograph: species, probability, probabilities, error; see Answer."""
        answers = self.predictor.predict(model_input["photograph"])
        return pd.DataFrame([answer.as_dict() for answer in answers], dtype=object)


set_model(PhotographModel())
