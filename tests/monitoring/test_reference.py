"""The reference that `evaluate` keeps, and runs of `fishline watch`; a real SQLite store."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from champions import Shelf

from fishline.core.errors import UserError
from fishline.data.dataset import Images
from fishline.evaluation.test_run import evaluate_model
from fishline.models.novelty import fit_detector
from fishline.models.trained_model import TrainedModel
from fishline.monitoring.page import Findings
from fishline.monitoring.reference import read_reference, write_reference
from fishline.monitoring.track import track
from fishline.monitoring.weeks import PlaceWeek
from fishline.serving.answer_log.schema import project
from fishline.tracking import versions

SPECIES = ("Bream", "Shrimp", "Trout")


@pytest.fixture
def images(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Images]:
    """Three files of each photograph, and an untrained model in models/base."""
    make_model(tmp_path / "models/base")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    made = {}
    for part, count in {"test": 3, "validation": 4, "train": 12}.items():
        pixels = torch.from_numpy(rng.integers(0, 256, (3 * count, 48, 48, 3), np.uint8))
        photographs = np.tile(np.arange(count), 3)
        labels = torch.from_numpy(photographs % 3)
        table = pd.DataFrame({"original": [f"{part}{i}" for i in photographs]})
        table["sha256"] = [f"{i:064x}" for i in rng.permutation(3 * count)]
        table["group"], table["species"] = table["original"], np.array(SPECIES)[labels]
        table["file"] = table["sha256"] + ".png"
        made[part] = Images(pixels, torch.arange(3 * count), labels, SPECIES, table)
    return made


class Made:
    """Features as `embed` has them of a cache with training photographs alone."""

    def __init__(self, images: Images) -> None:
        model = TrainedModel.load(Path("models/base"))
        self.frozen, self.values = model.frozen_digest, model.embed_images(images)[0]

    def take(self, rows: torch.Tensor, views: int) -> torch.Tensor:
        return self.values[rows][None]


def test_a_photograph_stands_once_in_the_reference_however_many_copies_it_has(
    images: dict[str, Images], store: mlflow.MlflowClient, tmp_path: Path
) -> None:
    tested = evaluate_model("base", images["test"], torch.device("cpu"))
    file = write_reference(tested, images, tmp_path)
    (tmp_path / "shelf").mkdir()
    Shelf(tmp_path / "shelf", store).version("fish-base")
    version = versions.versions("fish-base")[0]
    with pytest.raises(UserError, match=r"has no test/reference.parquet"):
        read_reference(version)
    store.log_artifact(version.run_id, str(file), "test")
    found = read_reference(version)
    assert list(found["part"]) == ["test"] * 3 + ["validation"] * 4  # its layers learnt from others
    assert found["original"].is_unique
    mine = found[found["part"] == "test"]
    row = tested.predictions.set_index("sha256").index.get_indexer(mine["sha256"])
    assert np.stack(list(mine["features"])) == pytest.approx(
        project(tested.embeddings[row]), abs=1e-6
    )
    assert mine["confidence"].to_numpy() == pytest.approx(tested.confidence[row], abs=1e-6)
    assert set(found["model_sha256"]) == {tested.model.digest}


def test_training_photographs_are_answered_as_if_they_were_new(
    images: dict[str, Images], tmp_path: Path
) -> None:
    tested = evaluate_model("base", images["test"], torch.device("cpu"))
    train = replace(images["train"], features=Made(images["train"]))  # type: ignore[arg-type]
    found = pd.read_parquet(write_reference(tested, images | {"train": train}, tmp_path))
    learnt = found[found["part"] == "train"]
    assert learnt["original"].nunique() == len(learnt) == 12
    assert 0.1 < learnt["right"].mean() < 0.9  # noise: a model that had learnt it would know all
    known = fit_detector(Made(train).values.numpy(), train.labels.numpy(), np.zeros((1, 1)), 1)
    row = train.table.set_index("sha256").index.get_indexer(learnt["sha256"])
    assert (learnt["distance"] > known.distances(Made(train).values[row].numpy())).all()
    trip = replace(train, table=train.table.assign(group="a trip"))  # of photographs alike
    found = pd.read_parquet(write_reference(tested, images | {"train": trip}, tmp_path))
    assert "train" not in set(found["part"])


def test_a_look_is_a_run_with_metrics_by_place_and_week(store: mlflow.MlflowClient) -> None:
    week = PlaceWeek(
        "Déck, 1",
        "2026-W40",
        20,
        0,
        0.1,
        0.2,
        0.9,
        {},
        {},
        "project's photographs",
        {"look": 0.5},
        {},
    )
    track(Findings("fish-base/1", "log", 20, 0, [week], []))
    experiment = store.get_experiment_by_name("fishline")
    assert experiment
    run = store.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'watch'")[0]
    metric = store.get_metric_history(run.info.run_id, "unsure/Déck_ 1")[0]
    assert (metric.value, metric.step) == (0.2, 202640)
    assert run.data.metrics["p_look/Déck_ 1"] == 0.5
    files = {file.path for file in store.list_artifacts(run.info.run_id)}
    assert files == {"watch.html", "watch.json"}
