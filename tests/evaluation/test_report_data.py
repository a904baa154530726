"""What the report is made of: tables from files, runs from a real store."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch
from champions import Shelf, store_in

from fishline.core.params import Params, load_params
from fishline.evaluation.metrics import classification_report
from fishline.evaluation.report_data import counts, leaky_runs, recipe
from fishline.evaluation.test_run import TestRun
from fishline.models.artifact import ModelConfig, build
from fishline.models.trained_model import TrainedModel
from fishline.tracking.search import Run, get_run

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
SPECIES = ("Bream", "Shrimp", "Trout")
HISTORY = pd.DataFrame({"epoch": range(1, 6)})
TAGS = {"dvc.stage": "train-base", "data.hash": "d1"}


@pytest.fixture(scope="module")
def test_run() -> TestRun:
    third = (0.3, 0.3, 0.3)
    described = ModelConfig("fishline", SPECIES, 48, third, third, "grouped")
    labels = torch.arange(3).numpy()
    empty = pd.DataFrame()
    found = classification_report(labels, labels, SPECIES)
    return TestRun(
        TrainedModel(build(described), described), found, labels, empty, {}, empty, labels
    )  # type: ignore[arg-type]


def test_counts_of_images_and_photographs() -> None:
    rows = [("Bream", "a", "train")] * 3 + [("Bream", "b", "train"), ("Trout", "c", "test")]
    table = pd.DataFrame(rows, columns=["species", "original", "part"])
    found = counts(table, SPECIES)
    assert list(found.index) == list(SPECIES)
    assert found.loc["Bream", ["train_images", "train_photographs"]].tolist() == [4, 2]
    assert found.loc["Trout", ["test_images", "test_photographs"]].tolist() == [1, 1]
    assert found.loc["Shrimp"].sum() == 0


FROM_NOTHING = {"name": "fishline", "weights": "default"}


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        ("base", {"model": FROM_NOTHING}, {"started from": "random weights"}),
        ("base", {}, {"started from": "pretrained weights", "epochs": "5 of 24, kept: last"}),
        ("base", {"model": {"weights": "nonesuch.pt"}}, {"started from": "nonesuch.pt"}),
        (
            "finetuned",
            {"model": {"name": "resnet18", "weights": "default"}},
            {"started from": "the base model"},
        ),
        (
            "base",
            {"base": {"train": "all"}},
            {"parameters": "400,851, of which 370,563 learnt (all)"},
        ),
        (
            "finetuned",
            {"finetune": {"train": "head"}},
            {"parameters": "400,851, of which 771 learnt (head)"},
        ),
    ],
)
def test_what_a_model_was_trained_with(
    test_run: TestRun, model: str, change: Mapping[str, Mapping[str, str]], said: Mapping[str, str]
) -> None:
    tree = PARAMS.model_dump()
    for section, values in change.items():
        tree[section] |= values
    params = Params.model_validate(tree)
    found = recipe(model, test_run, HISTORY, params)
    assert {key: found[key] for key in said} == said
    assert all(parameter.requires_grad for parameter in test_run.model.network.parameters())


@pytest.fixture
def shelf(store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    with store_in(store_root) as client:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", str(tmp_path))
        yield Shelf(tmp_path, client)


def trained(shelf: Shelf, strategy: str, lr: str = "0.1", **tags: str) -> Run:
    number = shelf.version("fish-leaky", params={"split.strategy": strategy, "lr": lr})
    run_id = shelf.store.get_model_version("fish-leaky", str(number)).run_id
    for key, value in {**TAGS, "split.strategy": strategy, **tags}.items():
        shelf.store.set_tag(run_id, key, value)
    found = get_run(run_id)
    assert found is not None
    return found


def test_runs_with_a_leaky_split_and_the_same_recipe(shelf: Shelf) -> None:
    mine = trained(shelf, "grouped")
    assert leaky_runs(mine) == []
    trained(shelf, "random", lr="0.2")
    trained(shelf, "random", **{"data.hash": "d2"})
    trained(shelf, "random", **{"dvc.stage": "finetune"})
    assert leaky_runs(mine) == []
    random = trained(shelf, "random")
    assert leaky_runs(mine) == [random]
    assert leaky_runs(random) == []
