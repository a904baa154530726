"""Two versions on the same photographs: a real store, models, photographs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from champions import SPECIES, Shelf, photographs, shot, store_in
from click.testing import CliRunner, Result

from fishline.cli.main import main
from fishline.evaluation.retest import left_out

A, B = "fish-pair/1", "fish-pair/2"
WRONG_A = shot("Bream", [0, 1, 2]) + shot("Trout", [0, 1, 2, 3])
WRONG_B = shot("Bream", [0])


@pytest.fixture(scope="module")
def shelf(store_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Two versions of fish-pair; the second is better."""
    with store_in(store_root) as client:
        made = Shelf(tmp_path_factory.mktemp("compared"), client, ("", "new-"))
        made.version("fish-pair", WRONG_A, params={"lr": "0.002", "epochs": "8"})
        made.version(
            "fish-pair",
            WRONG_B,
            {"git.commit": "beef", "data.hash": "d2"},
            params={"lr": "0.001", "epochs": "8", "ema": "0.9"},
        )
        yield made


@pytest.fixture(autouse=True)
def project(shelf: Shelf, store: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf.folder)


def compare(a: str, b: str, *options: str) -> Result:
    done = CliRunner().invoke(main, ["compare", a, b, *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_everything_as_json() -> None:
    done = compare(A, B, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)  # alone on stdout
    assert (found["a"], found["b"]) == (A, B)
    assert (found["photographs"], found["images"]) == (24, 48)
    assert found["note"] == "as recorded: both were tested on the same images"
    assert found["metrics"]["a"]["accuracy"] == pytest.approx(17 / 24)
    assert found["metrics"]["b"]["accuracy"] == pytest.approx(23 / 24)
    assert found["metrics"]["a"]["worst_recall"] == pytest.approx(4 / 8)
    recalls = {row["species"]: (row["a"], row["b"]) for row in found["species"]}
    assert recalls == {"Bream": (5 / 8, 7 / 8), "Shrimp": (1.0, 1.0), "Trout": (4 / 8, 1.0)}
    assert found["mcnemar"] == {"only_a": 0, "only_b": 6, "p": pytest.approx(2 / 2**6)}
    low, high = found["difference"]["interval"]
    assert found["difference"]["accuracy"] == pytest.approx(6 / 24)
    assert 0 < low < 6 / 24 < high < 0.5
    assert found["real"] is True
    assert found["params"] == {"lr": ["0.002", "0.001"], "ema": [None, "0.9"]}
    assert found["data"] == {"data.hash": ["d1", "d2"]}
    assert list(found["code"]) == ["git.commit"]


def test_the_same_in_words() -> None:
    text = compare(A, B).stdout
    assert "24 photographs, 48 images, as recorded" in text
    assert "lr: 0.002 → 0.001" in text
    assert "ema: none → 0.9" in text
    assert "data: different" in text
    assert (
        f"The difference is real: {B} is better (McNemar, exact: p = 0.031): {A} alone has "
        f"0 photographs right, {B} alone 6." in text
    )
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["macro_f1"][-1].startswith("+0.")
    assert rows["Trout"] == ["0.500", "1.000", "+0.500", "16"]
    assert max(map(len, text.splitlines()[:-1])) <= 120


def test_a_difference_of_few_photographs_may_be_chance(shelf: Shelf) -> None:
    number = shelf.version("fish-pair", shot("Bream", [0, 1]))
    text = compare(B, f"fish-pair/{number}").stdout
    assert f"may be chance (McNemar, exact: p = 1.000): {B} alone has 1 photograph right" in text


def test_a_version_with_itself_does_not_differ(shelf: Shelf) -> None:
    run = shelf.store.get_model_version("fish-pair", "1").run_id
    assert shelf.store.get_run(run).info.run_id == run
    text = compare(A, "models:/fish-pair/1").stdout
    assert "No photograph parts them" in text
    for what in ("params", "data", "code"):
        assert f"{what}: the same" in text


def newer(shelf: Shelf) -> str:
    """A version tested on photographs that A has not seen and on four that it has learnt."""
    learnt = photographs().assign(part="test").query("original.str.startswith('Trout')")
    table = pd.concat([photographs("new-"), learnt[learnt["file"] > "Trout/08"]])
    number = shelf.version("fish-pair", shot("Bream", ["new-00"]), images=table)
    return f"fish-pair/{number}"


def test_of_different_test_images_the_newer_ones_count(shelf: Shelf) -> None:
    reference = newer(shelf)
    for first, second in ((A, reference), (reference, A)):
        found = json.loads(compare(first, second, "--json").stdout)
        assert found["note"] == (
            "they were tested on different images; both tested now on the test images of "
            f"{reference}, without 4 photographs that one of them was trained or chosen on"
        )
        assert (found["photographs"], found["images"]) == (24, 48)
        own, others = ("b", "a") if second == reference else ("a", "b")
        assert found["metrics"][own]["accuracy"] == pytest.approx(23 / 24)
        assert found["metrics"][others]["accuracy"] == 1  # its errors are among the older ones


def test_recorded_predictions_are_not_needed(shelf: Shelf) -> None:
    number = shelf.version("fish-pair", WRONG_B)
    (shelf.artifacts("fish-pair", number) / "test/predictions.csv").unlink()
    found = json.loads(compare(A, f"fish-pair/{number}", "--json").stdout)
    assert found["note"].startswith("one was not tested; both tested now")
    assert found["mcnemar"] == {"only_a": 0, "only_b": 6, "p": pytest.approx(2 / 2**6)}


def test_nothing_left_to_compare_by_is_refused(shelf: Shelf) -> None:
    table = photographs()
    flipped = table.assign(part=table["part"].map({"test": "train", "train": "test"}))
    number = shelf.version("fish-pair", images=flipped)
    done = compare(A, f"fish-pair/{number}")
    assert done.exit_code == 1
    assert "without 12 photographs that one of them was trained or chosen on, and none is" in (
        done.output
    )


def test_test_images_that_the_cache_lacks_are_refused(shelf: Shelf) -> None:
    tags = {"dvc.exp": "wet-cod"}
    number = shelf.version("fish-pair", tags=tags, images=photographs("gone-"))
    done = compare(A, f"fish-pair/{number}")
    assert done.exit_code == 1
    assert "data/cache lacks 48 of 48 test images, such as Bream/gone-00-0.png" in done.output
    assert "`dvc exp apply wet-cod` and `dvc checkout`" in done.output


def test_models_of_different_species_are_refused(shelf: Shelf) -> None:
    table = photographs()
    two = table[table["species"] != SPECIES[0]]
    number = shelf.version("fish-pair", images=two)
    done = compare(A, f"fish-pair/{number}")
    assert done.exit_code == 1
    assert "they are of different species (fish-pair/1 alone: Bream)" in done.output


@pytest.mark.parametrize("reference", ["fish-pair/99", "fish-pair@best", "cod/1", "f" * 32])
def test_what_does_not_exist_is_refused(reference: str) -> None:
    done = compare(A, reference)
    assert done.exit_code == 1
    assert reference in done.output


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({"git.dirty": "true", "git.dirty.files": "params.yaml"}, []),
        (
            {"git.dirty": "true", "git.dirty.files": "params.yaml src/a.py"},
            ["git.dirty", "git.dirty.files", "git.snapshot"],
        ),
        ({"git.commit": "beef"}, ["git.commit"]),
    ],
)
def test_changed_parameters_are_no_other_code(
    shelf: Shelf, changed: dict[str, str], differs: list[str]
) -> None:
    number = shelf.version("fish-pair", WRONG_A, {"git.snapshot": "s2", **changed})
    found = json.loads(compare(A, f"fish-pair/{number}", "--json").stdout)
    assert list(found["code"]) == differs


def table_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sha256", "original", "part"])


@pytest.mark.parametrize(
    ("other", "out"),
    [
        (table_of(("1", "x", "test")), []),
        (table_of(("1", "x", "train")), ["1", "2"]),  # the copy, too
        (table_of(("2", "x", "validation")), ["1", "2"]),
        (table_of(("9", "y", "train"), ("3", "y", "test")), ["3"]),  # copies as it knew them
        (table_of(("9", "a", "train")), []),  # a name alone says nothing: other data
    ],
)
def test_what_either_model_learnt_from_is_left_out(other: pd.DataFrame, out: list[str]) -> None:
    mine = table_of(("1", "a", "test"), ("2", "a", "test"), ("3", "b", "test"), ("4", "c", "train"))
    test = mine[mine["part"] == "test"]
    assert list(test.loc[left_out(test, [other, mine]), "sha256"]) == out
