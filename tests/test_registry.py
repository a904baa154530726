"""Registered models: what is in them, and that what comes out is what went in."""

import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from fishline import models, registry, tracking
from fishline.dataset import Images
from fishline.models import Classifier, Description, build


@pytest.fixture(scope="module")
def network() -> models.Network:
    torch.manual_seed(0)
    arguments = {"classes": 3, "image_size": 48}
    third = (0.5, 0.5, 0.5)
    names = ("Bream", "Shrimp", "Trout")
    return build(Description("notebook", arguments, names, 48, third, third, "grouped")).eval()


def test_a_registered_model_answers_for_any_batch_and_says_what_it_is(
    store: mlflow.MlflowClient,
    network: models.Network,
    description: Description,
    images: Images,
    tmp_path: Path,
) -> None:
    pixels = images.pixels[:5].numpy()
    models.save(tmp_path, network, description)
    tracking.connect()
    with mlflow.start_run() as run:
        logged = (run.info.run_id, network, description, pixels[:2], tmp_path, {"lr": 0.1})
        model_id = registry.log_model(*logged)
        assert registry.log_model(*logged) == model_id  # as a run that is continued does
    run_id = run.info.run_id
    version = registry.register("base", run_id, model_id, {"data.hash": "abc"})

    assert registry.register("base", run_id, model_id, {}) == version  # asked twice, made once
    registered = store.get_model_version("fish-base", str(version))
    assert registered.run_id == run_id
    assert registered.tags == {"data.hash": "abc", "run_id": run_id}

    served = mlflow.pyfunc.load_model(f"models:/fish-base/{version}")
    expected = Classifier(network, description).eval()(torch.from_numpy(pixels)).detach()
    for count in (1, 2, 5):
        np.testing.assert_allclose(served.predict(pixels[:count]), expected[:count], atol=1e-5)
    assert served.metadata.metadata["species"] == list(description.species)
    assert served.metadata.signature.inputs.inputs[0].shape == (-1, 48, 48, 3)

    folder = Path(mlflow.artifacts.download_artifacts(f"models:/fish-base/{version}"))
    names = [path.name for path in folder.rglob("*")]
    for archive in folder.rglob("*.pt2"):
        names += zipfile.ZipFile(archive).namelist()
    assert "model.pt2" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pth"))]
    assert "input_example.json" in names
