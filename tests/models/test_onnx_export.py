"""A model as one ONNX file: what ONNX Runtime makes of it is what the model answers."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fishline.models.artifact import ModelConfig, build
from fishline.models.novelty import Detector, MahalanobisDetector, fit_detector
from fishline.models.onnx_export import OUTPUTS, PROPERTY, export
from fishline.models.trained_model import TrainedModel

SIZE = 48
PIXELS = np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)


def nearest(embeddings: np.ndarray) -> Detector:
    return fit_detector(embeddings, np.arange(12) % 3, embeddings, 0.7)


def mahalanobis(embeddings: np.ndarray) -> Detector:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(embeddings.shape[1],) * 2).astype(np.float32)
    detector = MahalanobisDetector(embeddings[:3], root @ root.T, 0.0)
    limit = float(np.median(detector.distances(embeddings[3:])))
    return MahalanobisDetector(detector.means, detector.precision, limit)


def make(network: str, fit: Callable[[np.ndarray], Detector] = nearest) -> TrainedModel:
    third = (0.3, 0.4, 0.5)
    config = ModelConfig(network, ("a", "b", "c"), SIZE, third, third, "grouped", temperature=0.02)
    torch.manual_seed(0)
    untested = TrainedModel(build(config), config)
    embeddings = untested.embed(torch.from_numpy(PIXELS)).numpy()
    return TrainedModel(untested.network, config, fit(embeddings))


def answers(file: Path, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"pixels": pixels}), strict=True))


@pytest.mark.parametrize(
    ("network", "fit"),
    [
        ("fishline", nearest),
        ("notebook", mahalanobis),
        ("efficientnet_lite0", nearest),
    ],
)
def test_the_file_answers_as_the_model(
    tmp_path: Path, network: str, fit: Callable[[np.ndarray], Detector]
) -> None:
    model = make(network, fit)
    export(model, tmp_path / "model.onnx")
    for some in (PIXELS, PIXELS[5:6]):
        embeddings = model.embed(torch.from_numpy(some))
        expected, found = model.answer(embeddings), answers(tmp_path / "model.onnx", some)
        np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=1e-4)
        np.testing.assert_allclose(found["distance"], expected.distances, rtol=1e-4, atol=1e-5)
        directions = embeddings / embeddings.norm(dim=1, keepdim=True)
        np.testing.assert_allclose(found["features"], directions, atol=1e-5)
        far = expected.distances > model.detector.limit
        clear = abs(expected.distances / model.detector.limit - 1) > 1e-3
        assert (found["unknown"] == far)[clear].all()
    spread = model.answer(model.embed(torch.from_numpy(PIXELS)))
    assert spread.probabilities.std() > 0.01 and set(spread.unknown) == {True, False}


def test_the_file_says_what_it_is(make_model: Callable[..., Path], tmp_path: Path) -> None:
    genera = ("Sparus, “gold”", "Crangon", "Salmo é")
    model = TrainedModel.load(make_model(tmp_path / "m", genera=genera, confidence_threshold=0.5))
    export(model, tmp_path / "a.onnx", {"version": "fish-base/3"})
    export(model, tmp_path / "b.onnx", {"version": "fish-base/3"})
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    (said,) = onnx.load(tmp_path / "a.onnx").metadata_props
    description = json.loads(said.value)
    assert said.key == PROPERTY
    assert description["limit"] is None  # everything is known to this one
    assert description["genera"] == list(genera) and description["version"] == "fish-base/3"
    assert description["model_sha256"] == model.digest and description["image_size"] == SIZE


def test_examples_take_two_bytes_a_number(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    export(TrainedModel.load(folder), tmp_path / "a.onnx")
    kinds = [tensor.data_type for tensor in onnx.load(tmp_path / "a.onnx").graph.initializer]
    assert kinds.count(onnx.TensorProto.FLOAT16) == 1
