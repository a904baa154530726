"""One training as one run, whatever breaks it off; a real store, the model's export left out."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from fishline.core.errors import UserError
from fishline.core.params import Params, Training, load_params
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, build
from fishline.models.devices import seed_everything
from fishline.models.transfer import freeze
from fishline.serving import log_model
from fishline.tracking import checkpoints, metric_buffer, versions
from fishline.tracking import run as tracking_run
from fishline.tracking.checkpoints import kept
from fishline.training import run as training_run
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
    table = images.table.assign(original="x", sha256=request.node.name)
    subsets = {p: replace(images, table=table.assign(part=p)) for p in ("train", "validation")}
    described = replace(config, network="fishline")

    def run(**changes: Any) -> None:
        chosen = replace(settings, epochs=EPOCHS, augment=True, ema=0.9, **changes)
        rng = seed_everything(chosen.seed)
        network = build(described)
        job = training_run.Job(
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


def break_off_at(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break off in the step after `count` steps."""
    step, done = Trainer._step, []

    def counting(self: Trainer, *arguments: Any) -> Any:
        if len(done) == count:
            raise Power
        done.append(1)
        return step(self, *arguments)

    monkeypatch.setattr(Trainer, "_step", counting)


@pytest.mark.parametrize("count", [0, 1, 3, 8])
def test_broken_off_and_run_again_it_ends_with_the_same_bytes_as_one_run(
    project: mlflow.MlflowClient,
    train: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    count: int,
) -> None:
    train()
    expected, first = outputs(), run_id()
    assert whole(project)
    always = {"checkpoint_minutes": 1e-9}
    with monkeypatch.context() as patch:
        break_off_at(count, patch)
        with pytest.raises(Power):
            train(**always)
    capsys.readouterr()
    train(**always)
    assert outputs() == expected
    assert run_id() != first
    assert whole(project)
    said = capsys.readouterr().out
    epochs, more = divmod(count, STEPS)
    where = f"after epoch {epochs} of {EPOCHS}" + (f", step {more} of the next" if more else "")
    assert (f"train-base: resumes {where} (run {run_id()})" in said) == (count > 0)
    experiment_id = project.get_run(first).info.experiment_id
    key = project.get_run(run_id()).data.tags[tracking_run.FINGERPRINT]
    same = project.search_runs([experiment_id], f"tags.`{tracking_run.FINGERPRINT}` = '{key}'")
    assert len(same) == 2  # the whole one, and the one that was broken off


def test_other_parameters_are_never_resumed(
    train: Callable[..., None], params: Params, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        break_off_at(4, patch)
        with pytest.raises(Power):
            train()
    changed = replace(params, lr=params.lr * 2)
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

    train()
    expected = outputs()
    with monkeypatch.context() as patch:
        patch.setattr(metric_buffer, "send", lost)
        with pytest.raises(UserError, match="the trained model cannot be stored"):
            train(lr=0.0010001)
    (checkpoint,) = [found for found in kept() if not found.is_finished()]
    state = checkpoint.load()
    assert state is not None
    assert len(state["unsent"]) == EPOCHS * 5 + EPOCHS * STEPS * 2
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", lost)  # nothing is trained again
        train(lr=0.0010001)
    assert run_id() == state["run_id"]
    assert whole(project)
    assert outputs() != expected  # of the other learning rate
    assert project.get_run(run_id()).info.status == "FINISHED"


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


@pytest.mark.parametrize(
    ("in_dvc", "stored", "resumes"),
    [(False, False, False), (True, True, False), (True, False, True)],
    ids=["by hand", "forced", "killed before DVC stored it"],
)
def test_what_is_finished_is_trained_anew_unless_dvc_was_broken_off(
    train: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    in_dvc: bool,
    stored: bool,
    resumes: bool,
) -> None:
    train()
    record = Path("models/base.run.json").read_bytes()
    md5 = hashlib.md5(record, usedforsecurity=False).hexdigest() if stored else "of another run"
    out = f"{{path: models/base.run.json, md5: {md5}}}"
    Path("dvc.lock").write_text(f"stages: {{train-base: {{outs: [{out}]}}}}")
    if in_dvc:
        monkeypatch.setenv("DVC_STAGE", "train-base")
    capsys.readouterr()
    train()
    assert ("resumes after epoch 3 of 3" in capsys.readouterr().out) == resumes
    assert (Path("models/base.run.json").read_bytes() == record) == resumes


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
