"""`fishline predict`: files and folders in, a line for each out."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fishline.cli.main import main
from fishline.serving.answer_log.reader import read_log
from fishline.serving.predict import read_only

Tree = Callable[[Path, Mapping[str, int]], list[str]]


@pytest.fixture
def project(
    make_model: Callable[..., Path],
    draw_tree: Tree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Three photographs, a broken one and a model, in the working folder."""
    make_model(tmp_path / "model")
    draw_tree(tmp_path / "photos", {"a": 2, "b": 1})
    (tmp_path / "photos/b/broken.jpg").write_bytes(b"nonsense")
    (tmp_path / "photos/notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["predict", "--model", "model", *words])


GOOD = ["photos/a/01.png", "photos/a/02.png", "photos/b/01.png"]
BROKEN = "photos/b/broken.jpg"


def test_text(project: Path) -> None:
    done = call("photos")
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [*GOOD, BROKEN]
    for line in lines[:3]:
        assert line.split(": ")[1].split()[0] in ("Bream", "Shrimp", "Trout")
    assert lines[3] == f"{BROKEN}: not read: not an image that Pillow can read"
    assert done.stderr.startswith("model knows Bream, Shrimp, Trout; any other fish may be taken")
    assert "1 of 4 photographs could not be read" in done.stderr
    assert done.exit_code == 1


def test_answers_are_logged_with_the_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHLINE_LOG", "log")
    monkeypatch.setenv("FISHLINE_PLACE", "elsewhere")
    assert call("--place", "MV Test", "photos").exit_code == 1
    rows = read_log("log").to_pylist()
    assert [row["error"] is None for row in rows] == [True] * 3 + [False]
    found = {(row["source"], row["place"], row["model"]) for row in rows}
    assert found == {("predict", "MV Test", "model")}


def test_json_lines(project: Path) -> None:
    done = call("--json", *GOOD)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["file"] for row in rows] == GOOD
    for row in rows:
        best = max(row["probabilities"], key=row["probabilities"].get)
        assert (row["species"], row["probability"]) == (best, row["probabilities"][best])
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["error"] is None
    assert done.exit_code == 0


def test_csv(project: Path) -> None:
    done = call("--csv", "photos/b", GOOD[0])
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["file"] for row in rows] == [GOOD[2], BROKEN, GOOD[0]]
    header = ["file", "species", "rank", "probability", "Bream", "Shrimp", "Trout", "error"]
    assert list(rows[0]) == header
    assert float(rows[0]["probability"]) == max(float(rows[0][name]) for name in header[4:7])
    assert list(rows[1].values())[1:] == [*[""] * 6, "not an image that Pillow can read"]


def test_an_unknown_photograph_names_the_likeliest(
    project: Path, make_model: Callable[..., Path]
) -> None:
    make_model(project / "model", recall=0.01)  # nearly everything is far
    line = call(GOOD[0]).stdout
    assert line.startswith(f"{GOOD[0]}: unknown, perhaps ")


def test_an_unsure_photograph_is_answered_with_its_genus(
    project: Path, make_model: Callable[..., Path]
) -> None:
    make_model(project / "model", genera=("G", "G", "G"), confidence_threshold=0.9)
    assert re.match(
        rf"{GOOD[0]}: genus G \(1\.00\), perhaps \w+ \(0\.\d\d\)\n", call(GOOD[0]).stdout
    )
    (row,) = map(json.loads, call("--json", GOOD[0]).stdout.splitlines())
    assert (row["species"], row["rank"]) == ("G", "genus")
    assert row["probability"] == pytest.approx(1)


def test_answers_among_what_there_can_be(project: Path) -> None:
    whole, part = (
        [json.loads(line)["probabilities"] for line in call("--json", *words).stdout.splitlines()]
        for words in (GOOD, ["--only", '"Trout", Bream', *GOOD])
    )
    for all_shares, shares in zip(whole, part, strict=True):
        left = all_shares["Bream"] + all_shares["Trout"]
        expected = {name: all_shares[name] / left for name in ("Bream", "Trout")} | {"Shrimp": 0}
        assert shares == pytest.approx(expected)
    twice = call("--only", "Bream", "--only", "Trout", GOOD[0])
    assert "the answers are among Bream, Trout; any other" in twice.stderr


def test_a_name_with_a_comma_stands_in_quotes() -> None:
    names = ["Bass", "Bream, red", 'the "big" one']
    assert read_only(['Bass,"Bream, red"', names[-1]]) == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["empty"], "no photographs in empty"),
        (
            ["--only", "Trout,Breem", "photos"],
            "the model does not know 'Breem'; it knows Bream, Shrimp, Trout. Did you mean 'Bream'?",
        ),
        (["--only", '"Trout', "photos"], "no line of CSV (unexpected end of data)"),
        (["--only", "", "photos"], "--only names no species"),
        ([], "Missing argument 'SOURCE...'"),
        (["--json", "missing.jpg"], "1 of 1 photographs could not be read"),
    ],
)
def test_mistakes(project: Path, words: list[str], message: str) -> None:
    (project / "empty").mkdir()
    done = call(*words)
    assert message in done.stderr
    assert done.exit_code != 0
    assert "Traceback" not in done.output
