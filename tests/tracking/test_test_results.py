"""What `evaluate` adds to runs and registered versions; a real SQLite store."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from champions import Shelf

from fishline.tracking import test_results, versions

NAME = "fish-described"
PREDICTIONS = pd.DataFrame(
    {
        "file": ["Trout/1.png", "Bass/2.png"],
        "species": ["Trout", "Bass"],
        "predicted": ["Trout", "Trout"],
        "answer": ["Trout", "unknown"],
        "Trout": [0.9, 0.4],
    }
)


@pytest.fixture
def shelf(store: mlflow.MlflowClient, tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path, store)
    made.version(NAME)
    return made


def test_test_metrics_are_added_to_the_run_that_trained_the_model(
    store: mlflow.MlflowClient, shelf: Shelf, tmp_path: Path
) -> None:
    pictures = [tmp_path / "picture.png", tmp_path / "base-confusion.png"]
    for picture in pictures:
        picture.touch()
    version = versions.versions(NAME)[0]
    run = store.get_run(version.run_id)
    model = store.create_logged_model(run.info.experiment_id, source_run_id=version.run_id)
    record = {"run_id": version.run_id, "model_id": model.model_id}
    results: dict[str, Any] = {
        "summary": {"accuracy": 2 / 3, "worst_recall": 0.5},
        "species": {"Trout": {"recall": 0.5}},
        "files": pictures,
        "predictions": PREDICTIONS,
        "dataset": ("train-base-test", "d1"),
        "examples": np.zeros((4, 6, 3), np.uint8),
    }
    for _ in range(2):  # evaluated again
        assert test_results.log_tests(record, **results)
    run = store.get_run(version.run_id)
    assert run.data.metrics["test_accuracy"] == pytest.approx(2 / 3)
    assert run.data.metrics["test_worst_recall"] == 0.5
    measured = store.get_logged_model(model.model_id).metrics
    assert {(m.key, m.dataset_name, m.dataset_digest) for m in measured or []} == {
        ("test_accuracy", "train-base-test", "d1"),
        ("test_worst_recall", "train-base-test", "d1"),
    }
    files = {f.path for f in store.list_artifacts(version.run_id, "test")}
    assert {"test/picture.png", "test/predictions.csv", "test/species.json"} <= files
    root = {f.path for f in store.list_artifacts(version.run_id)}
    assert "base-confusion.png" in root  # where MLflow's page compares runs
    assert "picture.png" not in root
    images = [f.path for f in store.list_artifacts(version.run_id, "images")]
    assert all(path.startswith("images/test examples+step+0+") for path in images)
    assert run.data.tags["mlflow.loggedImages"] == "True"
    assert run.info.status == "FINISHED"


def test_answers_are_the_table_of_the_evaluation_view(
    store: mlflow.MlflowClient, shelf: Shelf
) -> None:
    run_id = versions.versions(NAME)[0].run_id
    record = {"run_id": run_id, "model_id": None}
    examples = np.zeros((4, 6, 3), np.uint8)
    for _ in range(2):
        test_results.log_tests(record, {}, {}, [], PREDICTIONS, ("test", "d1"), examples)
    table = store.load_table(shelf.experiment, "eval_results_table.json", [run_id])
    assert table.to_dict("list") == {
        "file": ["Trout/1.png", "Bass/2.png"],
        "answer": ["Trout", "unknown"],
        "species": ["Trout", "Bass"],
        "predicted": ["Trout", "Trout"],
    }


def test_a_model_of_another_store_is_noticed(store: mlflow.MlflowClient) -> None:
    record = {"run_id": "0" * 32, "model_id": None}
    examples = np.zeros((1, 1, 3), np.uint8)
    assert not test_results.log_tests(record, {}, {}, [], PREDICTIONS, ("test", "d1"), examples)


def test_the_card_is_the_description_of_the_version(
    store: mlflow.MlflowClient, shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("<p>report")
    (tmp_path / "worst.png").touch()
    version = versions.versions(NAME)[0]
    card = "# A model\n\n" + "x" * 4900
    files = {tmp_path / "report.html": "", tmp_path / "worst.png": "test"}
    for _ in range(2):  # evaluated again
        test_results.describe(version, card, files)
    assert store.get_model_version(NAME, str(version.number)).description == card
    there = {
        f.path for folder in ("", "test") for f in store.list_artifacts(version.run_id, folder)
    }
    assert {"report.html", "test/worst.png"} <= there
