"""A folder made anew: old or new, wherever the process is stopped."""

import subprocess
import sys
from pathlib import Path

import pytest

from fishline.core.folders import remaking


def remake(folder: Path, content: str) -> None:
    with remaking(folder) as new:
        (new / "file").write_text(content)


def killed_at_rename(number: int, folder: Path) -> None:
    """A process that remakes `folder` and dies just before its n-th rename."""
    code = f"""
import os
from pathlib import Path
from fishline.core.folders import remaking
rename, calls = Path.rename, []
def counted(path, target):
    calls.append(path)
    if len(calls) == {number}:
        os._exit(9)
    rename(path, target)
Path.rename = counted
with remaking(Path({str(folder)!r})) as new:
    (new / "file").write_text("new")
"""
    subprocess.run([sys.executable, "-c", code])


def test_the_first_and_the_next(tmp_path: Path) -> None:
    for content in ("first", "next"):
        remake(tmp_path / "out/cache", content)
        assert (tmp_path / "out/cache/file").read_text() == content
        assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_killed_run_loses_nothing(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "cache"
    remake(folder, "old")
    killed_at_rename(number, folder)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ZeroDivisionError), remaking(folder):
        assert (folder / "file").read_text() == "old"
        raise ZeroDivisionError
    assert (folder / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failing_rename_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name.endswith("-new"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    remake(tmp_path / "cache", "old")
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        remake(tmp_path / "cache", "new")
    assert (tmp_path / "cache/file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
