"""Registered models: registered once, found by what people call them, fetched whole."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from fishline.core.errors import UserError
from fishline.models.artifact import load
from fishline.tracking import store as tracking_store
from fishline.tracking import versions


@pytest.fixture(scope="module")
def registered(
    store_root: Path,
    make_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Three versions of fish-base, of runs of their own; the ids of the runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(store_root))
        client = tracking_store.connect()
        client.create_registered_model("fish-base")
        runs = {}
        for seed in (1, 2, 3):
            folder = make_model(tmp_path_factory.mktemp("models") / "base", seed=seed)
            with mlflow.start_run() as run:
                mlflow.log_artifacts(str(folder), "model/artifacts/base")
                mlflow.log_metric("test_accuracy", seed / 10)
                mlflow.log_param("lr", seed)
            source = f"{run.info.artifact_uri}/model"
            client.create_model_version("fish-base", source, run.info.run_id, {"git.commit": "c"})
            runs[str(seed)] = run.info.run_id
        client.set_registered_model_alias("fish-base", "champion", "2")
        client.set_registered_model_alias("fish-base", "previous", "1")
        client.create_registered_model("fish-finetuned")
        broken = client.create_model_version("fish-finetuned", source, runs["3"])
        assert broken.version == 1 or broken.version == "1"
    return runs


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("fish-base/1", 1),
        ("models:/fish-base/3", 3),
        ("fish-base@champion", 2),
        ("models:/fish-base@previous", 1),
        ("fish-base", 2),
    ],
)
def test_a_version_is_found_by_what_people_call_it(
    store: mlflow.MlflowClient, registered: dict[str, str], reference: str, number: int
) -> None:
    version = versions.find(reference)
    assert (str(version), version.model) == (f"fish-base/{number}", "base")
    assert version.run_id == registered[str(number)]
    assert version.aliases == {1: ("previous",), 2: ("champion",), 3: ()}[number]
    assert version.metrics == {"test_accuracy": number / 10}
    assert version.params == {"lr": str(number)}
    assert version.tags["git.commit"] == "c"


@pytest.mark.parametrize("length", [8, 32])
def test_a_version_is_found_by_its_run(
    store: mlflow.MlflowClient, registered: dict[str, str], length: int
) -> None:
    assert versions.find(registered["1"][:length]).number == 1


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("fish-base/9", r"fish-base/9: there is no such version. fish-base has the versions 1, 2"),
        ("fish-base/x", r"there is no such version"),
        ("fish-base@best", r"there is no such version.*aliases: champion, previous"),
        ("fish", r"has no registered model 'fish'. It has: fish-base, fish-finetuned"),
        ("fish-finetuned", r"no champion yet. `fishline promote fish-finetuned`.*finetuned/1"),
        ("0" * 32, r"no registered model is of run 0000"),
    ],
)
def test_what_is_not_there_is_a_message(
    store: mlflow.MlflowClient, registered: dict[str, str], reference: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        versions.find(reference)


def test_a_run_of_two_versions_is_no_address(
    store: mlflow.MlflowClient, registered: dict[str, str]
) -> None:
    with pytest.raises(UserError, match="2 registered models are of runs that begin with"):
        versions.find(registered["3"])


def test_versions_come_newest_first(store: mlflow.MlflowClient, registered: dict[str, str]) -> None:
    assert [each.number for each in versions.versions("fish-base")] == [3, 2, 1]
    assert versions.versions("fish-nothing") == []


def test_a_version_is_fetched_whole(
    store: mlflow.MlflowClient, registered: dict[str, str], tmp_path: Path
) -> None:
    folder = versions.fetch(versions.find("fish-base/1"), tmp_path)
    _, description = load(folder)
    assert description.species == ("Bream", "Shrimp", "Trout")
    assert (folder / "known.safetensors").is_file()


def test_files_that_are_gone_are_a_message(
    store: mlflow.MlflowClient, registered: dict[str, str], tmp_path: Path
) -> None:
    version = versions.find("fish-base/3")
    files = Path(mlflow.artifacts.download_artifacts(run_id=version.run_id))
    (files / "model/artifacts/base/model.json").unlink()
    with pytest.raises(UserError, match=r"the files of fish-base/3 are gone, or are not fishline"):
        versions.fetch(version, tmp_path)
    with pytest.raises(UserError, match=r"the files of fish-base/99 cannot be had"):
        versions.fetch(replace(version, number=99), tmp_path)


def test_a_file_of_a_run(
    store: mlflow.MlflowClient, registered: dict[str, str], tmp_path: Path
) -> None:
    version = versions.find("fish-base/1")
    found = versions.run_file(version, "model/artifacts/base/model.json", tmp_path)
    assert found is not None and found.read_text().startswith("{")
    assert versions.run_file(version, "model/nothing.json", tmp_path) is None
