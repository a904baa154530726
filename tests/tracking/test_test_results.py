"""What `evaluate` adds to runs and registered versions; a real SQLite store."""

from pathlib import Path

import mlflow
import pytest
from champions import Shelf

from fishline.tracking import test_results, versions

NAME = "fish-described"


@pytest.fixture
def shelf(store: mlflow.MlflowClient, tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path, store)
    made.version(NAME)
    return made


def test_test_metrics_are_added_to_the_run_that_trained_the_model(
    store: mlflow.MlflowClient, shelf: Shelf, tmp_path: Path
) -> None:
    summary, species = {"accuracy": 2 / 3, "worst_recall": 0.5}, {"Trout": {"recall": 0.5}}
    (tmp_path / "picture.png").touch()
    (tmp_path / "base-confusion.png").touch()
    table = tmp_path / "base-predictions.csv"
    table.write_text("file,species,predicted\n")
    version = versions.versions(NAME)[0]
    record = {"run_id": version.run_id, "model_id": None}
    pictures = [tmp_path / "picture.png", tmp_path / "base-confusion.png"]
    assert test_results.log_tests(record, summary, species, pictures, table)
    run = store.get_run(version.run_id)
    assert run.data.metrics["test_accuracy"] == pytest.approx(2 / 3)
    assert run.data.metrics["test_worst_recall"] == 0.5
    files = {f.path for f in store.list_artifacts(version.run_id, "test")}
    assert {"test/picture.png", "test/predictions.csv", "test/species.json"} <= files
    root = {f.path for f in store.list_artifacts(version.run_id)}
    assert "base-confusion.png" in root  # where MLflow's page compares runs
    assert "picture.png" not in root
    assert run.info.status == "FINISHED"


def test_a_model_of_another_store_is_noticed(store: mlflow.MlflowClient) -> None:
    assert not test_results.log_tests(
        {"run_id": "0" * 32, "model_id": None}, {}, {}, [], Path("none")
    )


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
