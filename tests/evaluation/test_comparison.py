"""A version against the champion and against other ways of fine-tuning; a real store."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from champions import Shelf, photographs, shot, store_in

from fishline.evaluation.comparison import against, against_champion, comparable, freeze_variants
from fishline.tracking import search, versions

NAME = "fish-finetuned"
SAME = {"lr": "0.002", "finetune.mode": "replace", "finetune.species": "A, B"}
TAGS = {"dvc.stage": "finetune", "data.hash": "d1", "base.run_id": "b" * 32}


@pytest.fixture
def shelf(store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    with store_in(store_root) as client:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        made = Shelf(tmp_path, client, ("", "new-"))
        yield made
        if client.search_registered_models(f"name = '{NAME}'"):
            client.delete_registered_model(NAME)


def trained(
    shelf: Shelf, train: str, wrong: list[str] | None = None, **other: str
) -> versions.Version:
    """A version whose run was fine-tuned so; parameters and tags that differ in `other`."""
    params = SAME | {"finetune.train": train, "finetune.lr": "0.004"}
    params |= {key: value for key, value in other.items() if key in params}
    number = shelf.version(NAME, wrong or [], params=params)
    version = versions.find(f"{NAME}/{number}")
    for key, value in (TAGS | {k: v for k, v in other.items() if k in TAGS}).items():
        shelf.store.set_tag(version.run_id, key, value)
    return version


def run_of(version: versions.Version) -> search.Run:
    found = search.get_run(version.run_id)
    assert found is not None
    return found


def test_without_a_champion_and_as_the_champion_there_is_nothing_to_compare(shelf: Shelf) -> None:
    mine = trained(shelf, "all")
    assert against_champion(mine) is None
    shelf.store.set_registered_model_alias(NAME, "champion", str(mine.number))
    assert against_champion(versions.find(str(mine))) is None


def test_against_the_champion(shelf: Shelf) -> None:
    worse = trained(shelf, "all", shot("Bream", [0, 1, 2]))
    shelf.store.set_registered_model_alias(NAME, "champion", str(worse.number))
    comparison = against_champion(trained(shelf, "all"))
    assert comparison is not None and comparison.difference is not None
    assert comparison.other.number == worse.number
    assert comparison.difference.change == pytest.approx(3 / 24)
    assert "may be chance" in comparison.verdict
    assert comparison.note.startswith("as recorded")


def test_what_cannot_be_compared_says_why(shelf: Shelf) -> None:
    mine = trained(shelf, "all")
    seen = photographs().assign(part="train")
    seen.loc[seen["original"].str.startswith("Bream"), "part"] = "test"
    other = shelf.version(NAME, images=seen)
    comparison = against(mine, versions.find(f"{NAME}/{other}"))
    assert comparison.difference is None or comparison.difference.photographs < 24
    assert comparison.verdict


def test_what_was_frozen(shelf: Shelf) -> None:
    trained(shelf, "head", shot("Bream", [0]))
    head = trained(shelf, "head", shot("Bream", [0, 1]))  # the newer one counts
    mine = trained(shelf, "all")
    found = {way.train: way for way in freeze_variants(mine, run_of(mine))}
    assert list(found) == ["head", "classifier", "all"]
    assert found["head"].version is not None and found["head"].comparison is not None
    assert found["head"].version.number == head.number
    assert found["head"].comparison.difference is not None
    assert found["head"].comparison.difference.change == pytest.approx(2 / 24)
    assert found["classifier"].run is None
    assert found["all"].run == run_of(mine)
    assert found["all"].comparison is None


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"finetune.lr": "0.1"}, True),
        ({"finetune.mode": "extend"}, False),
        ({"finetune.species": "A, C"}, False),
        ({"lr": "0.1"}, False),
        ({"data.hash": "d2"}, False),
        ({"base.run_id": "c" * 32}, False),
    ],
)
def test_only_what_was_trained_otherwise_is_comparable(
    shelf: Shelf, change: Mapping[str, str], same: bool
) -> None:
    one, other = trained(shelf, "all"), trained(shelf, "head", **change)
    assert comparable(run_of(one), run_of(other)) is same
