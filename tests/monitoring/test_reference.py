"""The reference that `evaluate` keeps, and runs of `fishline watch`; a real SQLite store."""

from collections.abc import Callable
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
from fishline.monitoring.page import Findings
from fishline.monitoring.reference import read_reference, write_reference
from fishline.monitoring.track import track
from fishline.monitoring.weeks import PlaceWeek
from fishline.serving.answer_log import project
from fishline.tracking import versions

SPECIES = ("Bream", "Shrimp", "Trout")


def test_a_photograph_stands_once_in_the_reference_however_many_copies_it_has(
    make_model: Callable[..., Path],
    store: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_model(tmp_path / "models/base")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (9, 48, 48, 3), np.uint8))
    labels = torch.arange(9) % 3
    table = pd.DataFrame({"file": [f"{i}.png" for i in range(9)], "original": labels.numpy()})
    table["sha256"] = [f"{i:064x}" for i in range(9)]
    table["group"], table["species"] = table["original"], np.array(SPECIES)[labels]
    tested = evaluate_model(
        "base", Images(pixels, torch.arange(9), labels, SPECIES, table), torch.device("cpu")
    )
    file = write_reference(tested, tmp_path)
    (tmp_path / "shelf").mkdir()
    Shelf(tmp_path / "shelf", store).version("fish-base")
    version = versions.versions("fish-base")[0]
    with pytest.raises(UserError, match=r"has no test/reference.parquet"):
        read_reference(version)
    store.log_artifact(version.run_id, str(file), "test")
    found = read_reference(version)
    assert len(found) == 3 and set(found["original"]) == {0, 1, 2}
    first = tested.predictions.index[tested.predictions["sha256"].isin(found["sha256"])]
    assert np.stack(list(found["features"])) == pytest.approx(project(tested.embeddings[first]))
    assert found["confidence"].to_numpy() == pytest.approx(tested.confidence[first].to_numpy())
    assert set(found["model_sha256"]) == {tested.model.digest}


def test_a_look_is_a_run_with_metrics_by_place_and_week(store: mlflow.MlflowClient) -> None:
    week = PlaceWeek(
        "Déck, 1", "2026-W40", 20, 0, 0.1, 0.2, 0.9, {}, {}, "test photographs", {"look": 0.5}, {}
    )
    track(Findings("fish-base/1", "log", 20, 0, [week], []))
    experiment = store.get_experiment_by_name("fishline")
    assert experiment
    run = store.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'watch'")[0]
    metric = store.get_metric_history(run.info.run_id, "unsure/D_ck_ 1")[0]
    assert (metric.value, metric.step) == (0.2, 202640)
    assert run.data.metrics["p_look/D_ck_ 1"] == 0.5
    files = {file.path for file in store.list_artifacts(run.info.run_id)}
    assert files == {"watch.html", "watch.json"}
