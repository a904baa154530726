"""The whole graph on a tiny sample, in a temporary clone, through the real dvc and MLflow.

Runs the README's commands as they stand there, in their order, with a network that starts from
nothing; test_versions.py has the one that comes pretrained.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clone import (
    CHAMPION,
    DATA,
    FROM_NOTHING,
    TRAINING,
    Clone,
    free_port,
    patient_get,
    readme_commands,
    stages_run,
    started,
)

from fishline.cli.stages import STAGES
from fishline.serving.predictor import Predictor


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = Clone(tmp_path_factory.mktemp("clone"), FROM_NOTHING)
    status = subprocess.run(["make", "--question", "env"], cwd=made.folder, capture_output=True)
    assert status.returncode == 0, "the environment is out of date: run the tests with `make test`"
    yield made


@pytest.fixture(scope="module")
def repro(clone: Clone) -> str:
    """What `make repro` prints on a fresh clone."""
    return clone.run("make repro")


def test_make_repro_runs_every_stage_and_says_what_is_next(repro: str) -> None:
    assert stages_run(repro) == list(STAGES)
    assert "is cut off in the middle" in repro or "left out: " in repro
    assert "make ui" in repro.splitlines()[-2]


def test_metrics_and_plots_are_where_dvc_looks(clone: Clone, repro: str) -> None:
    metrics = json.loads((clone.folder / "metrics/evaluate.json").read_text())
    assert set(metrics) == {"base", "finetuned"}
    for model in metrics:
        pairs = pd.read_csv(clone.folder / f"plots/{model}-confusion.csv")
        right = (pairs["actual"] == pairs["predicted"]).mean()
        assert metrics[model]["accuracy"] == pytest.approx(right)
        assert metrics[model]["images"] == len(pairs)
    shown = clone.run("dvc metrics show")
    assert "metrics/evaluate.json" in shown and "base.accuracy" in shown
    rejected = json.loads((clone.folder / "metrics/preprocess.json").read_text())["rejected"]
    assert rejected == 1


def test_both_trainings_are_runs_with_their_test_metrics(clone: Clone, repro: str) -> None:
    metrics = json.loads((clone.folder / "metrics/evaluate.json").read_text())
    for stage, model in (("train-base", "base"), ("finetune", "finetuned")):
        record = json.loads((clone.folder / f"models/{model}.run.json").read_text())
        run = clone.client().get_run(record["run_id"])
        assert run.info.status == "FINISHED"
        assert run.info.run_name.startswith(f"{stage} · ")
        assert run.data.metrics["test_accuracy"] == metrics[model]["accuracy"]
        assert run.data.tags["dvc.stage"] == stage
        assert run.data.tags["split.strategy"] == "grouped"
        assert run.data.tags["git.dirty"] == "false"
        assert {"image_size", "split.train", "lr", "epochs", "sample.seed"} <= set(run.data.params)
        assert ("finetune.lr" in run.data.params) == (stage == "finetune")
        files = {f.path for f in clone.client().list_artifacts(record["run_id"], "test")}
        assert {f"test/{model}-confusion.{kind}" for kind in ("png", "csv")} <= files


def test_the_report_and_the_cards_are_where_people_look(clone: Clone, repro: str) -> None:
    report = (clone.folder / "plots/report.html").read_text()
    metrics = json.loads((clone.folder / "metrics/evaluate.json").read_text())
    versions = {v.name: v for v in clone.client().search_model_versions()}
    for model, name in (("base", "fish-base"), ("finetuned", "fish-finetuned")):
        assert f'<div class="big">{metrics[model]["accuracy"]:.3f}</div>' in report
        card = (clone.folder / f"plots/{model}-card.md").read_text()
        assert versions[name].description == card
        assert f"**{metrics[model]['accuracy']:.3f}**" in card
        files = {f.path for f in clone.client().list_artifacts(versions[name].run_id)}
        assert {"report.html", f"{model}-card.md"} <= files
        run = clone.client().get_run(versions[name].run_id)
        assert run.data.metrics["trained_parameters"] > 1000
        assert run.data.metrics["seconds_per_epoch"] > 0
    assert "dvc exp run -S finetune.train=head" in report
    assert "has no champion yet" in report


def test_both_models_are_registered_and_lead_back_to_their_runs(clone: Clone, repro: str) -> None:
    versions = {v.name: v for v in clone.client().search_model_versions()}
    assert set(versions) == {"fish-base", "fish-finetuned"}
    for name, model in (("fish-base", "base"), ("fish-finetuned", "finetuned")):
        record = json.loads((clone.folder / f"models/{model}.run.json").read_text())
        assert versions[name].run_id == record["run_id"]
    base = json.loads((clone.folder / "models/base.run.json").read_text())["run_id"]
    assert versions["fish-finetuned"].tags["base.run_id"] == base
    assert versions["fish-finetuned"].tags["base.model_version"] == "fish-base/1"


@pytest.mark.slow  # test_run_stage.py has it without DVC
def test_a_killed_training_goes_on_as_the_same_run(clone: Clone, repro: str) -> None:
    """Killed when a checkpoint is there, taken up again by `dvc repro`.

    That it ends with the same bytes, test_run_stage.py shows.
    """
    params = clone.folder / "params.yaml"
    params.write_text(params.read_text().replace("lr: 0.0005", "lr: 0.0006"))
    known = {run.info.run_id for run in clone.runs()}
    kill_at_checkpoint(clone, "dvc repro train-base")
    assert not (clone.folder / "models/base.run.json").exists()
    said = clone.run("dvc repro train-base")
    assert "train-base: resumes after epoch 2 of 2" in said
    (run,) = [run for run in clone.runs() if run.info.run_id not in known]
    assert run.info.status == "FINISHED"
    losses = clone.client().get_metric_history(run.info.run_id, "train_loss")
    assert [point.step for point in losses] == [1, 2]
    clone.git("checkout -q params.yaml")
    assert stages_run(clone.run("dvc repro")) == []  # restored


def kill_at_checkpoint(clone: Clone, command: str) -> None:
    """Kill what `command` starts as soon as there is a checkpoint more."""
    before = set(clone.folder.glob(".fishline/checkpoints/*/training.pt"))
    started = subprocess.Popen(
        ["bash", "-c", command],
        cwd=clone.folder,
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    while started.poll() is None:
        if set(clone.folder.glob(".fishline/checkpoints/*/training.pt")) - before:
            break
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate()
    assert started.returncode == -signal.SIGKILL


def test_a_bad_parameter_stops_an_experiment_with_a_message(clone: Clone, repro: str) -> None:
    said = clone.run("dvc exp run -S split.test=abc", ok=False)
    assert "Error: params.yaml: split.test must be a number above 0 and below 1, not 'abc'" in said
    assert "Traceback" not in said
    clone.git("checkout -q params.yaml")


ELSEWHERE = readme_commands(DATA) + readme_commands(TRAINING) + readme_commands(CHAMPION)
COMMANDS = [c for c in readme_commands() if c not in ELSEWHERE]
SPECIAL = ("make ui", "make test", "source .venv/bin/activate")


def test_the_readme_has_commands() -> None:
    assert {"make repro", "make test", "make ui", "dvc exp run -S lr=0.001"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in SPECIAL])
def test_a_command_of_the_readme(clone: Clone, repro: str, command: str) -> None:
    before = len(clone.runs())
    said = clone.run_readme(command)
    if command == "make repro":  # again
        assert stages_run(said) == []
    if command.startswith("dvc exp run -S"):
        assert len(clone.runs()) == before + 2  # a run for each training, however many processes
    if command.startswith("dvc queue start"):
        wait_for_queue(clone)
        assert len(clone.runs()) == before + 4  # two experiments of two trainings


SWEEPS = readme_commands(page="docs/sweeps.md")
OVER = next(c for c in SWEEPS if c.startswith("fishline compare"))


@pytest.mark.parametrize("command", [c for c in SWEEPS if c != OVER])
def test_a_command_of_the_page_on_sweeps(clone: Clone, repro: str, command: str) -> None:
    """After those of the README: the page empties its queue before it starts a worker."""
    before = len(clone.runs())
    clone.run_readme(command)
    assert len(clone.runs()) == before


def wait_for_queue(clone: Clone) -> None:
    for _ in range(600):
        status = clone.run_readme("dvc queue status")
        if not re.search(r" (Running|Queued)\b", status):
            break
        time.sleep(0.5)  # besides the second that DVC takes
    assert status.count("Success") == 2, clone.run("dvc queue status; dvc queue logs || true")
    clone.run("dvc queue stop --kill")  # idle workers would take what is queued next


def test_runs_of_queued_experiments_outlive_their_workspaces(
    clone: Clone, repro: str, tmp_path: Path
) -> None:
    queued = [r for r in clone.runs() if r.data.params["lr"] in ("0.0001", "0.003")]
    assert len(queued) == 4
    for run in queued:
        assert run.data.tags["dvc.exp"] in run.info.run_name
        assert "test_accuracy" in run.data.metrics
        clone.client().download_artifacts(
            run.info.run_id, "validation/confusion.csv", str(tmp_path)
        )
        state = f"refs/fishline/runs/{run.info.run_id}"  # also where the workspace is gone
        assert f"\nlr: {run.data.params['lr']} " in clone.run(f"git show {state}:params.yaml")
        assert run.data.tags["git.snapshot"] == clone.run(f"git rev-parse {state}").strip()
    versions = clone.client().search_model_versions()
    assert {r.info.run_id for r in queued} <= {v.run_id for v in versions}
    for name in {v.name for v in versions}:
        numbers = sorted(int(v.version) for v in versions if v.name == name)
        assert numbers == list(range(1, len(numbers) + 1))


def test_recipes_are_compared_as_the_page_on_sweeps_says(clone: Clone, repro: str) -> None:
    """Over the learning rates of the README's experiments: no other seed is trained here."""
    before = len(clone.runs())
    text = clone.run_readme(OVER.replace("split.seed", "lr"))
    assert re.search(r"^1 +all the same +4 +0\.\d{3} ± 0\.\d{3} ", text, re.MULTILINE), text
    assert len(clone.runs()) == before + 1


CHAMPIONS = readme_commands(CHAMPION)
SERVE = next(c for c in CHAMPIONS if c.startswith("mlflow models serve"))
ASK = next(c for c in CHAMPIONS if "curl " in c)


@pytest.mark.parametrize("model", ["base", "finetuned"])
def test_what_is_served_is_what_was_evaluated(clone: Clone, repro: str, model: str) -> None:
    """Photograph by photograph: from the files as served, from the cache as evaluated."""
    table = pd.read_csv(clone.folder / f"plots/{model}-predictions.csv")
    record = json.loads((clone.folder / f"models/{model}.run.json").read_text())
    (served_file,) = clone.folder.glob(f"mlartifacts/**/{record['model_id']}/**/model.onnx")
    predictor = Predictor(served_file)
    files = [clone.folder / "data/sample" / file for file in table["file"]]
    answers = list(predictor.predict(files))
    assert [answer.species for answer in answers] == table["answer"].tolist()
    species = list(predictor.species)
    served = [[answer.probabilities[name] for name in species] for answer in answers]
    np.testing.assert_allclose(served, table[species], atol=1e-5)
    best = table[species].idxmax(axis=1)
    assert best.tolist() == table["predicted"].tolist()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=pytest.mark.slow if c.startswith("fishline reproduce") else ())
        for c in CHAMPIONS
        if c not in (SERVE, ASK)
    ],
)
def test_a_command_of_the_readme_on_champions(clone: Clone, repro: str, command: str) -> None:
    before = len(clone.runs())
    if command.startswith("fishline reproduce"):
        said = clone.run(command)
        assert stages_run(said) == [stage for stage in STAGES if stage != "explore"]
        assert "the same bytes and test metrics" in said
        assert "\nWarning: " not in said
    else:
        clone.run_readme(command)
    assert len(clone.runs()) == before


def test_the_champion_is_served_as_the_readme_says(clone: Clone, repro: str) -> None:
    """After its commands: they promote a version."""
    port = free_port()
    with started(clone, SERVE.replace("5001", str(port))) as server:
        assert patient_get(f"http://127.0.0.1:{port}/ping", server) is not None
        (served,) = json.loads(clone.run(ASK.replace("5001", str(port))))["predictions"]
    said = clone.run_readme("fishline predict --json 'data/sample/Red Mullet/00001.png'")
    asked = json.loads(said)
    assert served["error"] is None
    assert served["species"] == asked["species"]
    assert served["probabilities"] == pytest.approx(asked["probabilities"], abs=1e-6)
