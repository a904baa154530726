"""Photographs from a folder or an archive into data/raw: which, where to, all or none."""

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
from fishline.core.folders import exchanging, recover
from fishline.data.ingest import ingest as module
from fishline.data.ingest import sources
from fishline.data.ingest.ingest import LOCK, RAW, RECORD, ingest
from fishline.data.ingest.layout import Photo, lay_out, locate
from fishline.data.ingest.plan import Link

ROOT = Path(__file__).parents[3]
Digests = Callable[[Path], dict[str, str]]
VERSION = module._version
NESTED = "Fish_Dataset/Fish_Dataset"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project, as far as ingest looks at it; `dvc add` only leaves its record."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(module, "_version", lambda: RECORD.touch())
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
        ("has a backslash in its name", 1, "Trout/a"),
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
    assert "finetune.species): Perch\n" in said
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
    with pytest.raises(UserError, match="data/raw is as it was"):
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
    before = sorted(project.rglob("*"))
    ingest(form(source), dry_run=True)
    assert sorted(project.rglob("*")) == before
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
        assert os.listdir("data") == []
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


@pytest.mark.parametrize("fault", ["1.png", "4.png", "disk full"])
def test_a_failure_in_mid_copy_leaves_all_as_it_was(
    source: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    ingest(source)
    before = contents(RAW)
    write(source, {"Trout/3.png": "t3", "Trout/4.png": "t4", "Zander/1.png": "z"})
    copy = module._copy

    def disturbed(member: sources.Member, target: Path) -> None:
        copy(member, target)
        if fault == "disk full":
            raise OSError(28, "No space left on device", str(target))
        for gone in source.glob(f"[TZ]*/{fault}"):
            gone.unlink()

    monkeypatch.setattr(module, "_copy", disturbed)
    with pytest.raises(UserError, match="No such file|No space|changed while"):
        ingest(source)
    assert contents(RAW) == before
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}


@pytest.mark.parametrize(("now", "says"), [("grown", "holds more"), ("", "holds less")])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, now: str, says: str) -> None:
    write(tmp_path, {"Trout/1.png": "was"})
    (member,) = sources.Source(tmp_path, tmp_path, 0).members()
    write(tmp_path, {"Trout/1.png": now})
    with pytest.raises(UserError, match=says):
        list(member.chunks())


def start(source: Path, patch: str) -> "subprocess.Popen[str]":
    code = f"""
import os, sys, time
from pathlib import Path
from fishline.data.ingest import ingest as module
{patch}
module._version = lambda: None
module.ingest(Path({str(source)!r}))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


STOP_AFTER_TWO = """
copy, copied = module._copy, []
def slow(member, target):
    copy(member, target)
    copied.append(target)
    if len(copied) == 2:
        print("copied two", flush=True)
        time.sleep(60)
module._copy = slow
"""

DIE_BETWEEN_THE_RENAMES = """
rename = Path.rename
def once(path, target):
    rename(path, target)
    os._exit(9)
Path.rename = once
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_mid_copy(source: Path, tmp_path: Path, number: signal.Signals) -> None:
    write(RAW, {"Trout/0.png": "t0"})
    expected = {"Trout/0.png": "t0"} | contents(source)
    with start(source, STOP_AFTER_TWO) as process:
        assert process.stdout is not None
        while process.stdout.readline() not in ("copied two\n", ""):
            pass
        assert any(Path("data").glob(".raw-*/new/*/*"))
        process.send_signal(number)
    assert process.returncode != 0
    assert contents(RAW) == {"Trout/0.png": "t0"}
    ingest(source)
    assert contents(RAW) == expected
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}


def test_a_crash_between_the_renames_is_mended(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(RAW, {"Trout/0.png": "t0"})
    RECORD.touch()
    expected = {"Trout/0.png": "t0"} | contents(source)
    with start(source, DIE_BETWEEN_THE_RENAMES) as process:
        process.communicate()
    assert process.returncode == 9
    assert not RAW.exists()
    with pytest.raises(UserError, match="cut off"):
        ingest(source, dry_run=True)
    ingest(source)
    assert "back as it was" in capsys.readouterr().out
    assert contents(RAW) == expected
    assert set(os.listdir("data")) == {"raw", "raw.dvc"}


def test_a_folder_made_anew_after_a_crash_is_not_overwritten(tmp_path: Path) -> None:
    work = write(tmp_path / ".raw-abcd", {"old/1": "old", "new/1": "new"})
    write(tmp_path / "raw", {"1": "anew"})
    with pytest.raises(UserError, match="made anew since"):
        recover(tmp_path / "raw")
    assert contents(work) == {"old/1": "old", "new/1": "new"}


def test_folders_of_others_are_not_cleaned_up(tmp_path: Path) -> None:
    write(tmp_path, {"raw/1": "", ".raw-backup/1": "mine", ".raw-xyz/new/1": "ours"})
    assert not recover(tmp_path / "raw")
    assert set(os.listdir(tmp_path)) == {"raw", ".raw-backup"}


def test_signals_wait_for_the_end_of_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "raw", {"1": "old"})
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), exchanging(folder) as tree:
        write(tree, {"2": "new"})
    assert contents(folder) == {"1": "old", "2": "new"}
    assert os.listdir(tmp_path) == ["raw"]


@pytest.mark.parametrize("fails", [{"new"}, {"new", "old"}])
def test_a_failing_second_rename_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: set[str]
) -> None:
    folder = write(tmp_path / "raw", {"1": "old"})
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name in fails:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(OSError, match="Input/output"), exchanging(folder) as tree:
            write(tree, {"2": "new"})
    assert recover(folder) == ("old" in fails)
    assert contents(tmp_path) == {"raw/1": "old"}


def test_nothing_is_moved_before_all_is_there(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = contents(source)
    monkeypatch.setattr("fishline.core.folders._exchange", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ingest(source, link="move")
    assert contents(source) == expected
    assert not RAW.exists()


def test_the_same_photos_are_located_alike_in_any_order() -> None:
    paths = ["b/Trout/1.png", "a/Trout/1.png", "a/Trout/2.png", "b/Trout/3.png", "c/Trout/1.png"]
    photos = [locate(path, path.split("/"), 1, ["Trout"]) for path in paths]
    found = [photo for photo in photos if photo]

    def placed(photos: list[Photo]) -> dict[str, str]:
        places, _ = lay_out(photos, lambda names: {name: name for name in names})
        return {photo.name: path for path, photo in places.items()}

    assert placed(found) == placed(found[::-1])
    assert placed(found)["b/Trout/3.png"] == "Trout/b/3.png"


def test_the_version_is_recorded_each_time(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when nothing is new: it may have failed the last time."""
    calls = []
    monkeypatch.setattr(module, "_version", lambda: calls.append(RECORD.touch()))
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
    monkeypatch.setattr(module, "_version", VERSION)
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
    assert done.stderr.startswith("Error: 'bad.zip': its member '../1.png' has '..' in its name")
    assert done.stderr.count("\n") == 1


def test_with_dvc(source: Path) -> None:
    Path(".dvc").rmdir()
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], check=True)
    done = fishline("ingest", str(source), "--link", "hardlink")
    assert done.returncode == 0, done.stderr
    assert "nfiles: 3" in RECORD.read_text()
    assert contents(RAW) == contents(source)
