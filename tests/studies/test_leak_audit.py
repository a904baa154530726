"""The control with labels drawn by lot: chance for an honest split, memory for a leaky one."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fishline.core.errors import UserError
from fishline.core.params import Data, load_params
from fishline.data.cache import Cache
from fishline.data.prepare.colour_baseline import BINS, colours
from fishline.data.sample.drawing import draw_sample
from fishline.stages.preprocess import preprocess
from fishline.studies import leak_audit
from fishline.studies.leak_audit import Control, control, report

ROOT = Path(__file__).parents[2]
COPIES = 6


def images(photographs: int, leaky: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Copies of each photograph lie close to each other; leaky: they are in both parts."""
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(photographs), COPIES)
    features = rng.normal(size=(photographs, 5))[number] + rng.normal(0, 0.01, (len(number), 5))
    which = np.tile(np.arange(COPIES), photographs) if leaky else number
    subset = np.where(which % 3 == 0, "test", "train")
    table = pd.DataFrame({"original": number.astype(str), "part": subset})
    return table, features.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 5])
def test_an_honest_split_scores_at_chance(classes: int, seed: int) -> None:
    found = control(*images(30, leaky=False), classes, seed)
    assert found.chance == 1 / classes
    assert found.low < found.accuracy < found.high
    assert abs(found.accuracy - found.chance) < 0.06
    assert found.verdict == "honest"


def test_a_leaky_split_scores_far_above() -> None:
    found = control(*images(30, leaky=True), 5, 0)
    assert (found.low, found.accuracy, found.high, found.verdict) == (1, 1, 1, "leaks")


def test_one_leaking_photograph_of_many_is_seen_with_enough_copies() -> None:
    table, features = images(30, leaky=False)
    leak = table.index[table["original"] == "1"][:3]
    table.loc[leak, "part"] = "test"
    few, none = control(table, features, 5, 0), control(*images(30, leaky=False), 5, 0)
    assert few.accuracy > none.accuracy


def test_the_interval_holds_chance_as_often_as_it_says() -> None:
    table, features = images(20, leaky=False)
    inside = [
        c.low <= c.chance <= c.high for c in (control(table, features, 4, s) for s in range(200))
    ]
    assert 0.97 <= np.mean(inside) <= 1


@pytest.mark.parametrize(("low", "verdict"), [(0.21, "leaks"), (0.2, "honest"), (0.1, "honest")])
def test_the_verdict_is_the_intervals(low: float, verdict: str) -> None:
    assert Control(0.3, low, 0.4, 0.2).verdict == verdict


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose sample is drawn, packed, and not yet split."""
    folder = tmp_path_factory.mktemp("project")
    draw_sample(folder / "data/sample", seed=0, originals=4, copies=3)
    text = (ROOT / "params.yaml").read_text().replace("image_size: 128", "image_size: 48")
    (folder / "params.yaml").write_text(text)
    params = load_params(folder / "params.yaml")
    data = Data(dir=str(folder / "data/sample"), conflicts="fail", personal="drop")
    preprocess(data, params.species, params.image_size, folder / "data/cache")
    return folder


def test_the_report_compares_the_strategies(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    table = report(load_params()).set_index(["task", "split"])
    assert list(table.index) == [
        (task, split)
        for task in ("base", "finetune")
        for split in ("grouped", "stratified", "random")
    ]
    for task in ("base", "finetune"):
        grouped, leaky = table.loc[(task, "grouped")], table.loc[(task, "stratified")]
        assert (grouped["copy in training"], grouped["verdict"]) == (0, "honest")
        assert leaky["copy in training"] > 0
        assert leaky["verdict"] == "leaks"


def test_one_new_species_beside_the_old_is_drawn_two_labels(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    params = load_params()
    for new in (("Sea Bass",), ()):
        finetune = params.finetune.model_copy(update={"species": new})
        table = report(params.model_copy(update={"finetune": finetune}))
        chances = table[table["split"] == "grouped"].set_index("task")["chance"].to_dict()
        assert chances == {"base": 1 / 5} | ({"finetune": 1 / 2} if new else {})


def test_photographs_can_come_from_a_record(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    leak_audit.main(project / "data/sample/originals.csv")
    said = capsys.readouterr().out
    assert "grouped" in said and "leaks" in said
    leak_audit.main(project / "data/sample/originals.csv", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["shared"] == []  # it is not split
    rows = found["random_labels"]
    assert [(row["task"], row["split"]) for row in rows[:2]] == [
        ("base", "grouped"),
        ("base", "stratified"),
    ]
    assert rows[0]["low"] <= rows[0]["accuracy"] <= rows[0]["high"]
    assert rows[0]["copy_in_training"] == 0
    (project / "some.csv").write_text("file,original\nTrout/00001.png,a\n")
    with pytest.raises(UserError, match=r"some\.csv has no original for "):
        leak_audit.main(project / "some.csv")


def test_without_a_cache_there_is_nothing_to_audit(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((project / "params.yaml").read_text())
    with pytest.raises(UserError, match="dvc repro preprocess"):
        leak_audit.main(None)


def test_colours_do_not_change_when_a_picture_is_turned(project: Path) -> None:
    cache = Cache(project / "data/cache")
    found = colours(cache, np.arange(len(cache)))
    assert found.shape == (len(cache), BINS**3)
    np.testing.assert_allclose((found**2).sum(axis=1), 1, atol=1e-5)

    class Turned:
        size = cache.size

        def take(self, rows: np.ndarray) -> np.ndarray:
            return np.rot90(cache.take(rows), axes=(1, 2))

    np.testing.assert_array_equal(colours(Turned(), np.arange(len(cache))), found)  # type: ignore[arg-type]
