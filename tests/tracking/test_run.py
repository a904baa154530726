"""The tracking store, runs, and what is logged to them; a real SQLite store throughout."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import psutil
import pytest
from mlflow.exceptions import MlflowException

from fishline.core.errors import UserError
from fishline.data.dataset import Images
from fishline.tracking import metric_buffer
from fishline.tracking import run as tracking_run
from fishline.tracking import store as tracking_store


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert tracking_store.tracking_uri() == "http://localhost:5000"


def test_without_one_it_is_in_the_main_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # as DVC sets it in a temporary workspace
    assert tracking_store.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_several_processes_can_start_on_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    code = """
import mlflow
from fishline.tracking.store import connect, experiment_name
client = connect()
with mlflow.start_run():
    pass
print(client.get_experiment_by_name(experiment_name()).artifact_location)
"""
    environment = {"DVC_ROOT": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "PATH": ""}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    assert {out.strip() for out, _ in ended} == {(tmp_path / "mlartifacts").as_uri()}


def test_an_unusable_store_is_a_message_that_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 cannot be used"):
        tracking_store.connect()


def test_a_deleted_experiment_is_a_message_that_says_how_to_restore_it(
    store: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "gone")
    tracking_store.connect()
    found = store.get_experiment_by_name("gone")
    assert found is not None
    store.delete_experiment(found.experiment_id)
    with pytest.raises(UserError, match=f"restore -x {found.experiment_id}"):
        tracking_store.connect()


@pytest.fixture
def subsets(images: Images) -> dict[str, Images]:
    table = images.table.assign(original="x", sha256="0")
    whole = Images(images.pixels, images.rows, images.labels, images.species, table)
    return {"train": whole, "validation": whole, "test": whole}


@pytest.fixture
def finished(store: mlflow.MlflowClient, subsets: dict[str, Images]) -> Iterator[str]:
    params = {"lr": 0.1, "base.species": ("A", "B")}
    with tracking_run.stage_run("train-base", params, subsets, {"dvc.exp": "wet-cod"}) as log:
        for number in (1, 2):
            log.add({"train_loss": 0.5 / number, "val_loss": 0.6}, number)
        log.send()
    yield log.run_id


def test_a_stage_is_one_run_with_its_params_curves_and_data(
    store: mlflow.MlflowClient, finished: str
) -> None:
    run = store.get_run(finished)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "train-base · wet-cod"
    assert run.data.params == {"lr": "0.1", "base.species": "A, B"}
    curve = store.get_metric_history(finished, "train_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 0.25)]
    assert set(run.data.metrics) == {"train_loss", "val_loss"}
    contexts = {tag.value for data in run.inputs.dataset_inputs for tag in data.tags}
    assert contexts == {"training", "validation", "testing"}


def test_seeded_runs_have_names_of_their_own_and_leave_the_seed_alone(
    store: mlflow.MlflowClient, subsets: dict[str, Images]
) -> None:
    names = set()
    for _ in range(2):
        random.seed(42)
        with tracking_run.stage_run("train-base", {}, subsets, {}) as log:
            names.add(store.get_run(log.run_id).info.run_name)
        assert random.random() == random.Random(42).random()
    assert len(names) == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(), "KILLED")],
)
def test_a_run_that_does_not_end_well_says_so(
    store: mlflow.MlflowClient, subsets: dict[str, Images], error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)):
        with tracking_run.stage_run("finetune", {}, subsets, {}) as log:
            raise error
    assert store.get_run(log.run_id).info.status == status


def test_runs_of_dead_processes_are_ended_and_others_left_alone(
    store: mlflow.MlflowClient,
) -> None:
    tracking_store.connect()
    found = store.get_experiment_by_name(tracking_store.experiment_name())
    assert found is not None
    me = tracking_run._process(psutil.Process())
    host, pid, started = me.split()
    tags = {
        "alive": me,
        "dead": f"{host} 999999999 {started}",
        "pid used again": f"{host} {pid} {int(started) - 1000}",
        "another machine": f"not-{host} 999999999 {started}",
    }
    runs = {
        name: store.create_run(found.experiment_id, tags={tracking_run.PROCESS: tag}).info.run_id
        for name, tag in tags.items()
    }
    tracking_run.end_stale_runs(store)
    status = {name: store.get_run(run_id).info.status for name, run_id in runs.items()}
    assert status == {
        "alive": "RUNNING",
        "dead": "KILLED",
        "pid used again": "KILLED",
        "another machine": "RUNNING",
    }


def steps(store: mlflow.MlflowClient, run_id: str, key: str = "loss") -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store.get_metric_history(run_id, key)]


def test_sending_twice_stores_once(store: mlflow.MlflowClient, subsets: dict[str, Images]) -> None:
    with tracking_run.stage_run("train-base", {}, subsets, {}) as log:
        for step in range(1, 1203):  # more than one call takes
            log.add({"loss": 1 / step}, step)
        kept = list(log.unsent)
        log.send()
        assert log.unsent == []
        log.unsent = kept  # as a checkpoint from before the sending has them
        log.finish()
    assert steps(store, log.run_id) == [(step, 1 / step) for step in range(1, 1203)]


def test_an_experiment_that_a_cluster_runs_again_is_the_same_run(
    store: mlflow.MlflowClient, subsets: dict[str, Images]
) -> None:
    """Its checkpoint went with its machine, so that it logs once more what the run has."""
    tags = {"dvc.stage": "finetune", "dvc.exp": "wet-cod", "dvc.queued": "0123abc"}
    with tracking_run.stage_run("finetune", {"lr": 1}, subsets, tags, "a machine") as first:
        for number in (1, 2):
            first.add({"loss": 0.5}, number)
        first.send()
    store.set_terminated(first.run_id, "RUNNING")  # nobody could say that it ended
    with tracking_run.stage_run("finetune", {"lr": 1}, subsets, tags, "another") as again:
        for number in (1, 2, 3):
            again.add({"loss": 0.4}, number)
        again.finish()
    assert again.run_id == first.run_id
    assert steps(store, again.run_id) == [(1, 0.5), (2, 0.5), (3, 0.4)]
    assert store.get_run(again.run_id).info.status == "FINISHED"
    for other in ({"dvc.stage": "train-base"}, {"dvc.queued": "4567def"}):
        with tracking_run.stage_run("finetune", {"lr": 1}, subsets, tags | other) as different:
            assert different.run_id != first.run_id


def lose(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MlflowException("no answer\nand why")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fail)


def test_a_lost_store_costs_no_metric_and_is_not_asked_all_the_time(
    store: mlflow.MlflowClient,
    subsets: dict[str, Images],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = [1000.0]
    with tracking_run.stage_run("train-base", {}, subsets, {}) as log:
        with monkeypatch.context() as patch:
            patch.setattr(metric_buffer.time, "monotonic", lambda: clock[0])
            lose(patch)
            for step in (1, 2):
                log.add({"loss": 0.5}, step)
                log.send()
            assert len(log.unsent) == 2
            said = capsys.readouterr().err
            assert said.count("does not take metrics (no answer)") == 1
            clock[0] += metric_buffer.PAUSE + 1
            log.send()
            assert "does not take metrics" in capsys.readouterr().err
        log.finish()
    assert steps(store, log.run_id) == [(1, 0.5), (2, 0.5)]


def test_without_a_store_at_the_end_the_message_says_what_is_kept() -> None:
    with pytest.raises(UserError, match=r"cannot be stored.*no answer(.|\n)*dvc repro"):
        with tracking_store.needs_store(kept=True):
            raise MlflowException("no answer")


def test_a_store_that_breaks_down_at_the_start_is_a_message(
    store: mlflow.MlflowClient, subsets: dict[str, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr(tracking_run.mlflow, "start_run", fail)
    with pytest.raises(UserError, match=r"mlflow\.db cannot be used: no answer"):
        with tracking_run.stage_run("train-base", {}, subsets, {}):
            pass


def broken(subsets: dict[str, Images], key: str, metric: bool) -> str:
    """A run that broke off, before or after its first metric."""
    with pytest.raises(ValueError):
        with tracking_run.stage_run("train-base", {"lr": 0.1}, subsets, {}, key) as log:
            if metric:
                log.add({"loss": 1.0}, 1)
                log.send()
            raise ValueError
    return log.run_id


def test_a_run_that_broke_off_is_continued_as_itself(
    store: mlflow.MlflowClient, subsets: dict[str, Images]
) -> None:
    early, late = broken(subsets, "key-1", False), broken(subsets, "key-2", True)
    with tracking_run.stage_run("train-base", {"lr": 0.1}, subsets, {}, "key-1") as log:
        assert log.run_id == early
    run = store.get_run(early)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1"}
    assert len(run.inputs.dataset_inputs) == 3  # not noted twice
    # One with metrics is continued by its checkpoint alone: its steps would be there twice.
    with tracking_run.stage_run("train-base", {"lr": 0.1}, subsets, {}, "key-2") as log:
        assert log.run_id != late
    with tracking_run.stage_run("train-base", {"lr": 0.1}, subsets, {}, "key-2", late) as log:
        assert log.run_id == late
    with tracking_run.stage_run("train-base", {"lr": 0.1}, subsets, {}, "key-2", "0" * 32) as log:
        assert log.run_id not in (early, late)


def test_system_metrics_are_logged_if_asked_for(
    store: mlflow.MlflowClient, subsets: dict[str, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "1")
    with tracking_run.stage_run("train-base", {}, subsets, {}, system_metrics=True) as log:
        for _ in range(200):
            if any(key.startswith("system/") for key in store.get_run(log.run_id).data.metrics):
                break
            time.sleep(0.05)
    assert "system/cpu_utilization_percentage" in store.get_run(log.run_id).data.metrics
