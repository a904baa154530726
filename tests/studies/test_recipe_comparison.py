"""Recipes over seeds: runs in a real store, asked by the command."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from pytest import approx
from replicate_runs import trained
from scipy import stats

from fishline.cli.main import main
from fishline.studies.intervals import student_interval
from fishline.tracking import run as tracking_run
from fishline.tracking.store import connect

A = {"1": 0.90, "2": 0.80, "3": 0.85}
B = {"1": 0.70, "2": 0.65, "3": 0.66}


@pytest.fixture(autouse=True)
def experiment(store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has an experiment of its own."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    connect()


@pytest.fixture
def two(store: MlflowClient) -> dict[str, dict[str, str]]:
    """Two recipes, the better one older: the run of each split's seed, by learning rate."""
    return {"0.1": recipe(store, A, lr="0.1"), "0.2": recipe(store, B, lr="0.2")}


def recipe(
    store: MlflowClient, accuracies: dict[str, float], over: str = "split.seed", **params: str
) -> dict[str, str]:
    return {
        value: trained(store, accuracy, {over: value, **params}, test_macro_f1=accuracy - 0.1)
        for value, accuracy in accuracies.items()
    }


def compare(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["compare", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == code, done.output
    return done


def compared(over: str = "split.seed") -> dict[str, Any]:
    found = json.loads(compare("--over", over, "fish-finetuned", "--json").stdout)
    assert isinstance(found, dict)
    return found


def logged(store: MlflowClient) -> Run:
    """The newest run of `compare`."""
    experiment = store.get_experiment_by_name(tracking_run.experiment_name())
    assert experiment is not None
    return store.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'compare'")[0]


def test_means_and_the_paired_difference(two: dict[str, dict[str, str]]) -> None:
    found = compared()
    assert (found["model"], found["over"]) == ("fish-finetuned", "split.seed")
    first, second = found["recipes"]
    assert (first["params"], second["params"]) == ({"lr": "0.1"}, {"lr": "0.2"})
    assert (first["runs"], second["runs"]) == (two["0.1"], two["0.2"])
    accuracies = list(A.values())
    assert first["accuracy"] == {
        "mean": approx(np.mean(accuracies)),
        "sd": approx(np.std(accuracies, ddof=1)),
        "lowest": 0.80,
        "highest": 0.90,
    }
    assert second["macro_f1"]["mean"] == approx(np.mean(list(B.values())) - 0.1)
    assert second["worst_recall"] is None
    (difference,) = found["differences"]
    changes = np.array(accuracies) - np.array(list(B.values()))
    assert difference["values"] == ["1", "2", "3"] and difference["left_out"] == []
    assert difference["mean"] == approx(changes.mean())
    # Nadeau & Bengio: 0.2 of the photographs are to test on, 0.7 to train with.
    error = np.std(changes, ddof=1) * math.sqrt(1 / 3 + 0.2 / 0.7)
    half = stats.t.ppf(0.975, 2) * error
    assert difference["interval"] == approx([changes.mean() - half, changes.mean() + half])
    assert (difference["better"], difference["verdict"]) == (1, "1 is better")


def test_over_one_split_the_interval_is_students(store: MlflowClient) -> None:
    recipe(store, A, "seed", lr="0.1")
    recipe(store, B, "seed", lr="0.2")
    (difference,) = compared("seed")["differences"]
    changes = [A[value] - B[value] for value in A]
    assert difference["interval"] == approx(student_interval(changes, 0.95))
    assert difference["interval"] == approx(
        stats.t.interval(0.95, 2, np.mean(changes), stats.sem(changes))
    )
    assert "of this one split" in compare("--over", "seed", "fish-finetuned").stdout


def test_the_same_in_words(two: dict[str, dict[str, str]], store: MlflowClient) -> None:
    trained(store, 0.5, {"lr": "0.3"})
    text = compare("--over", "split.seed", "fish-finetuned").stdout
    rows = [line.split() for line in text.splitlines()]
    assert ["1", "lr=0.1", "3", *"0.850 ± 0.050 0.750 ± 0.050 0.800 0.900".split()] in rows
    assert ["1", "−", "2", "3", "+0.180"] in [row[:5] for row in rows]
    assert text.count("1 is better") == 1
    assert "Left out: 1 recipe with one value of split.seed alone." in text
    assert "Nadeau & Bengio 2003" in text
    assert max(map(len, text.splitlines())) <= 100


def test_of_a_difference_that_chance_may_make_none_is_shown(store: MlflowClient) -> None:
    recipe(store, A, lr="0.1")
    recipe(store, {"1": 0.70, "2": 0.90, "3": 0.80}, lr="0.2")
    (difference,) = compared()["differences"]
    assert (difference["better"], difference["verdict"]) == (None, "no difference shown")


def test_the_best_mean_may_be_worse_where_both_were_trained(store: MlflowClient) -> None:
    recipe(store, {"1": 0.50, "2": 0.60, "9": 1.0, "10": 1.0}, lr="0.1")
    recipe(store, {"1": 0.60, "2": 0.701}, lr="0.2")
    (difference,) = compared()["differences"]
    assert difference["values"] == ["1", "2"]
    assert (difference["mean"], difference["verdict"]) == (approx(-0.1005), "2 is better")


def test_pairs_of_different_test_images_are_left_out(store: MlflowClient) -> None:
    recipe(store, A, lr="0.1")
    for value, images in (("1", "d1-1"), ("2", "d1-2"), ("3", "others"), ("4", "d1-4")):
        trained(store, 0.5 + int(value) / 50, {"lr": "0.2", "split.seed": value}, None, images)
    (difference,) = compared()["differences"]
    assert (difference["values"], difference["left_out"]) == (["1", "2"], ["3"])
    text = compare("--over", "split.seed", "fish-finetuned").stdout
    assert "judged on the same splits. Left out:\n  1 − 2: split.seed 3\n" in text


@pytest.mark.parametrize("digest", ["", "others"])
def test_recipes_of_other_splits_are_not_judged(store: MlflowClient, digest: str) -> None:
    for value, accuracy in A.items():
        trained(store, accuracy, {"split.seed": value}, test_images=digest and "mine")
        trained(store, 0.1, {"split.seed": value, "split.test": "0.1"}, test_images=digest)
    (difference,) = compared()["differences"]
    assert (difference["values"], difference["mean"]) == ([], None)
    assert difference["verdict"] == "not judged: fewer than two pairs"


@pytest.mark.parametrize(
    ("change", "said"), [(0.0, "no difference shown"), (0.1, "not judged: all pairs differ by")]
)
def test_equal_differences_are_no_certainty(store: MlflowClient, change: float, said: str) -> None:
    recipe(store, A, lr="0.1")
    recipe(store, {value: accuracy - change for value, accuracy in A.items()}, lr="0.2")
    (difference,) = compared()["differences"]
    assert (difference["interval"], difference["mean"]) == (None, approx(change))
    assert difference["verdict"].startswith(said)


def test_one_recipe_is_listed_alone(store: MlflowClient) -> None:
    recipe(store, A)
    text = compare("--over", "split.seed", "fish-finetuned").stdout
    assert "all the same" in text and "0.850 ± 0.050" in text
    assert "pairs" not in text
    assert compared()["differences"] == []


def test_other_data_is_another_recipe_by_its_hash(store: MlflowClient) -> None:
    recipe(store, A)
    for value, accuracy in B.items():
        trained(store, accuracy, {"split.seed": value}, {"data.hash": "0123456789"})
    assert "data.hash=0123456 " in compare("--over", "split.seed", "fish-finetuned").stdout
    assert "data.hash" not in logged(store).data.tags


def test_it_is_a_run(two: dict[str, dict[str, str]], store: MlflowClient, tmp_path: Path) -> None:
    text = compare("--over", "split.seed", "fish-finetuned").stdout
    run = logged(store)
    assert (run.info.status, run.info.run_name[:10]) == ("FINISHED", "compare · ")
    assert run.data.params == {"compare.model": "fish-finetuned", "compare.over": "split.seed"}
    assert {"git.commit", "git.dirty"} <= set(run.data.tags)
    assert (run.data.tags["data.hash"], run.data.tags["split.strategy"]) == ("d1", "grouped")
    means = store.get_metric_history(run.info.run_id, "test_accuracy_mean")
    assert [(point.step, point.value) for point in means] == [(1, approx(0.85)), (2, approx(0.67))]
    assert run.data.metrics["test_macro_f1_sd"] == approx(0.0265, abs=1e-3)
    assert run.data.metrics["difference"] == approx(0.18)
    low, high = (run.data.metrics[f"difference_{end}"] for end in ("low", "high"))
    assert low < run.data.metrics["difference"] < high
    file = store.download_artifacts(run.info.run_id, "compare.txt", str(tmp_path))
    assert Path(file).read_text() == text.rstrip("\n")
    file = store.download_artifacts(run.info.run_id, "compare.json", str(tmp_path))
    assert json.loads(Path(file).read_text())["recipes"][0]["runs"] == two["0.1"]


def test_a_store_that_takes_no_files_is_a_message_below_the_table(
    two: dict[str, dict[str, str]], store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MlflowException("disk full")

    monkeypatch.setattr(tracking_run, "log_text", refuse)
    done = compare("--over", "split.seed", "fish-finetuned", code=1)
    assert "1 is better" in done.stdout
    assert "does not take the comparison: disk full" in done.stderr
    assert logged(store).info.status == "FAILED"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--over split.seed fish-base", "no finished and tested run of train-base in the"),
        ("--over seed fish-finetuned", "no recipe of fish-finetuned was trained with two values"),
        ("--over split.sead fish-finetuned", "no run of finetune has a parameter 'split.sead'"),
        ("--over seed fish-finetuned/3", "fish-base or fish-finetuned, not for 'fish-finetuned/3'"),
    ],
)
def test_nothing_to_compare_is_a_message(two: object, words: str, said: str) -> None:
    done = compare(*words.split(), code=1)
    assert said in done.stderr and done.stdout == ""


@pytest.mark.parametrize("words", ["fish-base", "--over seed", "--over seed fish-base fish-base"])
def test_two_models_or_one_over_a_parameter(words: str) -> None:
    assert compare(*words.split(), code=2).stdout == ""
