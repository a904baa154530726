"""`make ui` and `make test`, in a clone where nothing ran yet."""

import pytest
from clone import Clone, free_port, patient_get, started


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


def test_make_ui_serves_the_store(clone: Clone) -> None:
    port = free_port()
    with started(clone, f"MLFLOW_PORT={port} make ui") as server:
        assert patient_get(f"http://127.0.0.1:{port}/health", server) == "OK"


@pytest.mark.slow  # that it runs them, whoever runs this knows; this is of a clone without caches
def test_make_test_runs_the_tests(clone: Clone) -> None:
    said = clone.run("make test PYTEST_ARGS='--collect-only --quiet'")
    assert "Success: no issues found" in said
    assert "tests/test_workflow.py" in said
