"""Reviewers' decisions made so in data/raw: which files move where, and none is lost on the way."""

import json
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from fishline.cli.main import main
from fishline.core.errors import UserError
from fishline.data.decisions import PHOTOGRAPHS, Decision, decide, now, standing, undo
from fishline.data.decisions import read_decisions as read
from fishline.data.ingest import reviewed as module
from fishline.data.ingest.ingest import RAW, RECORD
from fishline.data.ingest.moves import REMOVED
from fishline.data.ingest.reviewed import ingest_reviewed

ROOT = Path(__file__).parents[3]
PHOTOS = {"Trout/1.png": "t1", "Trout/boat/2.png": "t2", "Sea Bass/1.png": "b1"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with photographs in data/raw; `dvc add` only leaves its record."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    params = (ROOT / "params.yaml").read_text().replace("dir: data/sample", "dir: data/raw")
    Path("params.yaml").write_text(params)
    monkeypatch.setattr(module, "add_version", lambda: RECORD.touch())
    write(PHOTOS)


def write(files: Mapping[str, str], folder: Path = RAW) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def contents(folder: Path = RAW) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def digest(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def say(content: str, after: str, before: str = "Trout", file: str = "") -> None:
    """That the photograph with this content is of the species `after`."""
    kind = "none" if not after else "confirm" if after == before else "correct"
    row = Decision(now(), "Ann", "", file or content, digest(content), before, kind, after)
    decide(row, standing(read()).get(row.sha256))


def found(*photographs: tuple[str, ...], reason: str = "") -> None:
    """What `preprocess` found: contents that show one photograph."""
    rows = "".join(
        f"x,x,{digest(content)},{reason or first[0]}\n"
        for first in photographs
        for content in first
    )
    head = "file,species,sha256,"
    manifest, rejected = ("", rows) if reason else (rows, "")
    write(
        {
            "manifest.csv": f"{head}original\n{manifest}",
            "rejected.csv": f"{head}reason\n{rejected}",
        },
        Path("data/cache"),
    )


def test_photographs_go_to_the_species_that_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("t2", "Sea Bass", file="Trout/boat/2.png")
    say("b1", "Sea Bass", before="Sea Bass")
    for said in ("Trout/boat/2.png      1  data/raw/Sea Bass\n", "Nothing to do"):
        ingest_reviewed()
        assert contents() == {
            "Sea Bass/1.png": "b1",
            "Sea Bass/boat/2.png": "t2",
            "Trout/1.png": "t1",
        }
        assert said in (printed := capsys.readouterr().out)
        assert ("copies of Trout/boat/2.png, if any" in printed) == ("boat" in said)
    assert "git checkout data/raw.dvc && dvc checkout data/raw" in printed
    assert RECORD.exists()
    assert not (RAW / "Trout/boat").exists()


def test_a_name_that_is_taken_leaves_both() -> None:
    say("t1", "Sea Bass")
    say("b1", "Trout", before="Sea Bass")
    ingest_reviewed()
    name = f"1-{digest('t1')[:8]}.png"
    assert contents() == {f"Sea Bass/{name}": "t1", "Trout/boat/2.png": "t2"} | {
        f"Trout/1-{digest('b1')[:8]}.png": "b1"
    }


def test_all_files_that_show_a_photograph_go_with_it() -> None:
    write({"Trout/copy.png": "t1 turned", "Trout/same.png": "t1"})
    found(("t1", "t1 turned"), ("t2",), ("b1",))
    say("t1", "Shrimp")
    ingest_reviewed()
    names = ["Shrimp/1.png", "Shrimp/copy.png", "Shrimp/same.png"]
    assert [name for name in contents() if name.startswith("Shrimp")] == names


@pytest.mark.parametrize("after", ["Trout", "Sea Bass"])
def test_a_photograph_under_two_species_comes_under_one(after: str) -> None:
    write({"Sea Bass/9.png": "t1 turned", "Sea Bass/same.png": "t1"})
    found(("t1", "t1 turned"), reason="one photograph under different species: a and b")
    say("t1", after)
    ingest_reviewed()
    place = {text: name.split("/")[0] for name, text in contents().items()}
    assert (place["t1"], place["t1 turned"], place["b1"]) == (after, after, "Sea Bass")


def test_a_file_that_is_there_already_is_not_there_twice() -> None:
    write({"Sea Bass/1.png": "t1"})
    say("t1", "Sea Bass")
    ingest_reviewed()
    assert contents() == {"Sea Bass/1.png": "t1", "Trout/boat/2.png": "t2"}


def test_what_is_none_of_the_species_is_taken_out_and_comes_back() -> None:
    write({"Trout/copy.png": "t1 turned"})
    before = contents()
    found(("t1", "t1 turned"), ("t2",), ("b1",))
    say("t1", "")
    ingest_reviewed()
    assert contents() == {"Sea Bass/1.png": "b1", "Trout/boat/2.png": "t2"}
    assert sorted(contents(REMOVED).values()) == ["t1", "t1 turned"]
    found(("t2",), ("b1",))  # the next `preprocess` knows nothing of it
    undo("Ann")
    ingest_reviewed()
    assert contents() == before
    assert contents(REMOVED) == {}


def test_a_new_photograph_is_brought_in_and_kept() -> None:
    name = f"{digest('new')}.png"
    write({name: "new"}, PHOTOGRAPHS)
    say("new", "Shrimp", before="", file=name)
    for _ in range(2):
        ingest_reviewed()
        assert contents() == PHOTOS | {f"Shrimp/{name}": "new"}
    assert contents(PHOTOGRAPHS) == {name: "new"}
    undo("Ann")
    ingest_reviewed()
    assert contents() == PHOTOS


def test_the_latest_decision_counts_and_one_taken_back_goes_back() -> None:
    say("t1", "Shrimp")
    ingest_reviewed()
    say("t1", "Sea Bass", before="Shrimp")
    ingest_reviewed()
    assert [name for name, text in contents().items() if text == "t1"] != ["Trout/1.png"]
    for place in ("Shrimp/1.png", "Trout/1.png"):
        undo("Ann")
        ingest_reviewed()
        assert next(name for name, text in contents().items() if text == "t1")[:5] == place[:5]


def test_what_somebody_moved_since_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    say("t1", "Sea Bass")
    (RAW / "Shrimp").mkdir()
    shutil.move(RAW / "Trout/1.png", RAW / "Shrimp/1.png")
    say("gone", "Sea Bass")
    before = contents()
    ingest_reviewed()
    assert contents() == before
    said = capsys.readouterr().out
    assert "Left as it is: t1 lies under Shrimp, where no reviewer saw it" in said
    assert "Left as it is: gone is not here any more" in said


@pytest.mark.parametrize("moves", range(4))
def test_a_run_that_was_cut_off_is_finished_by_the_next(
    moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{digest('new')}.png"
    write({name: "new"}, PHOTOGRAPHS)
    for content, after, before in [("t1", "Sea Bass", "Trout"), ("t2", "", "Trout"),
                                   ("new", "Shrimp", "")]:  # fmt: skip
        say(content, after, before, file=name)
    rename, done = Path.rename, []

    def cut(path: Path, target: Path) -> Path:
        if len(done) == moves:
            raise OSError(28, "No space left on device", str(target))
        done.append(target)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        if moves < 3:
            with pytest.raises(UserError, match="No space left.*run the same again"):
                ingest_reviewed()
        else:
            ingest_reviewed()
    ingest_reviewed()
    taken = f"Sea Bass/1-{digest('t1')[:8]}.png"
    assert contents() == {"Sea Bass/1.png": "b1", taken: "t1", f"Shrimp/{name}": "new"}
    assert list(contents(REMOVED).values()) == ["t2"]


def test_tables_name_the_files_as_they_are_called_now() -> None:
    table = 'file,original,note\nTrout/1.png,"film, 1",001\nTrout/boat/2.png,film 2,\n'
    trips = "\ufefffile;trip\nTrout/1.png;007\nTrout/boat/2.png;8\n"  # as a spreadsheet has it
    write({"originals.csv": table, "photographs.csv": trips})
    say("t1", "Shrimp")
    say("t2", "")
    ingest_reviewed()
    assert (RAW / "originals.csv").read_text() == 'file,original,note\nShrimp/1.png,"film, 1",001\n'
    assert (RAW / "photographs.csv").read_text() == "file,trip\nShrimp/1.png,007\n"


def test_a_dry_run_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    say("t1", "Sea Bass")
    ingest_reviewed(dry_run=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["moves"][0]["species"] == "Sea Bass"
    ingest_reviewed(dry_run=True)
    assert "1 file of 1 photograph to move\nDry run: nothing was" in capsys.readouterr().out
    assert (contents(), RECORD.exists()) == (PHOTOS, False)


def test_without_decisions_or_in_another_folder() -> None:
    with pytest.raises(UserError, match="no decisions in data/review/decisions.csv"):
        ingest_reviewed()
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("dir: data/raw", "dir: data/sample"))
    with pytest.raises(UserError, match="data.dir is data/sample"):
        ingest_reviewed()


@pytest.mark.parametrize(
    "words", ["", "--reviewed source", "--reviewed --json", "--reviewed --link move"]
)
def test_words_that_contradict_each_other(words: str) -> None:
    assert CliRunner().invoke(main, ["ingest", *words.split()]).exit_code == 2


def test_the_command() -> None:
    say("t1", "Sea Bass")
    done = CliRunner().invoke(main, ["ingest", "--reviewed", "--dry-run"])
    assert (done.exit_code, "data/raw/Sea Bass" in done.output) == (0, True)
