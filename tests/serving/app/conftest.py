"""What the tests of the page in the browser share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest puts the page in its place, and tests that start processes after these find that."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
