"""A model in an ONNX file: it answers as the model that it was made of."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from fishline.core.errors import UserError
from fishline.models.onnx_export import export
from fishline.models.onnx_model import OnnxModel
from fishline.models.trained_model import TrainedModel

PIXELS = np.random.default_rng(5).integers(0, 256, (9, 48, 48, 3), np.uint8)
GENERA = {"genera": ("A", "A", "B"), "families": ("F", "F", "F"), "confidence_threshold": 0.6}


@pytest.fixture
def trained(make_model: Callable[..., Path], tmp_path: Path) -> TrainedModel:
    """Nearly always sure, and half of what it is asked about is too far."""
    return TrainedModel.load(make_model(tmp_path / "model", recall=0.5, temperature=0.01, **GENERA))


@pytest.fixture
def file(trained: TrainedModel, tmp_path: Path) -> Path:
    export(trained, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("only", [(), ("Bream", "Trout"), ("Shrimp",)], ids=str)
def test_it_answers_as_the_model_does(
    trained: TrainedModel, file: Path, only: tuple[str, ...]
) -> None:
    """Also among species that are all but impossible: their shares come from logits."""
    model = OnnxModel.load(file)
    expected, found = trained.ask(PIXELS, only), model.ask(PIXELS, only)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    np.testing.assert_allclose(found.distances, expected.distances, atol=1e-5)
    assert found.answers.names.tolist() == expected.answers.names.tolist()
    assert found.answers.ranks.tolist() == expected.answers.ranks.tolist()
    assert model.digest == trained.digest
    for name in ("species", "image_size", "temperature", *GENERA):
        assert getattr(model.config, name) == getattr(trained.config, name)


def test_an_answer_does_not_depend_on_what_else_is_asked(file: Path) -> None:
    model = OnnxModel.load(file)
    together = model.ask(PIXELS).logits
    for place in range(len(PIXELS)):
        assert (model.ask(PIXELS[place : place + 1]).logits[0] == together[place]).all()
    again = pickle.loads(pickle.dumps(model))
    assert (again.ask(PIXELS).logits == together).all()


def test_a_file_of_something_else_is_a_message(file: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    foreign = onnx.load(file)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:5000])
    for name, said in {
        "noise": "noise.onnx is no ONNX file that can be read",
        "cut": "cut.onnx is no ONNX file that can be read",
        "foreign": "foreign.onnx does not say what model it is: `fishline export` writes such",
        "nowhere": "nowhere.onnx cannot be read: No such file or directory",
    }.items():
        with pytest.raises(UserError, match=said):
            OnnxModel.load(tmp_path / f"{name}.onnx")
