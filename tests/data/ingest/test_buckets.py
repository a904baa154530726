"""Photographs from a bucket into data/raw: the same as from a folder, and what is refused."""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from fishline.cli.main import main
from fishline.core.errors import UserError
from fishline.data.ingest import buckets, sources
from fishline.data.ingest import ingest as module
from fishline.data.ingest.ingest import RAW, RECORD, ingest

MakeBucket = Callable[[str, Mapping[str, bytes]], str]
FILES = {"x/Trout/1.png": b"t1", "x/Trout/2.png": b"t2", "Perch/1.png": b"p1"}
TAKEN = {"Trout/1.png": "t1", "Trout/2.png": "t2", "Perch/1.png": "p1"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project, as far as ingest looks at it; `dvc add` only leaves its record."""
    (tmp_path / "project/.dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(module, "add_version", lambda: RECORD.touch())
    return tmp_path


def contents() -> dict[str, str]:
    files = sorted(path for path in RAW.rglob("*") if path.is_file())
    return {path.relative_to(RAW).as_posix(): path.read_text() for path in files}


def zipped(tmp_path: Path) -> bytes:
    for name, content in FILES.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(content)
    return Path(shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "source")).read_bytes()


def test_as_from_a_folder(project: Path, make_bucket: MakeBucket) -> None:
    url = make_bucket("folder", {f"photographs/{name}": text for name, text in FILES.items()})
    for _ in range(2):  # again: nothing is new
        done = CliRunner().invoke(main, ["ingest", f"{url}/photographs/"], catch_exceptions=False)
        assert done.exit_code == 0
        assert contents() == TAKEN
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}


def test_the_bucket_is_the_species_folder(project: Path, make_bucket: MakeBucket) -> None:
    ingest(make_bucket("trout", {"1.png": b"t1"}))
    assert contents() == {"trout/1.png": "t1"}


@pytest.mark.parametrize("whole", [True, False])
def test_archives(project: Path, make_bucket: MakeBucket, whole: bool) -> None:
    url = make_bucket(f"archives-{whole}".lower(), {"in/all.zip": zipped(project)})
    ingest(f"{url}/in/all.zip" if whole else url)
    assert contents() == TAKEN


def test_what_is_left_out_and_why(
    project: Path,
    make_bucket: MakeBucket,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 5)
    odd = ["Trout/notes.txt", "Trout GT/1.png", ".a/1.png", "Trout//3.png", "Trout/a\\..\\4.png"]
    more = {"Trout/huge.png": b"123456", "Trout/": b""} | dict.fromkeys(odd, b"x")
    ingest(make_bucket("odd", FILES | more))
    assert contents() == TAKEN
    _, left_out = capsys.readouterr().out.split("left out")
    lines = [re.split("  +", line)[:2] for line in left_out.splitlines()[1:6]]
    assert {why.partition(" (")[0]: count for why, count in lines} == {
        "hidden file or folder": "1",
        "mask": "1",
        "not an image": "1",
        "over 256 MiB": "1",
        "unsafe name": "2",
    }


def test_a_dry_run_changes_nothing(
    project: Path, make_bucket: MakeBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(make_bucket("dry", FILES), dry_run=True)
    assert "Trout      2  0" in capsys.readouterr().out
    assert not Path("data").exists()


def test_what_is_refused(
    project: Path, make_bucket: MakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_bucket("refused", FILES | {"Trout/1.png": b"", "Trout/1.png/2.png": b""})
    with pytest.raises(UserError, match="s3://nothing-here: there is no such bucket"):
        ingest("s3://nothing-here")
    with pytest.raises(UserError, match="--link move needs a folder on this machine"):
        ingest(url, link="move")
    with pytest.raises(UserError, match="refused/Trout/1.png is both a file and a folder"):
        ingest(url)
    with pytest.raises(UserError, match="needs s3fs|Protocol not known"):
        ingest("nix://bucket")
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(buckets.shutil, "disk_usage", lambda _: usage._replace(free=1))
    url = make_bucket("large", FILES)
    with pytest.raises(UserError, match=r"the 3 files of s3://large need 6 bytes, and .* 1 free"):
        ingest(url)
    assert not Path("data").exists()
