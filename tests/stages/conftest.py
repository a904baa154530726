"""What tests of several stages begin with."""

from pathlib import Path

import pytest
import torch

from fishline.core.params import Params, load_params
from fishline.models.artifact import ModelConfig, build, save

ROOT = Path(__file__).parents[2]
SIZE = 48
THIRD = (0.3, 0.3, 0.3)


@pytest.fixture
def params(tmp_path: Path) -> Params:
    """Of a model that starts from one that was trained here."""
    config = ModelConfig("fishline", ("Bream", "Trout"), SIZE, THIRD, THIRD, "grouped")
    torch.manual_seed(0)
    save(tmp_path / "start", build(config), config)
    own = load_params(ROOT / "params.yaml")
    weights = str(tmp_path / "start/model.safetensors")
    model = own.model.model_copy(update={"name": "fishline", "weights": weights})
    return own.model_copy(update={"model": model, "device": "cpu"})
