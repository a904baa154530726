"""Checks of the tracking store. Reads only: a store is neither made nor brought up to date."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
import sqlalchemy
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.engine import URL, make_url

from fishline.cli.doctor.checks import Check, failure, ok, unwritable, warning, within
from fishline.tracking.provenance import project_root
from fishline.tracking.sqlite import sqlite_file
from fishline.tracking.store import experiment_name, tracking_uri

PATIENCE = 5.0  # seconds for a server to answer


def store() -> Iterator[Check]:
    """Whether the store answers, and is one of this version of MLflow."""
    uri = tracking_uri()
    scheme = urlparse(uri).scheme
    if scheme in ("http", "https"):
        yield _server(uri)
    elif "://" in uri and scheme not in ("file", "databricks"):
        yield _database(make_url(uri))
    else:
        yield warning(f"{uri}: a kind of store that is not checked", "use it, and see")


def _server(uri: str) -> Check:
    advice = "is MLFLOW_TRACKING_URI right, the server up? Unset, runs go to mlflow.db"
    try:
        healthy, number = (_get(uri, endpoint) for endpoint in ("/health", "/version"))
    except Exception as error:  # of the network, of requests, of MLflow
        return failure(f"{uri} does not answer: {_short(error)}", advice)
    if healthy != "OK":
        return failure(f"{uri} answers, but is no MLflow server", advice)
    if number != mlflow.__version__:
        return warning(
            f"{uri} has MLflow {number}, here is {mlflow.__version__}",
            "give both the same version: deploy/requirements.txt is the server's",
        )
    return ok(f"{uri}, MLflow {number}")


def _get(uri: str, endpoint: str) -> str:
    """An answer's text, asked with the user's log-in."""
    login: Any = get_default_host_creds  # without types, as what follows
    ask: Any = http_request
    answer = ask(login(uri), endpoint, "GET", max_retries=0, timeout=PATIENCE)
    if answer.status_code != 200:
        raise OSError(f"{endpoint}: {answer.status_code} {answer.reason}")
    return str(answer.text).strip()


def _database(url: URL) -> Check:
    shown = url.render_as_string(hide_password=True)
    file = sqlite_file(url)
    if file and not file.exists():
        if why := unwritable(file.parent):
            advice = "make that writable, or name another store in MLFLOW_TRACKING_URI"
            return failure(f"{shown} cannot be made: {why}", advice)
        return ok(f"{shown} will be made by the first training")
    try:
        here = within(PATIENCE, lambda: _revision(url))
    except Exception as error:  # each kind of database fails in its own ways
        return failure(
            f"{shown} cannot be read: {_short(error)}",
            "is it a database, its server up, the log-in right? A backup may help",
        )
    if why := unwritable(file.parent) if file else "":
        return failure(f"{shown} cannot be written: {why}", "make that writable")
    return _schema(shown, here)


def _schema(shown: str, here: str | None) -> Check:
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    head = scripts.get_current_head()
    if here is None:
        return ok(f"{shown} is empty; the first training makes its tables")
    if here == head:
        return ok(f"{shown}, schema of MLflow {mlflow.__version__}")
    try:
        scripts.get_revision(here)
    except CommandError:
        return failure(
            f"{shown} was used with a newer MLflow than {mlflow.__version__} (schema {here})",
            "`make env`",
        )
    return failure(
        f"{shown} has the schema {here} of an older MLflow; {mlflow.__version__} needs {head}",
        f"make a backup, then `mlflow db upgrade {shown}`",
    )


def _engine(url: URL) -> sqlalchemy.Engine:
    """That cannot write to SQLite, and waits for no server for long."""
    if file := sqlite_file(url):
        url = url.set(database=file.as_uri()).update_query_dict({"mode": "ro", "uri": "true"})
    servers = url.get_backend_name() in ("postgresql", "mysql")
    waits = {"connect_timeout": int(PATIENCE)} if servers else {}
    return sqlalchemy.create_engine(url, connect_args=waits, poolclass=sqlalchemy.NullPool)


def _revision(url: URL) -> str | None:
    """The revision of a database's schema; None if there is none in it."""
    with _engine(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def artifacts() -> Iterator[Check]:
    """Whether models and pictures can be kept."""
    uri = tracking_uri()
    if urlparse(uri).scheme in ("http", "https"):
        yield ok("kept by the server")
        return
    place = _place(uri)
    if "://" in place and not place.startswith("file:"):
        yield ok(f"{place} (not tried)")
        return
    folder = Path(unquote(urlparse(place).path) if "://" in place else place)
    if why := unwritable(folder):
        advice = f"make {folder} writable; models and pictures of runs are kept there"
        yield failure(f"cannot be written: {why}", advice)
    else:
        yield ok(str(folder))


def _place(uri: str) -> str:
    """Where the experiment keeps files; a new one beside the store."""
    query = sqlalchemy.text("select artifact_location from experiments where name = :name")
    try:
        with _engine(make_url(uri)).connect() as connection:
            location = connection.execute(query, {"name": experiment_name()}).scalar()
    except Exception:  # no tables yet, or no database: that is a check of its own
        location = None
    return str(location or os.fspath(project_root() / "mlartifacts"))


def _short(error: BaseException) -> str:
    """What it was at first: libraries wrap it in pages."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
