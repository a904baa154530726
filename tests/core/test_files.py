"""Files appear whole or not at all; a folder is old or new, wherever the process is stopped."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fishline.core.files import read_json, remaking, replacing, write_csv, write_json, write_text


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "one")
    write_text(path, "two é")
    assert path.read_text(encoding="utf-8") == "two é"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stands_while_the_new_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "half"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError), replacing(tmp_path / "a.txt"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "")
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


def test_json_comes_back_and_stays_legible(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": "Rügen"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Rügen" in text
    assert text.index('"b"') < text.index('"a"')
    assert text.endswith("}\n")


def test_a_value_that_is_no_json_leaves_the_old_file_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert read_json(tmp_path / "a.json") == 1


def test_csv_without_index(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1, 2], "y": ["a,b", "é"]}, index=[5, 6]))
    assert (tmp_path / "a.csv").read_bytes() == 'x,y\n1,"a,b"\n2,é\n'.encode()


def remake(folder: Path, content: str) -> None:
    with remaking(folder) as new:
        (new / "file").write_text(content)


def killed_at_rename(number: int, folder: Path) -> None:
    """A process that remakes `folder` and dies just before its n-th rename."""
    code = f"""
import os
from pathlib import Path
from fishline.core.files import remaking
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
