"""A SQLite store: whole whatever interrupts its making, and what is said of one that is not."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fishline.core.errors import UserError
from fishline.tracking import sqlite
from fishline.tracking import store as tracking_store


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a new project's store will be."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path / "mlflow.db"


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")])
def test_a_store_whose_making_breaks_off_is_not_there(
    database: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def interrupted(file: Path, artifact_root: str) -> None:
        execute(file, "CREATE TABLE experiments (name TEXT)")
        raise error

    monkeypatch.setattr(sqlite, "_make_tables", interrupted)
    with pytest.raises((KeyboardInterrupt, UserError)):
        tracking_store.connect()
    assert [path.name for path in database.parent.iterdir()] in ([], ["mlflow.db.lock"])


def test_what_earlier_versions_left_half_made_is_made_anew(database: Path) -> None:
    execute(
        database,
        "CREATE TABLE experiments (name TEXT)",
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('451aebb31d03')",
    )
    for name in (".mlflow.db-killed", ".mlflow.db-killed-journal"):
        (database.parent / name).write_bytes(b"killed while it was made")
    client = tracking_store.connect()
    assert client.get_experiment_by_name("fishline") is not None
    names = {path.name for path in database.parent.iterdir()}
    assert names <= {"mlflow.db", "mlflow.db.lock"}


def test_a_new_experiment_has_views_as_the_page_of_mlflow_saves_them(database: Path) -> None:
    experiment = tracking_store.connect().get_experiment_by_name("fishline")
    assert experiment is not None
    shared = "mlflow.sharedViewState."
    views = [json.loads(v) for k, v in experiment.tags.items() if k.startswith(shared)]
    assert {view["name"] for view in views} == {"Base models", "Fine-tuned models"}
    for view in views:
        state = json.loads(view["state"])
        assert "metrics.`test_accuracy`" in state["selectedColumns"]
        assert state["searchFilter"].startswith("tags.`dvc.stage` = ")
        assert isinstance(view["createdAt"], int)


@pytest.mark.parametrize("table", ["experiments", "of_another_program"])
def test_a_database_that_holds_something_stays_as_it_is(database: Path, table: str) -> None:
    execute(database, f"CREATE TABLE {table} (name TEXT)")
    if table == "experiments":
        execute(database, "INSERT INTO experiments VALUES ('mine')")
    before = database.read_bytes()
    sqlite.ensure_database(database, "mlartifacts")
    assert database.read_bytes() == before


def test_a_damaged_database_is_a_message_that_says_what_helps(database: Path) -> None:
    database.write_bytes(b"no database at all" * 1000)
    with pytest.raises(UserError) as refused:
        tracking_store.connect()
    assert "is damaged, or no SQLite database: file is not a database" in refused.value.message
    assert str(database) in refused.value.message
    assert "MLFLOW_TRACKING_URI" not in refused.value.message  # it is not set
    assert database.read_bytes() == b"no database at all" * 1000


def test_a_folder_in_its_place_is_refused_at_once(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.mkdir()
    monkeypatch.setattr("mlflow.MlflowClient", None)  # which tries for a minute
    with pytest.raises(UserError, match=r"mlflow\.db is a folder.*move it away"):
        tracking_store.connect()


def test_a_locked_database_is_waited_for_and_then_said_to_be_locked(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(database, "CREATE TABLE experiments (name TEXT)")
    monkeypatch.setattr(sqlite, "PATIENCE", 0.01)
    monkeypatch.setattr("mlflow.MlflowClient", None)
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"mlflow\.db is locked by another program"):
            tracking_store.connect()


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////data/runs.db", "/data/runs.db"),
        ("sqlite:///:memory:", None),
        ("postgresql://host/runs", None),
        ("http://localhost:5000", None),
        ("mlruns", None),
    ],
)
def test_stores_that_are_a_file(uri: str, file: str | None) -> None:
    assert sqlite.sqlite_file(uri) == (Path(file) if file else None)
