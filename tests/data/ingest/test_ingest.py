"""Photographs from a folder or an archive into data/raw: which, where to, whole or not."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from fishline.core.errors import UserError
from fishline.data.ingest import bring as bringing
from fishline.data.ingest import ingest as module
from fishline.data.ingest import sources
from fishline.data.ingest.ingest import LOCK, RAW, RECORD, STAGING, ingest
from fishline.data.ingest.layout import Photo, lay_out, locate
from fishline.data.ingest.plan import Link

ROOT = Path(__file__).parents[3]
Digests = Callable[[Path], dict[str, str]]
VERSION = module.add_version
NESTED = "Fish_Dataset/Fish_Dataset"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project, as far as ingest looks at it; `dvc add` only leaves its record."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(module, "add_version", lambda: RECORD.touch())
    return folder


@pytest.fixture
def source(tmp_path: Path, project: Path) -> Path:
    return write(tmp_path / "source", {"Trout/1.png": "t1", "Trout/2.png": "t2", "Perch/1.png": ""})


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def tarred(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "gztar", folder))


def as_is(folder: Path) -> Path:
    return folder


LAYOUTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "flat": (
        {"Trout/1.png": "a", "Sea Bass/1.JPG": "b"},
        {"Trout/1.png": "a", "Sea Bass/1.JPG": "b"},
    ),
    "download": (
        {
            f"{NESTED}/Trout/Trout/1.png": "a",
            f"{NESTED}/Trout/Trout GT/1.png": "mask",
            f"{NESTED}/Trout/Trout/2.png": "b",
            f"{NESTED}/license.txt": "",
            "NA_Fish_Dataset/Trout/1.png": "original a",
            "NA_Fish_Dataset/Shrimp/9.png": "c",
        },
        {
            "Trout/1.png": "a",
            "Trout/2.png": "b",
            "Trout/NA_Fish_Dataset/1.png": "original a",
            "Shrimp/NA_Fish_Dataset/9.png": "c",
        },
    ),
    "trees without a clash": (
        {"one/Trout/1.png": "a", "two/Trout/2.png": "b", "two/Trout/1.png": "a"},
        {"Trout/1.png": "a", "Trout/2.png": "b"},
    ),
    "the smaller tree on top": (
        {"Trout/1.png": "a", "x/Trout/1.png": "b", "x/Trout/2.png": "c"},
        {"Trout/top/1.png": "a", "Trout/1.png": "b", "Trout/2.png": "c"},
    ),
    "three trees": (
        {f"{tree}/Trout/1.png": tree for tree in ("c", "a", "b/d")},
        {"Trout/1.png": "a", "Trout/b-d/1.png": "b/d", "Trout/c/1.png": "c"},
    ),
    "folders below a species": (
        {"all/Trout/day1/left/x.jpg": "a", "all/Trout/day2/x.jpg": "b"},
        {"Trout/day1/left/x.jpg": "a", "Trout/day2/x.jpg": "b"},
    ),
    "any other tree": (
        {"flowers/rose/1.png": "a", "flowers/tulip/1.png": "b"},
        {"rose/1.png": "a", "tulip/1.png": "b"},
    ),
    "somebody's split": (
        {"set/Train/Cod, grey/1.png": "a", "set/Test/Cod, grey/1.png": "b"},
        {"Cod, grey/Train/1.png": "a", "Cod, grey/Test/1.png": "b"},
    ),
    "somebody's split below the species": (
        {"Cod/train/1.png": "a", "Cod/val/1.png": "b", "Trout/train/1.png": "c"},
        {"Cod/train/1.png": "a", "Cod/val/1.png": "b", "Trout/train/1.png": "c"},
    ),
    "a set with trains in it": (
        {"train/train/1.png": "a", "test/train/1.png": "b", "test/bus/1.png": "c"},
        {"train/train/1.png": "a", "train/test/1.png": "b", "bus/test/1.png": "c"},
    ),
    "a species called test": (
        {"test/1.png": "a", "Trout/1.png": "b"},
        {"test/1.png": "a", "Trout/1.png": "b"},
    ),
    "a species in another's folder": (
        {"Trout/Shrimp/1.png": "a"},
        {"Shrimp/1.png": "a"},
    ),
}


@pytest.mark.parametrize("form", [as_is, zipped, tarred])
@pytest.mark.parametrize(("files", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(
    tmp_path: Path,
    project: Path,
    form: Callable[[Path], Path],
    files: dict[str, str],
    expected: dict[str, str],
) -> None:
    source = form(write(tmp_path / "source", files))
    for _ in range(2):  # again: nothing is new
        ingest(source)
        assert contents(RAW) == expected
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}


def test_archives_in_a_folder(tmp_path: Path, project: Path) -> None:
    write(tmp_path / "a/Trout", {"1.png": "t1"})
    write(tmp_path / "b/deep/Trout", {"2.png": "t2"})
    (tmp_path / "source").mkdir()
    zipped(tmp_path / "a/Trout").rename(tmp_path / "source/Trout.zip")
    tarred(tmp_path / "b").rename(tmp_path / "source/more.TAR.GZ")
    ingest(tmp_path / "source")
    assert contents(RAW) == {"Trout/1.png": "t1", "Trout/2.png": "t2"}


@pytest.mark.parametrize("name", ["Perch", "Trout"])
def test_the_source_is_the_species_folder(tmp_path: Path, project: Path, name: str) -> None:
    ingest(write(tmp_path / name, {"1.png": "x"}))
    assert contents(RAW) == {f"{name}/1.png": "x"}


def test_folders_below_a_source_that_is_a_species(tmp_path: Path, project: Path) -> None:
    ingest(write(tmp_path / "Trout", {"day1/1.png": "x"}))
    assert contents(RAW) == {"Trout/day1/1.png": "x"}


def test_a_source_of_masks(tmp_path: Path, project: Path) -> None:
    with pytest.raises(UserError, match="no photographs"):
        ingest(write(tmp_path / "Trout GT", {"1.png": "mask"}))


def test_without_params_the_last_folder_is_the_species(source: Path) -> None:
    Path("params.yaml").unlink()
    write(source, {"Trout/day1/x.jpg": "x"})
    ingest(source)
    assert set(os.listdir(RAW)) == {"Trout", "Perch", "day1"}


def test_unreadable_params_are_an_error_of_their_own(source: Path) -> None:
    Path("params.yaml").write_text("lr: [")
    with pytest.raises(UserError, match="params.yaml is not valid YAML"):
        ingest(source)
    assert not Path("data").exists()


def test_what_is_left_out_and_why(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 100)
    expected = contents(source)
    others = ["notes.txt", "Trout/png", "Trout/report.pdf", ".git/1.png", "Trout/.hidden.png"]
    others += ["__MACOSX/1.png", "Trout/Thumbs.db", "Trout GT/1.png", "Trout/x GT/2.png"]
    write(source, dict.fromkeys(others, "no"))
    write(source, {"Trout/huge.png": "x" * 101, "Trout/a\\b.png": "no"})
    os.mkfifo(source / "Trout/pipe.png")
    (source / "Trout/dangling.png").symlink_to("nowhere.png")
    (source / "loop").symlink_to(".")
    Path(os.fsdecode(os.fsencode(source) + b"/Trout/\xff.png")).touch()
    ingest(source)
    assert contents(RAW) == expected
    said = capsys.readouterr().out
    for reason, count, example in [
        (sources.HIDDEN, 4, "'.git'"),
        (sources.MASK, 2, "'Trout/x GT/2.png'"),
        (sources.NO_IMAGE, 3, "'notes.txt'"),
        (sources.TOO_LARGE, 1, "'Trout/huge.png'"),
        (sources.IRREGULAR, 1, "'Trout/pipe.png'"),
        (sources.DANGLING, 1, "'Trout/dangling.png'"),
        (sources.FOLDER_LINK, 1, "'loop'"),
        (sources.NOT_UTF8, 1, r"'Trout/\udcff.png'"),
        (sources.UNSAFE, 1, "Trout/a"),
    ]:
        line = next(line for line in said.splitlines() if line.startswith(reason))
        assert line.removeprefix(reason).split()[0] == str(count)
        assert example in line


def test_an_image_on_top_of_an_archive_has_no_species(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = contents(source)
    ingest(zipped(write(source, {"loose.png": "x"})))
    assert contents(RAW) == expected
    assert "in no species folder      1  'loose.png'" in capsys.readouterr().out


def test_links_to_images_are_taken_as_files(source: Path) -> None:
    (source / "Trout/3.png").symlink_to("1.png")
    ingest(source)
    assert not (RAW / "Trout/3.png").is_symlink()
    assert (RAW / "Trout/3.png").read_text() == "t1"


def test_the_tables_and_what_to_do_next(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(source)
    said = capsys.readouterr().out
    assert "Perch      1  0\n" in said
    assert "Trout      2  0\n" in said
    assert "params.yaml: Perch. This names them:\n  fishline species add Perch\n" in said
    assert "data.dir: data/raw" in said
    assert "git add data/raw.dvc data/.gitignore" in said
    assert said.endswith("dvc repro\n")
    text = Path("params.yaml").read_text().replace("data/sample", "data/raw")
    Path("params.yaml").write_text(text.replace("- Trout", "- Trout\n    - Perch"))
    ingest(write(source, {"Trout/3.png": ""}))
    said = capsys.readouterr().out
    assert "Trout      1  2\n" in said
    assert "data.dir" not in said
    assert "Not yet named" not in said


def test_new_files_and_species_merge_in(source: Path, tmp_path: Path) -> None:
    ingest(source)
    (RAW / "originals.csv").write_text("file,original\n")
    (RAW / "Trout/1.png").chmod(0o444)
    before = contents(RAW)
    inode = (RAW / "Trout/1.png").stat().st_ino
    more = write(tmp_path / "more", {"Trout/3.png": "t3", "Trout/1.png": "t1", "Bass/1.png": "b"})
    ingest(more)
    assert contents(RAW) == before | {"Trout/3.png": "t3", "Bass/1.png": "b"}
    assert (RAW / "Trout/1.png").stat().st_ino == inode
    assert (RAW / "Trout/1.png").stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("other", ["T1", "t", "t1 and t2"])
@pytest.mark.parametrize("form", [as_is, zipped])
def test_other_content_under_the_same_path(
    source: Path, tmp_path: Path, form: Callable[[Path], Path], other: str
) -> None:
    ingest(source)
    before = contents(RAW)
    many = {f"Trout/{i}.png": other for i in range(1, 3)}
    more = form(write(tmp_path / "more", {"Trout/3.png": "t3"} | many))
    with pytest.raises(UserError, match="other content: 2 of.*\n.*Trout/1.png\n.*Trout/2.png$"):
        ingest(more)
    assert contents(RAW) == before


def test_long_lists_are_cut(source: Path, tmp_path: Path) -> None:
    many = [f"Trout/{i:02}.png" for i in range(25)]
    ingest(write(source, dict.fromkeys(many, "old")))
    with pytest.raises(UserError, match="other content: 25 of") as caught:
        ingest(write(tmp_path / "more", dict.fromkeys(many, "new")))
    assert caught.value.message.count("data/raw/Trout") == 20
    assert caught.value.message.endswith("… and 5 more")


def test_links_into_a_cache_are_compared_and_kept(source: Path, tmp_path: Path) -> None:
    cached = write(tmp_path / "cache", {"ab": "t1"}) / "ab"
    (RAW / "Trout").mkdir(parents=True)
    (RAW / "Trout/1.png").symlink_to(cached)
    ingest(source)
    assert (RAW / "Trout/1.png").readlink() == cached
    cached.unlink()
    with pytest.raises(UserError, match="Trout/1.png"):
        ingest(source)


def test_two_files_for_one_name(tmp_path: Path, project: Path) -> None:
    source = write(tmp_path / "source", {"Trout/1.png": "a", "Trout/Trout/1.png": "b"})
    with pytest.raises(UserError, match="'Trout/1.png' and 'Trout/Trout/1.png' are different"):
        ingest(source)
    assert not Path("data").exists()


def test_two_files_for_one_name_once_a_tree_is_set_aside(tmp_path: Path, project: Path) -> None:
    files = {"Trout/1.png": "a", "Trout/x/1.png": "b", "x/Trout/1.png": "c"}
    with pytest.raises(UserError, match="would become Trout/x/1.png"):
        ingest(write(tmp_path / "source", files))


def test_a_file_where_a_folder_must_be(source: Path, tmp_path: Path) -> None:
    ingest(source)
    before = contents(RAW)
    with pytest.raises(UserError, match="data/raw/Trout/1.png would have .* nothing was changed"):
        ingest(write(tmp_path / "more", {"Trout/1.png/2.png": "x"}))
    assert contents(RAW) == before
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}


@pytest.mark.parametrize("form", [as_is, zipped])
def test_a_dry_run_changes_nothing(
    source: Path,
    project: Path,
    form: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ingest(form(source), dry_run=True)
    files = [path for path in project.rglob("*") if path.is_file()]
    assert set(files) == {project / LOCK, project / "params.yaml"}
    assert not Path("data").exists()
    said = capsys.readouterr().out
    assert "Trout      2  0\n" in said
    assert "nothing was changed" in said


def test_a_source_without_photographs(tmp_path: Path, project: Path) -> None:
    with pytest.raises(UserError, match="no photographs"):
        ingest(write(tmp_path / "source", {"Trout/1.txt": ""}))
    assert not RAW.exists()


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere", "no folder or archive nowhere"),
        (".", "lie in each other"),
        ("data/raw/Trout", "lie in each other"),
        ("params.yaml", "no zip or tar archive"),
    ],
)
def test_sources_that_cannot_be_taken(source: Path, place: str, says: str) -> None:
    ingest(source)
    with pytest.raises(UserError, match=says):
        ingest(Path(place))


def test_outside_a_dvc_project(source: Path) -> None:
    Path(".dvc").rmdir()
    with pytest.raises(UserError, match="dvc init"):
        ingest(source)
    assert os.listdir() == ["params.yaml"]


def test_data_that_is_not_checked_out_would_be_lost(source: Path) -> None:
    write(Path("data"), {"raw.dvc": "outs:"})
    with pytest.raises(UserError, match="dvc checkout data/raw"):
        ingest(source)
    assert not RAW.exists()


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_link_in_place_of_the_folder(source: Path, tmp_path: Path, dry_run: bool) -> None:
    Path("data").mkdir()
    RAW.symlink_to(write(tmp_path / "elsewhere", {"Trout/9.png": "x"}))
    with pytest.raises(UserError, match="must be a folder"):
        ingest(source, dry_run)


def test_another_ingest_is_running(source: Path) -> None:
    LOCK.parent.mkdir()
    with FileLock(LOCK), pytest.raises(UserError, match="another ingest"):
        ingest(source)


@pytest.mark.parametrize("link", ["copy", "hardlink", "move"])
def test_links(source: Path, tmp_path: Path, link: Link) -> None:
    ingest(write(tmp_path / "first", {"Trout/1.png": "t1"}))
    (source / "Trout/2.png").chmod(0o755)
    (source / "Trout/3.png").symlink_to(write(tmp_path / "away", {"3.png": "t3"}) / "3.png")
    expected = contents(source)
    inode = (source / "Trout/2.png").stat().st_ino
    ingest(source, link=link)
    assert contents(RAW) == expected
    assert not (RAW / "Trout/3.png").is_symlink()
    assert (tmp_path / "away/3.png").exists()
    status = (RAW / "Trout/2.png").stat()
    assert (status.st_ino == inode) == (link != "copy")
    assert link != "copy" or status.st_mode & 0o777 == 0o644
    assert contents(source) == ({"Trout/1.png": "t1"} if link == "move" else expected)


@pytest.mark.parametrize(("link", "says"), [("hardlink", "use --link copy"), ("move", "")])
def test_another_file_system(
    source: Path, monkeypatch: pytest.MonkeyPatch, link: Link, says: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    expected = contents(source)
    if link == "hardlink":
        with pytest.raises(UserError, match=says):
            ingest(source, link=link)
        assert contents(source) == expected
        assert contents(RAW) == {}
    else:
        ingest(source, link=link)
        assert contents(RAW) == expected
        assert contents(source) == {}
        ingest(write(source, {"Trout/9.png": "x"}))  # what is there is copied, too
        assert contents(RAW) == expected | {"Trout/9.png": "x"}


@pytest.mark.parametrize("link", ["hardlink", "move"])
@pytest.mark.parametrize("inside", [False, True])
def test_archives_can_only_be_copied(source: Path, link: Link, inside: bool) -> None:
    archive = zipped(source)
    if inside:
        archive.rename(source / "more.zip")
    with pytest.raises(UserError, match=f"--link {link} needs a folder"):
        ingest(source if inside else archive, link=link)
    assert not RAW.exists()


@pytest.mark.parametrize(
    ("link", "free", "says"),
    [
        ("copy", 3, "need 4 bytes.* 3 free"),
        ("copy", 4, "`dvc add` may need 4 bytes more"),
        ("copy", 8, ""),
        ("hardlink", 3, "may need 1 bytes more"),
        ("move", 3, "may need 1 bytes more"),
    ],
)
def test_the_disk_is_checked_before_anything_is_written(
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    link: Link,
    free: int,
    says: str,
) -> None:
    ingest(source)
    before = contents(RAW)
    write(source, {"Trout/3.png": "new!"})  # 4 bytes; what is there already needs none
    usage = type(shutil.disk_usage("."))(100, 100 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    if link == "copy" and free < 4:
        with pytest.raises(UserError, match=says):
            ingest(source, link=link)
        assert contents(RAW) == before
    else:
        ingest(source, link=link)
        assert (RAW / "Trout/3.png").exists()
        said = capsys.readouterr().err
        assert re.search(says, said) if says else not said


@pytest.mark.parametrize("fault", ["disk full", "gone"])
@pytest.mark.parametrize("form", [as_is, zipped])
def test_a_failure_on_the_way_leaves_whole_files_and_is_made_up_for(
    source: Path, monkeypatch: pytest.MonkeyPatch, fault: str, form: Callable[[Path], Path]
) -> None:
    ingest(source)
    before = contents(RAW)
    write(source, {"Trout/3.png": "t3", "Trout/4.png": "t4", "Zander/1.png": "z"})
    expected = contents(source)
    sync, synced = bringing.sync, []

    def failing(path: Path) -> None:
        synced.append(path)
        if len(synced) == 2:
            path.write_text("ha")  # half of it
            raise OSError(28 if fault == "disk full" else 2, "No more", str(path))
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(bringing, "sync", failing)
        with pytest.raises(UserError, match="No more.*is whole; run the same again"):
            ingest(form(source))
    assert before.items() < contents(RAW).items() < expected.items()
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}
    ingest(form(source))
    assert contents(RAW) == expected


def test_a_disk_that_is_full_of_an_archive(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(source)

    def failing(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", failing)
    with pytest.raises(UserError, match="cannot be unpacked .No space left.*nothing was changed"):
        ingest(archive)
    assert not Path("data").exists()


def test_a_file_that_comes_meanwhile_is_not_overwritten(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {"Trout/1.png": "mine", "Trout/2.png": "mine", "Perch/1.png": "mine"}
    monkeypatch.setattr(bringing, "sync", lambda path: write(RAW, mine))
    with pytest.raises(UserError, match="come meanwhile"):
        ingest(source)
    assert contents(RAW) == mine


@pytest.mark.parametrize("call", ["link", "unlink"])
def test_a_move_from_a_card_that_is_read_only(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: str
) -> None:
    """Copied, with a remark, and put under version control."""
    original, expected = getattr(os, call), contents(source)

    def failing(path: Path, *arguments: Any, **options: Any) -> None:
        if Path(path).is_relative_to(source):
            raise OSError(30, "Read-only file system", str(path))
        original(path, *arguments, **options)

    monkeypatch.setattr(os, call, failing)
    ingest(source, link="move")
    assert contents(RAW) == expected
    assert RECORD.exists()
    said = capsys.readouterr().err
    assert contents(source) == ({} if call == "link" else expected)
    assert ("3 of the files could not be taken out of the source" in said) == (call == "unlink")
    assert ("(Read-only file system)" in said) == (call == "unlink")


def start(source: Path, patch: str) -> "subprocess.Popen[str]":
    code = f"""
import os, sys, time
from pathlib import Path
from fishline.data.ingest import ingest as module
{patch}
module.add_version = lambda: None
module.ingest(Path({str(source)!r}))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


STOP_AFTER_TWO = """
from fishline.data.ingest import bring
sync, synced = bring.sync, []
def slow(path):
    synced.append(path)
    if len(synced) == 3:
        print("two are there", flush=True)
        time.sleep(60)
    sync(path)
bring.sync = slow
"""


@pytest.mark.parametrize("form", [as_is, zipped])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_on_the_way(
    source: Path,
    form: Callable[[Path], Path],
    number: signal.Signals,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(RAW, {"Trout/0.png": "t0"})
    expected = {"Trout/0.png": "t0"} | contents(source)
    with start(form(source), STOP_AFTER_TWO) as process:
        assert process.stdout is not None
        while process.stdout.readline() not in ("two are there\n", ""):
            pass
        assert STAGING.is_dir()
        process.send_signal(number)
    assert process.returncode != 0
    assert len(contents(RAW)) == 3
    assert contents(RAW).items() < expected.items()
    ingest(source)
    assert ("was cut off" in capsys.readouterr().err) == (number != signal.SIGINT)
    assert contents(RAW) == expected
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}


def test_leftovers_are_swept_and_folders_of_others_are_not(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("data"), {".raw-backup/1": "mine", f"{STAGING.name}/tmpab/Trout/1.png": "ours"})
    ingest(source, dry_run=True, as_json=True)
    said = capsys.readouterr()
    assert "was cut off" in said.err
    assert said.out.startswith("{")
    assert os.listdir("data") == [".raw-backup"]


def test_unfinished_work_is_ignored() -> None:
    for name in (STAGING.as_posix(), "data/.cache-new", "data/.cache-old"):
        subprocess.run(["git", "check-ignore", "-q", f"{name}/x.png"], cwd=ROOT, check=True)
        subprocess.run(
            [sys.executable, "-m", "dvc", "check-ignore", "-q", f"{name}/x"], cwd=ROOT, check=True
        )


def test_the_same_photos_are_located_alike_in_any_order() -> None:
    paths = ["b/Trout/1.png", "a/Trout/1.png", "a/Trout/2.png", "b/Trout/3.png", "c/Trout/1.png"]
    photos = [locate(path, path.split("/"), 1, ["Trout"], False) for path in paths]
    found = [photo for photo in photos if photo]

    def placed(photos: list[Photo]) -> dict[str, str]:
        places, _ = lay_out(photos, lambda names: {name: name for name in names})
        return {photo.name: path for path, photo in places.items()}

    assert placed(found) == placed(found[::-1])
    assert placed(found)["b/Trout/3.png"] == "Trout/b/3.png"


def test_the_version_is_recorded_each_time(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when nothing is new: it may have failed the last time."""
    calls = []
    monkeypatch.setattr(module, "add_version", lambda: calls.append(RECORD.touch()))
    for times in (1, 2):
        ingest(source)
        assert len(calls) == times
    ingest(source, dry_run=True)
    assert len(calls) == 2


def test_a_failing_dvc_says_what_is_left_to_do(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = write(tmp_path, {"python": "#!/bin/sh\necho $@: no >&2; exit 3\n"}) / "python"
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    monkeypatch.setattr(module, "add_version", VERSION)
    with pytest.raises(UserError, match="in data/raw, but not under version control") as caught:
        ingest(source)
    assert "-m dvc add data/raw: no\n" in caught.value.message
    assert caught.value.message.endswith("run: dvc add data/raw")
    assert contents(RAW) == contents(source)


def fishline(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "src/fishline"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_refusal_is_one_line_and_no_traceback(project: Path) -> None:
    with zipfile.ZipFile("bad.zip", "w") as archive:
        archive.writestr("../1.png", "x")
    done = fishline("ingest", "bad.zip")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: 'bad.zip': its member '../1.png' has an unsafe name")
    assert done.stderr.count("\n") == 1


def test_with_dvc(source: Path) -> None:
    Path(".dvc").rmdir()
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], check=True)
    done = fishline("ingest", str(source), "--link", "hardlink")
    assert done.returncode == 0, done.stderr
    assert "nfiles: 3" in RECORD.read_text()
    assert contents(RAW) == contents(source)


def test_a_split_is_named(
    tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(write(tmp_path / "source", {"train/Cod/1.png": "a", "valid/Cod/1.png": "b"}))
    said = capsys.readouterr().out
    assert "The source is split: train (1 files), validation (1 files)" in said
    assert "split.strategy: given" in said


# What is known of the photographs.

TABLES = {
    "as in the data folder": "file,trip\nTrout/1.png,1\nTrout/2.png,2\nPerch/1.png,3\n",
    "as in the source": "file,trip\nx/Trout/1.png,1\nx/Trout/2.png,2\nx/Perch/1.png,3\n",
    "by folder": "folder,trip\nx,3\nx/Trout,2\n",
    "with more columns": "file,trip,day\nTrout/1.png,1,\nTrout/2.png,2,\nPerch/1.png,3,4\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_a_table_becomes_part_of_the_data(tmp_path: Path, project: Path, text: str) -> None:
    source = write(tmp_path / "source", {f"x/{n}": n for n in ("Trout/1.png", "Trout/2.png")})
    write(source, {"x/Perch/1.png": "p"})
    table = tmp_path / "trips.csv"
    table.write_text(text)
    for _ in range(2):
        ingest(source, table=table)
    lines = (RAW / "photographs.csv").read_text().splitlines()
    assert lines[0].startswith("file,trip")
    assert [line.split(",")[0] for line in lines[1:]] == [
        "Perch/1.png",
        "Trout/1.png",
        "Trout/2.png",
    ]
    assert lines[1].split(",")[1] == "3"


def test_a_later_table_is_merged(tmp_path: Path, project: Path) -> None:
    ingest(write(tmp_path / "first", {"Trout/1.png": "a", "Trout/2.png": "b"}))
    table = tmp_path / "trips.csv"
    table.write_text("file,trip\n9.png,007\n")
    ingest(write(tmp_path / "second", {"Trout/9.png": "c"}), table=table)
    table.write_text("file,boat,trip\n1.png,Ann,\n2.png,Bo,8\n")
    ingest(tmp_path / "first", table=table)
    assert (RAW / "photographs.csv").read_text().splitlines() == [
        "file,trip,boat",
        "Trout/1.png,,Ann",
        "Trout/2.png,8,Bo",
        "Trout/9.png,007,",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,trip\nTrout/1.png,1\nTrout/2.png,1\n", "no row for 1 file: .*Perch/1.png"),
        ("folder,trip\nTrout,1\nPerch,2\nCod,3\n", "for a folder that is not among"),
    ],
)
def test_a_table_that_does_not_fit_changes_nothing(
    project: Path, source: Path, text: str, says: str
) -> None:
    (source.parent / "trips.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        ingest(source, table=source.parent / "trips.csv")
    assert not RAW.exists()
