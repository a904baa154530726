"""Fixtures: a project to queue experiments in."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The working folder."""
    for variable in ("DVC_ROOT", "DVC_EXP_GIT_REMOTE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{variable}_NAME", "test")
        monkeypatch.setenv(f"{variable}_EMAIL", "test@example.org")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine"))
    made = Project(tmp_path / "project")
    monkeypatch.chdir(made.folder)
    yield made


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of something that listens, as MLFLOW_TRACKING_URI; these experiments log none."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        uri = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri
