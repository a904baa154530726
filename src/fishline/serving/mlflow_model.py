"""What MLflow runs to load a registered model: photographs in, species out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from fishline.core.errors import UserError
from fishline.serving.predictor import Predictor


class PhotographModel(PythonModel):
    """A row per photograph: its content, as bytes or in base64. Runs on the processor.

    With FISHLINE_SERVE_PATHS=true in the environment of whoever loads it, paths on that machine,
    too.
    """

    def load_context(self, context: PythonModelContext) -> None:
        # Off unless the server's owner says so: a client could find out what files there are.
        paths = os.environ.get("FISHLINE_SERVE_PATHS", "false").lower() in ("1", "true")
        self.predictor = Predictor(Path(context.artifacts["onnx"]), paths=paths)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None
    ) -> pd.DataFrame:
        """A row per photograph: species, probability, probabilities, error, rank; see Answer.

        Args:
            params: `only`, the species that the answers are among; all if empty.

        Raises:
            MlflowException: the model does not know one of them.
        """
        try:
            predictor = self.predictor.among((params or {}).get("only", ()))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(error.message) from None
        answers = predictor.predict(model_input["photograph"])
        return pd.DataFrame([answer.as_dict() for answer in answers], dtype=object)


set_model(PhotographModel())
