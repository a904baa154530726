"""A tracking store in a SQLite file: made whole or not at all, and why one cannot be used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from fishline.core.errors import UserError
from fishline.core.files import replacing

PATIENCE = 20.0  # seconds that a locked database is waited for, as MLflow does
NOT_A_RUN = ("alembic_version", "workspaces")  # tables that MLflow fills while it makes a store


def sqlite_file(uri: str | URL) -> Path | None:
    """The file of a store in SQLite; None for any other store."""
    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database)).absolute()


def ensure_database(file: Path, artifact_root: str) -> None:
    """Make the store in `file` if it is not there, or was left half-made and holds nothing.

    MLflow makes its tables in dozens of steps, and cannot go on where it was interrupted. So they
    are made under another name, which becomes `file` when all are there.

    Raises:
        UserError: the file is damaged, locked or no file.
    """
    with FileLock(f"{file}.lock"):
        for left in file.parent.glob(f".{file.name}-*"):
            left.unlink(missing_ok=True)
        if file.exists() and not _is_empty(file):
            return
        file.with_name(f"{file.name}-journal").unlink(missing_ok=True)  # of what is replaced
        with replacing(file) as new:
            _make_tables(new, artifact_root)


def _make_tables(file: Path, artifact_root: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    untyped: Any = SqlAlchemyStore
    store = untyped(f"sqlite:///{file}", artifact_root)
    store.engine.dispose()


def _is_empty(file: Path) -> bool:
    """Whether no table holds anything; MLflow ends a new store with its first experiment."""
    if file.is_dir():
        raise UserError(
            f"{file} is a folder, where the tracking store's database should be; move it away, or "
            "name another store in MLFLOW_TRACKING_URI"
        )
    try:
        with closing(sqlite3.connect(file, PATIENCE)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            names = [name for (name,) in tables.fetchall() if name not in NOT_A_RUN]
            if names and "experiments" not in names:  # MLflow's first
                return False
            return not any(
                database.execute(f'SELECT EXISTS (SELECT 1 FROM "{name}")').fetchone()[0]
                for name in names
            )
    except sqlite3.Error as error:
        raise UserError(why_unusable(file, str(error))) from None


def why_unusable(file: Path, error: str) -> str:
    """What is wrong with a store's file, and what to do, from what SQLite says."""
    if "database is locked" in error:
        return (
            f"the tracking store {file} is locked by another program, for longer than "
            f"{PATIENCE:g} s. It may be a training, `mlflow ui`, a backup or a database browser "
            f"that writes for long or hangs: end that one, or wait; `fuser {file}` names it"
        )
    if "malformed" in error or "not a database" in error:
        return (
            f"the tracking store {file} is damaged, or no SQLite database: "
            f"{error.partition(chr(10))[0]}\nPut a backup in its place, or move it away: the next "
            "training begins an empty store, without the runs and models of this one."
        )
    return f"the tracking store {file} cannot be used: {error}"
