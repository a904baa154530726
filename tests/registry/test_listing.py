"""The registry as a table, and the history of its champions."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pytest
from champions import Shelf, shot, store_in
from click.testing import CliRunner

from fishline.cli.main import main
from fishline.core.roles import BASE, FINETUNED, ROLES
from fishline.registry.champion import HistoryEntry
from fishline.registry.history import outcome
from fishline.registry.listing import cells_of, human
from fishline.tracking import versions
from fishline.tracking.versions import Version, as_dict

METRICS = {
    "test_accuracy": 0.9531,
    "test_accuracy_low": 0.87,
    "test_accuracy_high": 0.98,
    "test_worst_recall": 0.8,
}
TAGS = {
    "git.commit": "0123456789",
    "git.dirty": "true",
    "dvc.exp": "wet-cod",
    "data.hash": "abcdef012345",
    "split.strategy": "grouped",
}
CREATED = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
FULL = Version("fish-base", 3, "r" * 32, ("champion",), TAGS, CREATED, METRICS, {"lr": "1"})
EMPTY = Version("fish-base", 1, "r" * 32, (), {}, CREATED, {}, {})


def test_a_row_of_the_table() -> None:
    assert list(cells_of(as_dict(FULL, 2_412_000)).values()) == [
        "fish-base/3",
        "champion",
        "wet-cod",
        "0123456*",
        "abcdef0",
        "grouped",
        "0.953 (0.870–0.980)",
        "0.800",
        "2.41 MB",
        "2026-01-02 03:04",
    ]


def test_what_is_not_known_is_left_empty() -> None:
    cells = cells_of(as_dict(EMPTY, None))
    assert [name for name, text in cells.items() if text] == ["model", "created"]
    json.dumps(as_dict(EMPTY, None))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (5e9, "5 GB"), (5e12, "5e+03")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human(size).startswith(text)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            HistoryEntry("promote", 1, 2, "Ada", verdicts={"leak_audit": "pass: 0"}, done=True),
            "passed",
        ),
        (HistoryEntry("rollback", 2, 1, "Ada", done=True), ""),
        (HistoryEntry("rollback", 2, 1, "Ada"), "broke off, champion not moved"),
        (
            HistoryEntry("promote", 1, 2, "Ada", "why", {"a": "FAIL: 1", "b": "pass: 1"}, True),
            'forced against a; "why"',
        ),
    ],
)
def test_what_the_history_says_of_a_move(entry: HistoryEntry, text: str) -> None:
    assert outcome(entry) == text


@pytest.fixture(scope="module")
def shelf(store_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """fish-listed with two versions, of which the first is champion, promoted by its gate."""
    folder = tmp_path_factory.mktemp("listed")
    with store_in(store_root) as client, contextlib.chdir(folder):
        made = Shelf(folder, client)
        made.version("fish-listed", shot("Trout", [1]), {"dvc.exp": "wet-cod"})
        made.version("fish-listed", tags={"git.dirty": "true"})
        done = CliRunner().invoke(main, ["promote", "fish-listed", "--version", "1"])
        assert done.exit_code == 0, done.output
        yield made


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_registry_as_a_table(shelf: Shelf, store: object) -> None:
    lines = run("models", "fish-listed").splitlines()
    assert lines[0].split()[:2] == ["model", "aliases"]
    assert re.match(r"fish-listed/2  +c0ffeec\* +d1 +grouped +1\.000 +1\.000 +\S+ [kM]B ", lines[2])
    assert re.match(r"fish-listed/1  champion +wet-cod +c0ffeec +d1 +grouped +0\.958 ", lines[3])
    assert max(map(len, lines)) <= 120


def test_the_registry_as_json(shelf: Shelf, store: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROLES, "base", replace(BASE, registered="fish-none"))
    monkeypatch.setitem(ROLES, "finetuned", replace(FINETUNED, registered="fish-listed"))
    second, first = json.loads(run("models", "--json"))
    assert (first["aliases"], second["aliases"]) == (["champion"], [])
    assert first["test_accuracy"] == pytest.approx(23 / 24)
    weights = shelf.files("fish-listed", 1) / "model.safetensors"
    assert first["bytes"] == weights.stat().st_size
    assert first["tags"]["gate.verdict"] == "pass"
    assert second["dirty"] is True


def test_an_empty_registry_says_how_to_fill_it(
    store: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model, role in ROLES.items():
        monkeypatch.setitem(ROLES, model, replace(role, registered=f"{role.registered}-none"))
    assert "dvc repro" in run("models")
    assert run("models", "--json") == "[]\n"


@pytest.mark.parametrize("command", ["models", "history", "rollback"])
def test_an_unknown_model_is_refused(store: object, command: str) -> None:
    done = CliRunner().invoke(main, [command, "fish's"])
    assert done.exit_code == 1
    assert "no registered model 'fish's'" in done.output


def test_the_history_as_a_table_and_as_json(shelf: Shelf, store: object) -> None:
    lines = run("history", "fish-listed").splitlines()
    assert lines[0].split() == ["time", "(UTC)", "action", "from", "to", "who", "gate"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +promote +none +1 +\S.* passed$", lines[2])
    (entry,) = json.loads(run("history", "fish-listed", "--json"))
    assert (entry["replaced"], entry["champion"], entry["done"]) == (None, 1, True)
    assert entry["verdicts"]["reproduces"].startswith("pass: accuracy 0.958333")


def test_a_model_that_never_had_a_champion(shelf: Shelf, store: object) -> None:
    shelf.version("fish-young")
    assert "never had a champion" in run("history", "fish-young")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of MLflow's client that were called, and what files were asked for."""
    called: list[str] = []
    for owner, names in (
        (mlflow.MlflowClient, ("get_run", "search_runs", "search_experiments",
                               "search_model_versions", "get_model_version")),
        (mlflow.artifacts, ("list_artifacts",)),
    ):  # fmt: skip
        for name in names:
            monkeypatch.setattr(owner, name, counted(getattr(owner, name), name, called))
    return called


def counted(method: Callable[..., Any], name: str, called: list[str]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        called.append(name)
        return method(*arguments, **options)

    return call


def test_many_versions_cost_no_more_requests_than_one(shelf: Shelf, requests: list[str]) -> None:
    costs = []
    for number in (1, 3):
        while len(versions.versions("fish-many")) < number:
            shelf.version("fish-many", tags={versions.SIZE: "1234"})
        requests.clear()
        table = run("models", "fish-many")
        costs.append(list(requests))
        assert table.count("1.23 kB") == table.count("fish-many/") == number
    assert costs[0] == costs[1]
    assert "list_artifacts" not in costs[0]


def test_the_size_is_looked_up_where_no_tag_says_it(shelf: Shelf, requests: list[str]) -> None:
    version = versions.find("fish-listed/1")
    weights = shelf.files("fish-listed", 1) / "model.safetensors"
    assert versions.weights_size(version) == weights.stat().st_size
    assert "list_artifacts" in requests
