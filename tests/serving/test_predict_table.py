"""`fishline predict --out`: a row for each photograph, whatever stops it, from folder or bucket."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock
from PIL import Image

from fishline.cli.main import main
from fishline.core.errors import UserError
from fishline.serving import answer_table, ray_answers
from fishline.serving.answer import Answer
from fishline.serving.answer_table import AnswerTable
from fishline.serving.predictor import Predictor

MakeModel = Callable[..., Path]
COLUMNS = (
    "file sha256 species rank probability Bream Shrimp Trout error only model model_sha256".split()
)
SHARES = COLUMNS[4:8]


def png(number: int) -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


CONTENT = {f"{n // 20}/{n:03}.png": png(n) for n in range(50)} | {
    "0/broken.jpg": b"nonsense",
    "1/empty.png": b"",
}


@pytest.fixture
def project(make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """52 photographs, two of which cannot be read, and a model, in the working folder."""
    make_model(tmp_path / "model")
    for name, content in CONTENT.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FISHLINE_ENGINE", raising=False)
    monkeypatch.setattr(answer_table, "PART", 20)  # with batches of 32, parts of these
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["predict", "--model", "model", *words])


def table(name: str = "answers.parquet") -> pd.DataFrame:
    return pd.read_parquet(name)


def printed(*sources: str) -> pd.DataFrame:
    """What `fishline predict` says without --out."""
    rows = [json.loads(line) for line in call("--json", *sources).stdout.splitlines()]
    none = dict.fromkeys(SHARES[1:])
    return pd.DataFrame([{**row, **(row.pop("probabilities") or none)} for row in rows])


def assert_same(rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    for name in ("file", "species", "rank", "error"):
        assert rows[name].fillna("").tolist() == expected[name].fillna("").tolist()
    np.testing.assert_array_equal(rows[SHARES].to_numpy(float), expected[SHARES].to_numpy(float))


def test_a_row_for_each_photograph_as_they_are_printed(project: Path) -> None:
    done = call("photos", "--out", "answers.parquet")
    rows = table()
    assert list(rows) == COLUMNS
    assert_same(rows, printed("photos"))
    contents = [(project / file).read_bytes() for file in rows["file"]]
    hashes = [hashlib.sha256(content).hexdigest() for content in contents if content]
    assert rows["sha256"].dropna().tolist() == hashes
    errors = rows.loc[rows["error"].notna()].set_index("file")["error"].to_dict()
    assert errors == {
        "photos/0/broken.jpg": "not an image that Pillow can read",
        "photos/1/empty.png": "an empty file",
    }
    assert set(rows["model"]) == {"model"}
    assert len(set(rows["model_sha256"])) == 1
    assert (done.exit_code, done.stdout) == (1, "")
    assert "answers.parquet: 52 photographs, 2 of them not read (column error)" in done.stderr
    assert sorted(os.listdir("answers.parquet"))[1:] == [f"part-{n:06}.parquet" for n in range(2)]


def stop_after(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break off when this many rows are asked about."""
    whole = Predictor.predict_hashed

    def some(*arguments: Any) -> Iterator[Any]:
        for number, answer in enumerate(whole(*arguments)):
            if number == rows:
                raise UserError("broken off")
            yield answer

    monkeypatch.setattr(Predictor, "predict_hashed", some)


def test_it_goes_on_where_it_was_broken_off(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("photos", "--out", "whole.parquet")
    with monkeypatch.context() as patch:
        stop_after(40, patch)
        assert "broken off" in call("photos", "--out", "answers.parquet").stderr
    assert len(table()) == 32
    done = call("photos", "--out", "answers.parquet")
    assert "answers.parquet has 32 of 52 answers already" in done.stderr
    pd.testing.assert_frame_equal(table(), table("whole.parquet"))
    assert done.exit_code == 1  # of the whole table

    stop_after(0, monkeypatch)  # nothing more is asked
    assert "has 52 of 52" in call("photos", "--out", "answers.parquet").stderr
    assert len(table()) == 52


def test_only_new_photographs_are_asked_about(project: Path) -> None:
    call("photos/0", "--out", "answers.parquet")
    call("photos/1/020.png", "photos", "photos/0", "--out", "answers.parquet")
    rows = table()
    assert rows["file"].is_unique
    assert set(rows["file"]) == {f"photos/{name}" for name in CONTENT}


def test_killed_on_the_way(project: Path) -> None:
    code = (
        "import sys, time; from fishline.serving import answer_table; from fishline.cli.main import"
        " main; answer_table.PART = 1; write = answer_table.AnswerTable._write\n"
        "def slow(*a): write(*a); time.sleep(60)\n"
        "answer_table.AnswerTable._write = slow\nmain()"
    )
    words = ["predict", "photos", "--model", "model", "--out", "answers.parquet"]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    part = project / "answers.parquet/part-000000.parquet"
    while not part.exists():
        assert process.poll() is None
        time.sleep(0.05)
    (part.parent / ".part-000001.parquet-left").write_text("half")
    process.send_signal(signal.SIGKILL)
    process.wait()
    call("photos", "--out", "answers.parquet")
    assert_same(table(), printed("photos"))
    assert not list(part.parent.glob(".part*"))


def test_another_model_is_refused(project: Path, make_model: MakeModel) -> None:
    call("photos/0", "--out", "answers.parquet")
    before = table()
    make_model(project / "model", seed=1)
    done = call("photos", "--out", "answers.parquet")
    assert "answers.parquet holds answers by model (sha256 " in done.stderr
    assert "Name another --out, or the --model of before, or delete the folder" in done.stderr
    assert done.exit_code == 1
    pd.testing.assert_frame_equal(table(), before)


def test_answers_among_other_species_are_refused(project: Path) -> None:
    only = ["--only", "Trout,Bream"]
    call("photos/0", "--out", "answers.parquet", *only)
    rows = table()
    assert set(rows["only"]) == {"Bream,Trout"}
    assert_same(rows, printed("photos/0", *only))
    assert call("photos", "--out", "answers.parquet", "--only", "Bream,Trout").exit_code == 1
    assert len(table()) == 52  # of which two cannot be read
    done = call("photos", "--out", "answers.parquet")
    assert "holds answers among Bream,Trout, and they are now to be among all" in done.stderr
    assert "Name another --out, or the --only of before" in done.stderr
    assert len(table()) == 52


def test_a_part_that_is_damaged_is_named(project: Path) -> None:
    call("photos", "--out", "answers.parquet")
    part = Path("answers.parquet/part-000001.parquet")
    part.write_bytes(part.read_bytes()[:100])
    done = call("photos", "--out", "answers.parquet")
    assert f"{part} is no part of a table of answers" in done.stderr
    part.unlink()
    call("photos", "--out", "answers.parquet")
    assert_same(table(), printed("photos"))


def test_a_list(project: Path) -> None:
    lines = ["photos/0/001.png", "", " photos/0/nowhere.png\r", "./photos/0/001.png"]
    Path("list.txt").write_text("\ufeff" + "\n".join(lines))
    call("list.txt", "--out", "answers.parquet")
    assert table()["file"].tolist() == ["photos/0/001.png", "photos/0/nowhere.png"]
    assert table()["error"].tolist()[1] == "No such file or directory"
    assert_same(table(), printed("list.txt"))


def test_a_name_that_is_not_utf8(project: Path) -> None:
    odd = os.fsdecode(b"photos/\xff.png")
    Path(odd).write_bytes(png(0))
    for _ in range(2):  # again: nothing is new
        assert call("photos", "--out", "answers.parquet").exit_code == 1
        assert table()["file"].tolist().count("photos/\\xff.png") == 1


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["empty"], "no photographs in empty", 1),
        (["none.txt"], "the list none.txt cannot be read: No such file or directory", 1),
        (["photos", "--json"], "--json is for what is printed, --out writes Parquet", 2),
        (["photos", "--out", "answers.csv"], "name a table that ends in .parquet", 2),
        (["photos", "--out", "file.parquet"], "file.parquet is there and no table of answers", 1),
        (["photos", "--out", "other.parquet"], "other.parquet is there and no table of answers", 1),
        (["photos", "--out", "file.parquet/a.parquet"], "a.parquet cannot be written: Not a", 1),
        (["photos", "--out", "busy.parquet"], "another process writes busy.parquet", 1),
    ],
)
def test_mistakes(project: Path, words: list[str], message: str, code: int) -> None:
    Path("empty").mkdir()
    Path("file.parquet").write_text("mine")
    Path("other.parquet").mkdir()
    Path("other.parquet/data.csv").write_text("mine")
    Path("busy.parquet").mkdir()
    with FileLock("busy.parquet/.lock"):
        done = call("--out", "answers.parquet", *words)
    assert message in done.stderr
    assert (done.exit_code, done.stdout) == (code, "")
    assert not Path("answers.parquet").exists()


def test_the_engine_is_for_tables(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--engine is for --out" in call("photos", "--engine", "ray").stderr
    monkeypatch.setenv("FISHLINE_ENGINE", "spark")
    done = call("photos", "--out", "answers.parquet")
    assert "FISHLINE_ENGINE is 'spark'; it must be local or ray" in done.stderr


def test_a_disk_that_is_full(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answer_table.pq, "write_table", full)
    done = call("photos", "--out", "answers.parquet")
    assert "part-000000.parquet cannot be written: No space left on device" in done.stderr
    assert "the same command goes on from there" in done.stderr


@pytest.fixture(scope="module")
def bucket(make_bucket: Callable[[str, Mapping[str, bytes]], str]) -> str:
    return make_bucket("answers", {f"photos/{name}": text for name, text in CONTENT.items()})


def assert_same_but_for_the_place(rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    files = rows["file"].str.removeprefix("s3://answers/")
    assert_same(rows.assign(file=files), expected)


def test_a_bucket(project: Path, bucket: str) -> None:
    call(f"{bucket}/photos", "--out", "answers.parquet")
    expected = printed("photos")
    assert table()["file"].str.startswith("s3://answers/photos/").all()
    assert_same_but_for_the_place(table(), expected)
    assert_same_but_for_the_place(printed(f"{bucket}/photos"), expected)


@pytest.mark.usefixtures("bucket", "ray_cluster")  # in this order: workers know the bucket
def test_ray_gives_the_same_answers_and_goes_on(
    project: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("photos", f"{bucket}/photos", "--out", "answers.parquet")
    before = table()
    for part in Path("answers.parquet").glob("part-00000[1-9].parquet"):
        part.unlink()  # as if they had not been written
    there = len(table())
    monkeypatch.setattr(ray_answers, "BLOCK", 32)
    monkeypatch.setenv("FISHLINE_ENGINE", "ray")
    done = call("photos", f"{bucket}/photos", "--out", "answers.parquet")
    assert f"has {there} of 104 answers already" in done.stderr
    assert there < 52  # some of the disk are asked about, and all of the bucket
    pd.testing.assert_frame_equal(table(), before)


@pytest.mark.usefixtures("bucket", "ray_cluster")  # in this order: workers know the bucket
def test_what_a_worker_of_ray_says_reaches_the_user(project: Path) -> None:
    Path("list.txt").write_text("http://127.0.0.1:1/a.jpg")
    done = call("list.txt", "--out", "answers.parquet", "--engine", "ray")
    assert "Error: http://127.0.0.1:1/a.jpg cannot be reached" in done.stderr
    assert (done.exit_code, "Traceback" in done.output) == (1, False)


def test_files_that_workers_do_not_see_are_no_answers(project: Path) -> None:
    predictor = Predictor(project / "model")
    for name in ("photos/0/nowhere.png", "photos/0/001.png"):
        nothing = Answer(None, None, None, "No such file or directory")
        rows = answer_table.as_table([name], [(None, nothing)], predictor)
        with nullcontext() if "nowhere" in name else pytest.raises(UserError, match="is here, and"):
            ray_answers._require_seen(rows)


def test_workers_are_processors_or_gpus_with_a_share_of_these() -> None:
    assert ray_answers._workers({"CPU": 3.0}) == (3, 1, 0)
    assert ray_answers._workers({"CPU": 16.0, "GPU": 2.0}) == (2, 8, 1)
    assert ray_answers._workers({}) == (1, 1, 0)


def test_the_table_tells_versions_apart_by_the_model_itself(
    make_model: MakeModel, tmp_path: Path
) -> None:
    first, same, other = (
        Predictor(make_model(tmp_path / str(n), **changes), version="fish-finetuned/3")
        for n, changes in enumerate([{}, {}, {"temperature": 2.0}])
    )
    assert first.model.digest == same.model.digest != other.model.digest
    assert AnswerTable(tmp_path / "none.parquet", first).answered() == set()
