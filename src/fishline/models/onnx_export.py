"""A trained model as one ONNX file: pixels in, and all that its answers depend on out.

Whoever has the file and ONNX Runtime needs neither torch nor this package: docs/edge.md.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

from fishline.core.files import replacing
from fishline.models.artifact import ModelConfig, scale
from fishline.models.novelty import NEIGHBOUR, Detector, MahalanobisDetector, NearestDetector
from fishline.models.onnx_model import PROPERTY
from fishline.models.timm_networks import Timm, constant_padding
from fishline.models.trained_model import TrainedModel

OPSET = 17
INPUT = "pixels"
OUTPUTS = ("probabilities", "distance", "unknown", "features", "logits")
RESIZE = (
    "the whole upright picture, whatever its proportions, to a square: bilinear and antialiased, "
    "rows first; a JPEG may be decoded at a fraction of its size before, if that is still twice "
    "the square"
)


class Whole(nn.Module):
    """uint8 (n, size, size, 3) to `OUTPUTS`.

    probabilities: float32 (n, species), calibrated
    distance:      float32 (n,), from what is known, see novelty.py
    unknown:       bool (n,), whether that is over the detector's limit
    features:      float32 (n, d), what the last layer is given, each row of length 1
    logits:        float32 (n, species), from which probabilities among some species alone follow
    """

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.network, self.normalize = model.network, model.normalize
        self.temperature, self.limit = model.config.temperature, model.detector.limit
        self.distance = _distance(model.detector)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embeddings = self.network.embed(self.normalize(scale(pixels)))
        logits = self.network.classifier[-1](embeddings)
        features = functional.normalize(embeddings, eps=float(np.finfo(np.float32).tiny))
        distance = self.distance(embeddings, features)
        probabilities = (logits / self.temperature).softmax(1)
        return probabilities, distance, distance > self.limit, features, logits


class _Nearest(nn.Module):
    """As `NearestDetector.distances`."""

    examples: torch.Tensor

    def __init__(self, detector: NearestDetector) -> None:
        super().__init__()
        self.register_buffer("examples", torch.from_numpy(detector.examples.T.copy()))
        self.place = min(NEIGHBOUR, len(detector.examples))

    def forward(self, embeddings: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return 1 - (features @ self.examples.float()).topk(self.place).values[:, -1]


class _Mahalanobis(nn.Module):
    """As `MahalanobisDetector.distances`, between points that a root of the precision has turned:
    in float32 that loses nothing."""

    root: torch.Tensor
    means: torch.Tensor

    def __init__(self, detector: MahalanobisDetector) -> None:
        super().__init__()
        values, vectors = np.linalg.eigh(detector.precision.astype(np.float64))
        root = vectors * np.sqrt(values.clip(0))  # (d, d)
        self.register_buffer("root", torch.from_numpy(root).float())
        self.register_buffer("means", torch.from_numpy(detector.means @ root).float())

    def forward(self, embeddings: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        away = (embeddings @ self.root)[:, None] - self.means  # (n, species, d)
        return away.square().sum(2).amin(1)


def _distance(detector: Detector) -> nn.Module:
    if isinstance(detector, MahalanobisDetector):
        return _Mahalanobis(detector)
    assert isinstance(detector, NearestDetector)
    return _Nearest(detector)


def export(model: TrainedModel, path: Path, origin: Mapping[str, str] | None = None) -> None:
    """Write `model` to `path`; the same model gives the same bytes.

    Args:
        origin: where the model comes from, such as version, run and commit: for the metadata.

    Raises:
        OSError: there is no room.
    """
    model.network.materialize()
    size = model.config.image_size
    pixels = torch.zeros(2, size, size, 3, dtype=torch.uint8, device=model.device)
    with replacing(path) as temporary:
        with warnings.catch_warnings(), torch.inference_mode(), _constants(model):
            warnings.simplefilter("ignore")  # of the older exporter: see embedding.py
            torch.onnx.export(
                Whole(model).to(model.device).eval(),
                (pixels,),
                temporary,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_axes={name: {0: "n"} for name in (INPUT, *OUTPUTS)},
                opset_version=OPSET,
                dynamo=False,
            )
        write(onnx.load(temporary), describe(model) | dict(origin or {}), model.detector, temporary)


def write(
    whole: onnx.ModelProto, description: Mapping[str, Any], detector: Detector, path: Path
) -> None:
    """Write `whole`, the graph of a model with this detector, and its description, once checked."""
    _halve(whole.graph, detector)
    helper.set_model_props(whole, {PROPERTY: json.dumps(description, ensure_ascii=False)})
    onnx.checker.check_model(whole, full_check=True)
    onnx.save(whole, path)


def _halve(graph: onnx.GraphProto, detector: Detector) -> None:
    """Keep a detector's examples as the float16 that they are; the exporter makes float32."""
    examples = detector.examples.T if isinstance(detector, NearestDetector) else None
    for tensor in graph.initializer:
        if examples is not None and np.array_equal(numpy_helper.to_array(tensor), examples):
            name = f"{tensor.name}_half"
            cast = helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
            tensor.CopyFrom(numpy_helper.from_array(examples, name))
            graph.node.insert(0, cast)


def _constants(model: TrainedModel) -> AbstractContextManager[None]:
    return constant_padding() if isinstance(model.network, Timm) else nullcontext()


def describe(model: TrainedModel) -> dict[str, Any]:
    """What a file's reader must know besides its inputs and outputs, ready for JSON.

    `limit` is None where nothing is too far.
    """
    config: ModelConfig = model.config
    size, limit = config.image_size, model.detector.limit
    return {
        "species": config.species,
        "genera": config.genera,
        "families": config.families,
        "confidence_threshold": config.confidence_threshold,
        "temperature": config.temperature,
        "image_size": size,
        "limit": limit if np.isfinite(limit) else None,
        "resize": RESIZE,
        "pillow": "image = ImageOps.exif_transpose(image).convert('RGB'); "
        f"image.resize(({size}, image.height), Image.Resampling.BILINEAR)"
        f".resize(({size}, {size}), Image.Resampling.BILINEAR)",
        "precision": "float32",
        "model_sha256": model.digest,
    }
