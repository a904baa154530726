"""The log of answers: every answer is a row, whatever happens to the place that it is in."""

import io
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fishline.cli.main import main
from fishline.core.errors import UserError
from fishline.data.decode import decode
from fishline.serving.answer_log import file as log_file
from fishline.serving.answer_log import writer as log_writer
from fishline.serving.answer_log.file import Batch
from fishline.serving.answer_log.reader import read_log
from fishline.serving.answer_log.recorder import Recorder
from fishline.serving.answer_log.schema import PICTURES, SCHEMA, project
from fishline.serving.answer_log.writer import Writer, flush_on_sigterm
from fishline.serving.predictor import Predictor

NOW = datetime.now(UTC)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty log, which the environment names."""
    for name in [name for name in os.environ if name.startswith("FISHLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FISHLINE_LOG", str(tmp_path / "log"))
    return str(tmp_path / "log")


@pytest.fixture
def asked(make_model: Callable[..., Path], tmp_path: Path) -> Predictor:
    return Predictor(make_model(tmp_path / "model"), version="fish-base/3")


def photograph(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def batch(*numbers: int, time: datetime = NOW) -> Batch:
    """Rows whose distances are these numbers."""

    def rows(kept: Mapping[str, str]) -> pa.Table:
        return pa.Table.from_pylist([{"time": time, "distance": n} for n in numbers], SCHEMA)

    return Batch(f"{time:%F}", len(numbers), rows, {}, 0, 0)


def numbers(log: str, **asked_for: Any) -> list[float]:
    return sorted(read_log(log, columns=["distance"], **asked_for)["distance"].to_pylist())


def test_every_answer_is_a_row(
    asked: Predictor, log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHLINE_PLACE", "MV Ünsal, port side")
    asked.record("app")
    contents = [*(photograph(number) for number in range(40)), b"bad"]  # over two batches
    answers = list(asked.predict([*contents, "secret name.jpg"]))
    asked.flush()
    table = read_log(log)
    assert table.schema == SCHEMA
    rows = table.to_pylist()
    assert [row["answer"] for row in rows] == [answer.species for answer in answers]
    assert [row["probability"] for row in rows] == [answer.probability for answer in answers]
    assert [row["sha256"] for row in rows] == [*(sha256(c).hexdigest() for c in contents), None]
    assert dict(rows[0]["probabilities"]) == answers[0].probabilities
    shared = ("app", "MV Ünsal, port side", "fish-base/3", asked.model.digest, "")
    for row in rows:
        names = ("source", "place", "model", "model_sha256", "picture")
        assert tuple(row[name] for name in names) == shared
        assert row["seconds"] > 0
    pixels = torch.from_numpy(decode(contents[0], 48).pixels[None].copy())
    features = asked.model.embed(pixels).numpy()
    np.testing.assert_allclose(rows[0]["features"], project(features)[0], rtol=1e-4, atol=1e-6)
    distances = asked.model.detector.distances(features)
    assert rows[0]["distance"] == pytest.approx(distances[0], rel=1e-4)
    assert [row["error"] is None for row in rows] == [True] * 40 + [False] * 2
    assert (rows[-1]["probabilities"], rows[-1]["features"]) == (None, None)
    assert "secret" not in str(rows)
    assert pq.read_table(log).num_rows == 42  # by whatever reads Parquet


def test_a_place_that_is_no_unicode_keeps_no_answer_out_of_the_log(
    asked: Predictor, log: str
) -> None:
    asked.record("serve")
    for place in ("MV \ud800", "MV \udcff", "MV Ünsal"):
        list(asked.at(place).predict([photograph(0)]))
    asked.flush()
    assert read_log(log)["place"].to_pylist() == [r"MV \ud800", r"MV \udcff", "MV Ünsal"]


def test_a_projection_keeps_how_alike_features_are() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((100, 1280)).astype(np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    drawn = np.random.default_rng(0).standard_normal((1280, 32)) / np.sqrt(32)
    np.testing.assert_allclose(project(features), features / lengths @ drawn, atol=1e-6)
    assert project(features).dtype == np.float32
    assert project(np.zeros((0, 5), np.float32)).shape == (0, 32)


def test_without_the_variable_nothing_is_logged(
    asked: Predictor, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FISHLINE_LOG")
    asked.record("predict")
    assert asked.recorder is None
    option = CliRunner().invoke(main, ["predict", "a.jpg", "--place", "here"])
    assert (option.exit_code, "set FISHLINE_LOG" in option.output) == (2, True)


def test_a_file_grows_until_it_is_full_and_each_row_is_there_once(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "PART", 4)
    writers = [Writer(log), Writer(log)]  # as of two processes
    for number in range(6):
        for writer in writers:
            writer.put(batch(2 * number, 2 * number + 1))
            writer.flush()
        assert numbers(log) == sorted([*range(2 * number + 2)] * 2)
    writers[0].put(batch(12, time=NOW + timedelta(1)))
    writers[0].flush()
    files = [path.relative_to(log) for path in Path(log).rglob("*.parquet")]
    assert len(files) == 2 * 3 + 1
    assert len({path.parts[0] for path in files}) == 2
    assert numbers(log, since=NOW + timedelta(hours=1)) == [12]
    assert numbers(log, until=NOW + timedelta(hours=1)) == sorted([*range(12)] * 2)


def test_files_of_other_days_are_not_opened(log: str) -> None:
    writer = Writer(log)
    writer.put(batch(1))
    writer.flush()
    old = Path(log, "day=2001-01-01/broken.parquet")
    old.parent.mkdir()
    old.write_bytes(b"no Parquet")
    assert numbers(log, since=NOW) == [1]
    with pytest.raises(UserError, match="broken.parquet is no file of a log of answers"):
        read_log(log)
    with pytest.raises(UserError, match="there is no log of answers"):
        read_log(f"{log}/nowhere")


def test_a_disk_that_is_full_stops_no_answer(
    log: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What there is room for waits; the rest is counted; all goes on when there is room again."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_writer, "MOST", 5)
    monkeypatch.setattr(log_file, "PART", 3)
    write = log_file._write
    monkeypatch.setattr(log_file, "_write", full)
    writer = Writer(log)
    for number in range(0, 20, 2):
        writer.put(batch(number, number + 1))
        writer.flush()
    (warning,) = capsys.readouterr().err.splitlines()
    assert "cannot be written (No space left on device)" in warning
    assert writer.missing == 20
    monkeypatch.setattr(log_file, "_write", write)
    writer.put(batch(20))
    writer.flush()
    kept, lost = numbers(log), writer.missing
    assert 0 < lost < 20
    assert kept == [*range(20 - lost), 20]
    assert f"written again, without {lost} answers" in capsys.readouterr().err


def test_the_photographs_of_unsure_answers_are_kept_while_there_is_room(
    asked: Predictor, log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHLINE_LOG_PICTURES", "unsure")
    asked.record("predict")
    contents = [photograph(number) for number in range(3)]
    files = [tmp_path / f"{number}.jpg" for number in range(3)]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    list(asked.predict([*files, b"bad"]))  # sure: the model answers with some species
    unsure = Predictor(tmp_path / "model")
    unsure.model.config = replace(unsure.model.config, confidence_threshold=0.99)
    unsure.recorder = replace(asked.recorder, room=len(contents[0]) + len(contents[1]))
    list(unsure.predict([*files, b"bad"]))
    unsure.flush()
    rows = read_log(log).to_pylist()
    assert [row["rank"] for row in rows[4:]] == ["unknown"] * 3 + [None]
    names = [f"{sha256(content).hexdigest()}.png" for content in contents[:2]]
    assert [row["picture"] for row in rows] == ["", "", "", "", *names, "", ""]
    kept = {path.name: path.read_bytes() for path in Path(log, PICTURES).iterdir()}
    assert kept == dict(zip(names, contents, strict=False))
    assert pq.read_table(log).num_rows == 8


def test_a_log_in_a_bucket(
    asked: Predictor,
    make_bucket: Callable[[str, Mapping[str, bytes]], str],
    log: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_bucket("answers", {}) + "/log"
    monkeypatch.setenv("FISHLINE_LOG", url)
    monkeypatch.setenv("FISHLINE_LOG_PICTURES", "all")
    asked.record("serve")
    for _ in range(2):
        list(asked.predict([photograph(1)]))
        asked.flush()
    assert {row["picture"] for row in read_log(url, NOW).to_pylist()} == {
        f"{sha256(photograph(1)).hexdigest()}.png"
    }
    assert read_log(url).num_rows == 2


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FISHLINE_LOG", "nonsense://a", "nonsense://a"),
        ("FISHLINE_LOG_PICTURES", "some", "it must be unsure or all"),
        ("FISHLINE_LOG_PICTURES_MAX", "1GB", "it must be a number of megabytes"),
    ],
)
def test_a_variable_that_says_nothing_is_a_message(
    log: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=message):
        Recorder.from_environment("predict")


def test_each_process_has_a_writer_of_its_own(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = pickle.loads(pickle.dumps(Recorder.from_environment("predict")))
    here = log_writer.writer(recorder.url)
    assert log_writer.writer(recorder.url) is here
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert log_writer.writer(recorder.url) is not here


def test_sigterm_has_all_written_before_it_ends_the_process(log: str) -> None:
    found: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: found.extend(numbers(log)))
    try:
        flush_on_sigterm()
        writer = log_writer.writer(log)
        for number in range(3):
            writer.put(batch(number))
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == [0, 1, 2]


def test_sigterm_says_what_could_not_be_written(
    log: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "_WRITERS", {})
    Path(log).write_text("a file where the folder was to be")
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        flush_on_sigterm()
        log_writer.writer(log).put(batch(1, 2))
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert f"2 answers are not in the log {log}" in capsys.readouterr().err
