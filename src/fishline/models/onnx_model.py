"""A trained model in the file that `onnx_export.export` wrote: asked without torch."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

from fishline.core.errors import UserError
from fishline.core.parallel import in_threads
from fishline.models.taxonomy import Predictions, predictions

FILE = "model.onnx"  # beside the folder of a registered model
SUFFIX = ".onnx"
PROPERTY = "fishline"  # of the file's metadata: what the model is, as JSON


@dataclass(frozen=True)
class OnnxConfig:
    """Those of ModelConfig's fields that whoever asks must know."""

    species: tuple[str, ...]
    image_size: int
    temperature: float
    genera: tuple[str, ...]
    families: tuple[str, ...]
    confidence_threshold: float


class OnnxModel:
    """A model in an ONNX file, as `TrainedModel` is one in a folder.

    Asked about one image at a time on each core: that is quickest, and an answer does not depend
    on what else is asked. Pickled, it is the content of the file.

    Raises:
        UserError: this is no ONNX file, or none of fishline's.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._name = content, name
        try:
            described: dict[str, Any] = json.loads(self._metadata[PROPERTY])
            self.description = described  # see onnx_export.describe
            self.config = OnnxConfig(
                species=tuple(described["species"]),
                image_size=int(described["image_size"]),
                temperature=float(described["temperature"]),
                genera=tuple(described["genera"]),
                families=tuple(described["families"]),
                confidence_threshold=float(described["confidence_threshold"]),
            )
            self.digest = str(described["model_sha256"])
            self.version = str(described.get("version", ""))  # that was exported, if registered
        except (KeyError, ValueError, TypeError):
            raise UserError(
                f"{name} does not say what model it is: `fishline export` writes such files"
            ) from None

    @classmethod
    def load(cls, path: Path) -> OnnxModel:
        """The model in the file at `path`.

        Raises:
            UserError: it cannot be read, or holds no such model.
        """
        try:
            return cls(path.read_bytes(), str(path))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None

    def __reduce__(self) -> tuple[type[OnnxModel], tuple[bytes, str]]:
        return OnnxModel, (self._content, self._name)

    @cached_property
    def _session(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            providers = ["CPUExecutionProvider"]
            return onnxruntime.InferenceSession(self._content, options, providers)
        except Exception as error:  # of ONNX Runtime's own, without a common class
            reason = str(error).rpartition(" : ")[2]
            raise UserError(f"{self._name} is no ONNX file that can be read: {reason}") from None

    @property
    def _metadata(self) -> dict[str, str]:
        metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        return metadata

    def ask(self, pixels: npt.NDArray[np.uint8], only: Collection[str] = ()) -> Predictions:
        """What it makes of uint8 (b, size, size, 3).

        Args:
            only: the species that there can be, if not all: the probabilities of others are 0.
        """
        names = ["logits", "distance", "unknown", "features"]
        rows = in_threads(lambda image: self._session.run(names, {"pixels": image[None]}), pixels)
        logits, distances, far, features = map(np.concatenate, zip(*rows, strict=True))
        return predictions(logits, distances.astype(np.float64), far, features, self.config, only)
