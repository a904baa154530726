"""Runs that differ in one parameter alone, found in a real store."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from pytest import approx
from replicate_runs import trained

from fishline.evaluation.replicates import Spread, evaluated_runs, over_seeds, replicates
from fishline.tracking.search import get_run
from fishline.tracking.store import connect


@pytest.fixture(autouse=True)
def experiment(store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has an experiment of its own."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    connect()


def test_mean_and_standard_deviation_over_a_seed(store: MlflowClient) -> None:
    for seed, accuracy in ((1, 0.7), (2, 0.9), (10, 0.8)):
        trained(store, accuracy, {"seed": str(seed)}, test_macro_f1=accuracy / 2)
    (group,) = replicates(evaluated_runs("finetune"), "seed")
    assert list(group.runs) == ["1", "2", "10"]
    assert "seed" not in group.recipe and group.recipe["data.hash"] == "d1"
    spread = group.spread()
    assert spread is not None
    assert (spread.mean, spread.sd) == (approx(0.8), approx(0.1))
    assert (spread.lowest, spread.highest) == (0.7, 0.9)
    f1 = group.spread("test_macro_f1")
    assert f1 is not None and f1.mean == approx(0.4)
    assert group.spread("test_worst_recall") is None


def test_a_metric_that_one_run_lacks_has_no_spread(store: MlflowClient) -> None:
    trained(store, 0.7, {"seed": "1"}, test_macro_f1=0.5)
    trained(store, 0.7, {"seed": "2"})
    trained(store, 0.7, {"seed": "3"}, test_macro_f1=0.5)
    (group,) = replicates(evaluated_runs("finetune"), "seed")
    assert group.spread("test_macro_f1") is None
    assert group.spread() == Spread(0.7, 0, 0.7, 0.7)


def test_of_a_value_that_was_trained_twice_the_newest_counts(store: MlflowClient) -> None:
    trained(store, 0.1, {"seed": "1"})
    newer = trained(store, 0.7, {"seed": "1"})
    trained(store, 0.9, {"seed": "1"}, status="FAILED")
    trained(store, None, {"seed": "1"})  # not tested
    trained(store, 0.9, {"seed": "2"}, {"dvc.stage": "train-base"})
    (group,) = replicates(evaluated_runs("finetune"), "seed")
    assert {value: run.run_id for value, run in group.runs.items()} == {"1": newer}
    assert group.spread() is None


def test_base_models_of_other_runs_part_no_recipes(store: MlflowClient) -> None:
    for seed in ("1", "2"):
        trained(store, 0.5, {"split.seed": seed}, {"base.run_id": f"base{seed}"})
    (group,) = replicates(evaluated_runs("finetune"), "split.seed")
    assert list(group.runs) == ["1", "2"]


def test_other_parameters_and_other_data_are_other_recipes(store: MlflowClient) -> None:
    trained(store, 0.5, {"seed": "1"})
    trained(store, 0.5, {"seed": "2", "lr": "0.2"})
    trained(store, 0.5, {"seed": "3", "ema": "0.9"})
    trained(store, 0.5, {"seed": "4"}, {"data.hash": "d2"})
    groups = replicates(evaluated_runs("finetune"), "seed")
    assert [list(group.runs) for group in groups] == [["4"], ["3"], ["2"], ["1"]]
    assert replicates(evaluated_runs("finetune"), "epochs") == []


def test_data_that_the_parameter_itself_decides_may_differ(store: MlflowClient) -> None:
    for seed in ("1", "2"):
        trained(store, 0.5, {"sample.seed": seed}, {"data.hash": f"d{seed}"})
    (group,) = replicates(evaluated_runs("finetune"), "sample.seed")
    assert list(group.runs) == ["1", "2"]


def test_over_seeds_are_the_runs_of_this_very_recipe(store: MlflowClient) -> None:
    mine = get_run(trained(store, 0.5))
    assert mine is not None
    assert over_seeds(mine) == {}
    trained(store, 0.6, {"lr": "0.2"})
    trained(store, 0.6, {"lr": "0.2", "seed": "1"})
    trained(store, 0.6, {"seed": "1"}, {"data.hash": "d2"})
    assert over_seeds(mine) == {}
    trained(store, 0.7, {"split.seed": "1"})
    assert {seed: list(group.runs) for seed, group in over_seeds(mine).items()} == {
        "split.seed": ["1", "42"]
    }
    trained(store, 0.7, {"seed": "1"})
    assert list(over_seeds(mine)) == ["seed", "split.seed"]


def test_over_seeds_asks_the_store_once(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = get_run(trained(store, 0.5))
    assert mine is not None
    asked: list[str] = []
    search = MlflowClient.search_runs

    def counted(client: MlflowClient, *arguments: object, **options: object) -> object:
        asked.append(str(arguments))
        return search(client, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    over_seeds(mine)
    assert len(asked) == 1
