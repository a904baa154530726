"""The accuracy with few photographs: which are drawn, how they are trained on, what is reported."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from scipy import stats

from fishline.core.errors import UserError
from fishline.core.files import write_csv
from fishline.core.params import Params, load_params
from fishline.core.yaml_files import read_yaml
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, build, save
from fishline.stages import preprocess, split
from fishline.studies import learning_curve
from fishline.studies.learning_curve_tables import enough, summarize
from fishline.studies.subsampling import FineTuner, count_photographs, draw_photographs, repeat

ROOT = Path(__file__).parents[2]
SIZE = 48
OLD, NEW = ("Bream", "Shrimp"), ("Goby", "Trout")
PHOTOGRAPHS = {"Bream": 4, "Shrimp": 4, "Goby": 7, "Trout": 5}  # Goby 5 and Trout 3 to train with
COPIES = 2
DrawTree = Callable[[Path, Mapping[str, int]], list[str]]
Digests = Callable[[Path], dict[str, str]]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("1,2,5,10,all", [1, 2, 5, 10, 17]),
        ("all", [17]),
        ("5, 1 ,5", [1, 5]),
        ("17,all", [17]),
        ("40", [40]),
    ],
)
def test_sizes_are_numbers_and_all(text: str, sizes: list[int]) -> None:
    assert learning_curve.read_sizes(text, most=17) == sizes


@pytest.mark.parametrize("text", ["", "0", "1,,2", "-1", "1.5", "many", "٣", "9" * 5000])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--photographs: '.*' is neither a whole number above 0"):
        learning_curve.read_sizes(text, most=17)


def table_of(photographs: Mapping[str, int], copies: int = COPIES) -> pd.DataFrame:
    """A row per image, in no order: for each photograph so many."""
    rows = [
        {"species": name, "original": f"{name}/{n}", "file": f"{name}/{n}-{copy}.png"}
        for name, count in photographs.items()
        for n in range(count)
        for copy in range(copies)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_a_draw_has_whole_photographs_of_the_new_species_and_all_of_others(size: int) -> None:
    table = table_of(PHOTOGRAPHS, copies=3)
    drawn = table.iloc[draw_photographs(table, NEW, size, (1, 1))]
    wanted = {name: min(size, PHOTOGRAPHS[name]) for name in NEW} | {o: PHOTOGRAPHS[o] for o in OLD}
    assert count_photographs(drawn, list(wanted)) == wanted
    assert (drawn.groupby("original").size() == 3).all()
    assert drawn["file"].is_unique


def test_draws_are_nested_reproducible_and_differ() -> None:
    table = table_of(PHOTOGRAPHS)
    for number in range(9):
        two, four = (set(draw_photographs(table, NEW, size, (1, number))) for size in (2, 4))
        assert two < four
    two = set(draw_photographs(table, NEW, 2, (1, 1)))
    shuffled = table.sample(frac=1, random_state=1)  # the order of the rows does not matter
    again = shuffled.iloc[draw_photographs(shuffled, NEW, 2, (1, 1))]
    assert set(again.index) == two
    others = {tuple(draw_photographs(table, NEW, 2, (1, number))) for number in range(9)}
    assert len(others) > 3


def test_images_are_repeated_up_to_the_number_of_all_of_their_species() -> None:
    labels = torch.tensor([0] * 5 + [1] * 8)
    repeated = repeat([0, 1, 5, 6, 7], labels, seed=0)
    assert labels[repeated].bincount().tolist() == [5, 8]
    times = repeated.bincount()
    assert sorted(times[times > 0].tolist()) == [2, 2, 3, 3, 3]
    assert set(repeated.tolist()) == {0, 1, 5, 6, 7}


def measured(size: int, draw: int, images: int, accuracy: float, **recalls: float) -> pd.DataFrame:
    """What a training gave, as the tables are made of it."""
    whole = {"photographs": size, "draw": draw, "images": images, "accuracy": accuracy}
    recalls = recalls or dict.fromkeys(NEW, accuracy)
    return pd.DataFrame([{"species": name, "recall": r, **whole} for name, r in recalls.items()])


def test_the_interval_is_students() -> None:
    scores = {1: [0.2, 0.5, 0.4], 5: [0.9, 1.0, 1.0]}
    rows = [
        measured(size, draw, 10 * size + draw, accuracy)
        for size, accuracies in scores.items()
        for draw, accuracy in enumerate(accuracies)
    ]
    table = summarize(pd.concat(rows)).set_index("photographs")
    low, high = stats.t.interval(0.95, 2, np.mean(scores[1]), stats.sem(scores[1]))
    assert low < 0 < high < 1
    assert table.loc[1, ["low", "high"]].tolist() == pytest.approx([0, high])
    assert table.loc[5, "high"] == 1
    assert table.loc[1, ["images", "draws", "lowest", "highest"]].tolist() == [11, 3, 0.2, 0.5]


def test_one_draw_has_no_interval() -> None:
    table = summarize(measured(1, 1, 2, 0.5))
    assert table.loc[0, "accuracy"] == 0.5
    assert table[["low", "high"]].isna().all(axis=None)


def test_enough_is_the_number_from_which_on_a_species_is_told() -> None:
    table = pd.concat(
        [
            measured(1, 1, 2, 0.9, Trout=1.0, Goby=0.8, Bream=0.5),
            measured(1, 2, 2, 0.9, Trout=1.0, Goby=1.0, Bream=0.5),
            measured(2, 1, 4, 0.9, Trout=0.9, Goby=0.9, Bream=0.5),
            measured(2, 2, 4, 0.9, Trout=0.9, Goby=1.0, Bream=1.0),
            measured(5, 1, 9, 0.9, Trout=1.0, Goby=1.0, Bream=0.9),
        ]
    )
    # Of Trout one is enough, and then two are not: luck.
    assert enough(table) == {"Trout": 5, "Goby": 2, "Bream": None}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Parameters for seconds, in a folder with a base model."""
    monkeypatch.chdir(tmp_path)
    tree: dict[str, Any] = read_yaml(ROOT / "params.yaml")
    tree |= {"image_size": SIZE, "device": "cpu", "base": {"species": OLD, "train": "all"}}
    tree["finetune"] |= {"species": NEW, "epochs": 2, "batch_size": 4}
    tree["views"], tree["model"] = 2, {"name": "fishline", "weights": "none"}
    (tmp_path / "params.yaml").write_text(json.dumps(tree))  # JSON is YAML
    third = (0.5, 0.5, 0.5)
    described = ModelConfig("fishline", OLD, SIZE, third, third, "grouped")
    torch.manual_seed(0)
    save(tmp_path / "models/base", build(described), described)
    return load_params()


def make_parts(params: Params) -> dict[str, Images]:
    """Noisy pictures, each species of another brightness, of the model that `params` asks for."""
    names = NEW if params.finetune.mode == "replace" else OLD + NEW
    table = table_of({name: 3 for name in names})
    labels = torch.tensor([names.index(name) for name in table["species"]])
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (len(table), SIZE, SIZE, 3), np.uint8)
    pixels += (labels.numpy() * 60).astype(np.uint8)[:, None, None, None]
    images = Images(torch.from_numpy(pixels), torch.arange(len(table)), labels, names, table)
    return {"train": images, "validation": images, "test": images}


def with_finetune(params: Params, **changes: Any) -> Params:
    finetune = params.finetune.model_copy(update=changes)
    return params.model_copy(update={"finetune": finetune})


def weights(tuner: FineTuner) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in tuner._trainer.network.state_dict().items()}


@pytest.mark.parametrize(
    ("train", "ema"), [("head", 0.0), ("classifier", 0.9), ("all", 0.0), ("all", 0.9)]
)
def test_a_training_does_not_depend_on_those_before_it(
    params: Params, train: str, ema: float
) -> None:
    params = with_finetune(params, train=train).model_copy(update={"ema": ema})
    subsets = make_parts(params)
    few, many = (draw_photographs(subsets["train"].table, NEW, size, (1, 1)) for size in (1, 3))
    tuner = FineTuner(params, subsets)
    first = tuner.right(few, 1, ""), weights(tuner)
    tuner.right(many, 2, "")
    other = weights(tuner)
    again = tuner.right(few, 1, ""), weights(tuner)
    assert first[0].equals(again[0])
    assert all(torch.equal(first[1][name], again[1][name]) for name in first[1])
    assert not all(torch.equal(first[1][name], other[name]) for name in other)


def test_each_seed_starts_with_another_last_layer_and_order(params: Params) -> None:
    tuner = FineTuner(params.model_copy(update={"ema": 0.9}), make_parts(params))
    trainer, heads, orders = tuner._trainer, [], []
    for seed in (1, 2, 1):
        tuner._begin(seed, range(8))
        live, averaged = weights(tuner), trainer.weights()
        assert all(torch.equal(live[name], averaged[name]) for name in live)
        heads.append(trainer.network.classifier[-1].weight.detach().clone())
        orders.append(torch.randperm(99, generator=trainer.rng))
    for found in (heads, orders):
        assert torch.equal(found[0], found[2])
        assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("train", ["classifier", "all"])
def test_few_photographs_take_as_many_steps_and_what_is_frozen_runs_once(
    params: Params, train: str
) -> None:
    params = with_finetune(params, train=train)
    subsets = make_parts(params)
    tuner = FineTuner(params, subsets)
    network, optimizer = tuner._trainer.network, tuner._trainer.optimizer
    calls = []
    network.features[0].register_forward_hook(lambda *_: calls.append(1))
    for size in (1, 3):
        tuner.right(draw_photographs(subsets["train"].table, NEW, size, (1, 1)), 1, "")
        steps = {int(state["step"]) for state in optimizer.state.values()}
        assert steps == {2 * 3}  # epochs × 12 images in batches of 4
    assert bool(calls) == (train == "all")


def test_beside_base_species_the_new_ones_alone_are_tested(params: Params) -> None:
    params = with_finetune(params, mode="extend")
    subsets = make_parts(params)
    tuner = FineTuner(params, subsets)
    assert tuner._test.labels.unique().tolist() == [2, 3]
    seen: list[int] = []
    take = tuner._all.take
    tuner._all.take = lambda p, d=None: (seen.extend(p.tolist()), take(p, d))[1]  # type: ignore
    drawn = draw_photographs(subsets["train"].table, NEW, 1, (1, 1))
    tuner.right(drawn, 1, "")
    assert set(seen) == set(drawn)
    assert count_photographs(subsets["train"].table.iloc[drawn], OLD) == {"Bream": 3, "Shrimp": 3}


def test_what_is_easily_told_is_learnt(params: Params) -> None:
    params = with_finetune(params, train="all", epochs=15, augment=False)
    subsets = make_parts(params)
    drawn = draw_photographs(subsets["train"].table, NEW, 1, (1, 1))
    assert FineTuner(params, subsets).right(drawn, 1, "").all()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a project after `split`, filled by the first test that needs it."""
    return tmp_path_factory.mktemp("prepared") / "data"


@pytest.fixture
def project(params: Params, tmp_path: Path, draw_tree: DrawTree, prepared: Path) -> Params:
    """A project after `split`: for each photograph two files, as originals.csv has it."""
    if not prepared.exists():
        counts = {name: count * COPIES for name, count in PHOTOGRAPHS.items()}
        files = draw_tree(tmp_path / "data/sample", counts)
        names = [f"{file.split('/')[0]}/{(int(file[-6:-4]) - 1) // COPIES}" for file in files]
        record = pd.DataFrame({"file": files, "original": names})
        write_csv(tmp_path / "data/sample/originals.csv", record)
        preprocess.main()
        split.main()
        shutil.copytree("data", prepared)
    else:
        shutil.copytree(prepared, "data")
    return params


def test_the_command_writes_table_plot_and_run_and_nothing_else(
    project: Params,
    store: MlflowClient,
    tmp_path: Path,
    digests: Digests,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = digests(tmp_path)
    capsys.readouterr()
    learning_curve.main("1,4,9,all", draws=2)
    said = capsys.readouterr().out
    assert "Goby 5, Trout 3" in said
    assert "A species that has fewer than are asked for gives all" in said
    assert "No species has 9: that is cut to 5" in said
    assert "5 (all)" in said and "95% interval" in said
    after = digests(tmp_path)
    assert re.search(r"recall of a species is 0\.95: Goby .*, Trout ", said)
    new = {f"plots/curve{end}" for end in (".csv", "-draws.csv", "-species.csv", ".png")}
    assert set(after) - set(before) == new
    assert {name: after[name] for name in before} == before
    ignored = (ROOT / "plots/.gitignore").read_text().split()
    assert {name.removeprefix("plots") for name in new} <= set(ignored)

    table = pd.read_csv("plots/curve.csv")
    assert table["photographs"].tolist() == [1, 4, 5]
    assert table["images"].tolist() == [4, 14, 16]
    draws = pd.read_csv("plots/curve-draws.csv")
    assert draws.groupby("photographs")["accuracy"].mean().tolist() == table["accuracy"].tolist()

    experiment = store.get_experiment_by_name("fishline")
    assert experiment is not None
    (run,) = store.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'curve'")
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("curve · ")
    assert {"git.commit", "data.hash", "split.strategy", "base.run_id"} <= set(run.data.tags)
    assert run.data.params["curve.photographs"] == "1, 4, 5"
    assert {"finetune.lr", "seed"} <= set(run.data.params)
    points = store.get_metric_history(run.info.run_id, "test_accuracy")
    assert [point.step for point in points] == [1, 4, 5]
    assert [point.value for point in points] == table["accuracy"].tolist()
    files = {file.path for file in store.list_artifacts(run.info.run_id, "curve")}
    assert files == {name.replace("plots", "curve") for name in new}

    learning_curve.main("1,4,9,all", draws=2)
    assert digests(tmp_path) == after


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (lambda: Path("models/base/model.json").unlink(), "model.json not found; `dvc repro`"),
        (lambda: Path("data/split/finetune.csv").unlink(), "finetune.csv is missing"),
    ],
)
def test_what_is_missing_is_named_before_a_run_is_opened(
    project: Params, tmp_path: Path, cause: Callable[[], None], said: str
) -> None:
    cause()
    with pytest.raises(UserError, match=said):
        learning_curve.main("1", draws=1)
    assert not list(tmp_path.glob("mlflow.db*"))
    assert not Path("plots/curve.csv").exists()


def test_results_that_the_store_does_not_take_stay(
    project: Params, store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(paths: list[Path], folder: str) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(learning_curve.run, "log_files", fail)
    with pytest.raises(UserError, match=r"No space left on device\nThey stand in plots/curve\.csv"):
        learning_curve.main("1", draws=1)
    assert len(pd.read_csv("plots/curve.csv")) == 1
