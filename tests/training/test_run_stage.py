"""One training as one run, whatever breaks it off; a real store, the model's export left out."""

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow.exceptions import MlflowException

from fishline.core.errors import UserError
from fishline.core.params import Params, load_params
from fishline.core.training_params import Training
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, build
from fishline.models.devices import seed_everything
from fishline.models.trained_model import TrainedModel
from fishline.models.transfer import freeze
from fishline.serving import log_model
from fishline.tracking import checkpoints, metric_buffer, versions
from fishline.tracking import run as tracking_run
from fishline.tracking.checkpoints import kept
from fishline.training import run as training_run
from fishline.training import session
from fishline.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
STEPS = 3  # of an epoch: 24 images in eights
EPOCHS = 3


class Power(BaseException):
    """What no handler expects: stands for kill -9 in the middle of the loop."""


@pytest.fixture
def project(
    tmp_path: Path, store: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> mlflow.MlflowClient:
    """A project's folder; the client of its store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "project_root", lambda: tmp_path)
    monkeypatch.setattr(checkpoints, "SPACING", 0.0)
    monkeypatch.setattr(log_model, "log_model", lambda *arguments: "m-1")
    monkeypatch.setattr(versions, "register", lambda *arguments: 1)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    Path("metrics").mkdir()
    copies = "test_images_with_a_copy_in_train"
    audit = {copies: 0, "random": {copies: 1}}
    Path("metrics/split.json").write_text(json.dumps({"base": audit}))
    return store


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def train(
    project: mlflow.MlflowClient,
    params: Params,
    settings: Training,
    config: ModelConfig,
    images: Images,
    request: pytest.FixtureRequest,
) -> Callable[..., None]:
    """A function that trains as the stage does; its data are this test's own."""
    table = images.table.assign(original="x", group="x", sha256=request.node.name)
    subsets = {p: replace(images, table=table.assign(part=p)) for p in ("train", "validation")}
    described = replace(config, network="fishline")

    def run(**changes: Any) -> None:
        chosen = settings.model_copy(
            update={"epochs": EPOCHS, "augment": True, "ema": 0.9} | changes
        )
        rng = seed_everything(chosen.seed)
        network = build(described)
        job = session.TrainingJob(
            stage="train-base",
            model="base",
            settings=chosen,
            network=network,
            trainable=freeze(network, "all"),
            config=described,
            subsets=subsets,
            rng=rng,
            tags={},
            origin="",
        )
        training_run.run(job, params)

    return run


def outputs() -> dict[str, str]:
    names = ["models/base/model.safetensors", "models/base/model.json", "plots/train-base.csv"]
    names += ["models/base/known.safetensors", "metrics/train-base.json"]
    return {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names}


def run_id() -> str:
    return str(json.loads(Path("models/base.run.json").read_text())["run_id"])


def steps(store: mlflow.MlflowClient, key: str) -> list[int]:
    return [point.step for point in store.get_metric_history(run_id(), key)]


def whole(store: mlflow.MlflowClient) -> bool:
    """Every epoch and every step is there once."""
    everything = list(range(1, EPOCHS + 1)), list(range(1, EPOCHS * STEPS + 1))
    return (steps(store, "train_loss"), steps(store, "train_loss_step")) == everything


def break_off_at(count: int, monkeypatch: pytest.MonkeyPatch, method: str = "_step") -> None:
    """Break off in the step (or another method of the trainer) after `count` of them."""
    original, done = getattr(Trainer, method), []

    def counting(self: Trainer, *arguments: Any) -> Any:
        if len(done) == count:
            raise Power
        done.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, method, counting)


def test_broken_off_and_run_again_it_ends_with_the_same_bytes_as_one_run(
    project: mlflow.MlflowClient,
    train: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train()
    expected, ids = outputs(), {run_id()}
    assert whole(project)
    for count in (0, 1, 3, 8):
        with monkeypatch.context() as patch:
            break_off_at(count, patch)
            with pytest.raises(Power):
                train(checkpoint_minutes=1e-9)
        capsys.readouterr()
        train(checkpoint_minutes=1e-9)
        assert outputs() == expected
        assert whole(project)
        said = capsys.readouterr().out
        epochs, more = divmod(count, STEPS)
        where = f"after epoch {epochs} of {EPOCHS}" + (f", step {more} of the next" if more else "")
        assert (f"train-base: resumes {where} (run {run_id()})" in said) == (count > 0)
        assert run_id() not in ids
        ids.add(run_id())
    run = project.get_run(run_id())
    same = f"tags.`{tracking_run.FINGERPRINT}` = '{run.data.tags[tracking_run.FINGERPRINT]}'"
    found = project.search_runs([run.info.experiment_id], same)
    assert {run.info.run_id for run in found} == ids  # a training broken off is one run


def test_broken_off_in_each_validation_it_still_finishes(
    project: mlflow.MlflowClient, train: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken up there, no step of the epoch is left, and there is no speed to tell."""
    for count in (0, 1, 1):
        with monkeypatch.context() as patch:
            break_off_at(count, patch, "validate")
            with pytest.raises(Power):
                train(checkpoint_minutes=1e-9)
    train(checkpoint_minutes=1e-9)
    assert whole(project)
    assert steps(project, "images_per_second") == []
    metrics = project.get_run(run_id()).data.metrics
    assert "trained_parameters" in metrics
    assert "seconds_per_epoch" not in metrics


def test_a_run_shows_what_its_model_makes_of_validation_images(
    project: mlflow.MlflowClient, train: Callable[..., None]
) -> None:
    train(epochs=1)
    shown = [file.path for file in project.list_artifacts(run_id(), "images")]
    assert len(shown) == 2  # one picture, and a small one of it
    assert all(path.startswith("images/validation examples+step+0+") for path in shown)
    assert "kept_val_accuracy" in project.get_run(run_id()).data.metrics


def test_other_parameters_are_never_resumed(
    train: Callable[..., None], params: Params, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        break_off_at(4, patch)
        with pytest.raises(Power):
            train()
    changed = params.model_copy(update={"lr": params.lr * 2})
    monkeypatch.setattr(training_run, "stage_params", lambda *arguments: {"lr": changed.lr})
    train()
    assert "resumes" not in capsys.readouterr().out


def test_a_store_lost_at_the_end_costs_nothing(
    project: mlflow.MlflowClient,
    train: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def lost(*arguments: Any, **options: Any) -> None:
        raise MlflowException("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(metric_buffer, "send", lost)
        with pytest.raises(UserError, match="the trained model cannot be stored"):
            train()
    (checkpoint,) = kept()
    state = checkpoint.load()
    assert state is not None
    assert len(state["unsent"]) == EPOCHS * 5 + EPOCHS * STEPS * 2
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", lost)  # nothing is trained again
        train()
    assert run_id() == state["run_id"]
    assert whole(project)
    assert project.get_run(run_id()).info.status == "FINISHED"


def test_what_no_disk_took_is_not_said_to_be_kept(
    train: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(TrainedModel, "save", full)
    with pytest.raises(UserError, match="No space left") as error:
        train(epochs=1)
    assert "No checkpoint holds the finished training" in error.value.message
    assert "kept" not in error.value.message
    assert "train-base: the finished training is in no checkpoint" in capsys.readouterr().err


def test_sigterm_ends_a_training_as_ctrl_c_does(
    project: mlflow.MlflowClient,
    train: Callable[..., None],
    tmp_path: Path,
    store_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a process that ignores SIGINT, as a shell starts one in the background."""
    shutil.copy(store_root / "mlflow.db", tmp_path)  # no child shares our connection
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    def terminated(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            monkeypatch.setattr(Trainer, "validate", terminated)
            train(checkpoint_minutes=1e-9)
        except SystemExit as leave:
            if signal.getsignal(signal.SIGTERM) == before:  # put back, whoever's it was
                status = int(leave.code or 0)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGTERM
    (checkpoint,) = kept()
    state = checkpoint.load()
    assert state is not None
    assert mlflow.MlflowClient(uri).get_run(state["run_id"]).info.status == "KILLED"


def test_a_store_that_forgot_the_run_gets_its_epochs_in_a_new_one(
    project: mlflow.MlflowClient, train: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_off_at(7, patch)
        with pytest.raises(Power):
            train()
    (checkpoint,) = kept()
    state = checkpoint.load()
    assert state is not None
    project.delete_run(state["run_id"])
    train()
    assert run_id() != state["run_id"]
    assert steps(project, "train_loss") == [1, 2, 3]


def test_what_is_finished_is_trained_anew_unless_dvc_was_broken_off(
    train: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train()
    cases = {  # started by DVC, which stored the outputs: does it resume?
        "killed before DVC stored it": (True, False, True),
        "forced": (True, True, False),
        "by hand": (False, False, False),
    }
    for case, (in_dvc, stored, resumes) in cases.items():
        record = Path("models/base.run.json").read_bytes()
        md5 = hashlib.md5(record, usedforsecurity=False).hexdigest() if stored else "of another run"
        out = f"{{path: models/base.run.json, md5: {md5}}}"
        Path("dvc.lock").write_text(f"stages: {{train-base: {{outs: [{out}]}}}}")
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if in_dvc:
                patch.setenv("DVC_STAGE", "train-base")
            train()
        assert ("resumes after epoch 3 of 3" in capsys.readouterr().out) == resumes, case
        assert (Path("models/base.run.json").read_bytes() == record) == resumes, case


def test_the_same_training_twice_at_once_keeps_out_of_each_others_way(
    train: Callable[..., None], project: mlflow.MlflowClient
) -> None:
    train()
    expected = outputs()
    (checkpoint,) = kept()
    with checkpoint.held():
        train()
    assert outputs() == expected
    assert whole(project)


@pytest.mark.parametrize(("mode", "leaked", "by_chance"), [("replace", 2, 7), ("extend", 5, 11)])
def test_the_audit_is_of_every_task_of_the_model(
    params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
    leaked: int,
    by_chance: int,
) -> None:
    copies = "test_images_with_a_copy_in_train"
    audits = {
        "base": {copies: 3, "random": {copies: 4}},
        "finetune": {copies: 2, "random": {copies: 7}},
    }
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    Path("metrics/split.json").write_text(json.dumps(audits))
    tree = params.model_dump()
    tree["finetune"]["mode"] = mode
    chosen = Params.model_validate(tree)
    audit = training_run._audit("finetuned", chosen)
    assert (audit[copies], audit["random"][copies]) == (leaked, by_chance)
    if mode == "extend":
        assert {task: audit[task] for task in audits} == audits
