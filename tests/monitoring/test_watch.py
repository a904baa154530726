"""`fishline watch` on a log of answers that a test writes; the store is a stand-in."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from mlflow.utils.validation import _validate_metric_name

from fishline.cli.main import main
from fishline.core.errors import UserError
from fishline.data.decisions import Decision, decide, now
from fishline.monitoring import accepted, track, watch
from fishline.monitoring.answers import monday, read_answers, week_of
from fishline.serving.answer_log.schema import SCHEMA
from fishline.tracking.versions import Version

SPECIES = ("Bream", 'Red, "Mullet"')
NOW = datetime.now(UTC)
THIS, BEFORE = week_of(NOW), week_of(NOW - timedelta(weeks=1))
VERSION = Version("fish-base", 3, "0" * 32, (), {}, NOW, {}, {})


def rows(
    place: str, count: int, shift: float = 0, unsure: int = 0, week: str = THIS, seed: int = 0
) -> list[dict[str, object]]:
    """Answers by the model `m`, the first `unsure` of them without a species."""
    rng = np.random.default_rng([seed, *place.encode()])
    made = []
    for number in range(count):
        species = SPECIES[number % 2]
        share = float(rng.uniform(0.8, 1))
        shares = {name: share if name == species else 1 - share for name in SPECIES}
        sure = number >= unsure
        made.append(
            {
                "time": monday(week),
                "place": place,
                "model": "fish-base/3",
                "model_sha256": "m",
                "sha256": f"{rng.integers(2**60):064x}",
                "answer": species if sure else "unknown",
                "rank": "species" if sure else "unknown",
                "probabilities": list(shares.items()),
                "distance": float(rng.random()) + shift,
                "features": (rng.normal(size=32) + shift).astype(np.float32),
            }
        )
    return made


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a log, as FISHLINE_LOG names it, and a model with a reference."""
    tested = pd.DataFrame(rows("", 60, unsure=6))
    tested["species"] = [max(shares, key=lambda s: s[1])[0] for shares in tested["probabilities"]]
    tested["confidence"] = [max(share for _, share in s) for s in tested["probabilities"]]
    tested["right"], tested["part"] = True, "test"
    monkeypatch.setattr(watch.versions, "find", lambda reference: VERSION)
    monkeypatch.setattr(watch, "default_model", lambda: "fish-base")
    monkeypatch.setattr(watch, "read_reference", lambda version: tested)
    monkeypatch.setenv("FISHLINE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nowhere.invalid")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def write(log: Path, *some: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist([row for part in some for row in part], SCHEMA)
    pq.write_table(table, log / f"{len(list(log.iterdir()))}.parquet")


def look(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["watch", "--no-track", *arguments])
    return result.exit_code, result.output


def test_calm_alarm_and_what_could_not_be_done_have_codes_of_their_own(log: Path) -> None:
    code, said = look()
    assert code == 2 and "fish-base/3 has answered nothing" in said
    write(log, rows("Deck 1", 40, unsure=4), rows("Deck, 2", 5, shift=9))
    code, said = look()
    assert code == 0 and "like the project's photographs" in said and "too few to tell" in said
    write(log, rows("Deck 3", 40, shift=2, unsure=30))
    code, said = look("--json")
    found = {row["place"]: row for row in json.loads(said)["weeks"]}
    assert code == 1
    assert found["Deck 3"]["alarms"] == ["look", "unsure"]
    assert len(found["Deck 3"]["advice"]) == 2
    assert found["Deck 1"]["alarms"] == found["Deck, 2"]["alarms"] == []
    assert look("--place", "Deck 1")[0] == 0
    code, said = look("--place", "Deck 4", "--place", "Port")
    assert code == 2 and "fish-base/3 has answered nothing at Deck 4, Port since" in said
    code, said = look("--model", str(log))
    assert (
        code == 2
        and "is no registered model: what to compare with is kept with the registered" in said
    )


def test_where_a_library_is_missing_the_code_is_no_alarm(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fishline.monitoring.watch", None)
    code, said = look()
    assert code == 2 and "needs fishline[train]" in said


def test_any_place_is_tracked(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    @contextmanager
    def no_run(*_: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(add=lambda metrics, _: names.extend(metrics), finish=lambda: None)

    monkeypatch.setattr(track.run, "stage_run", no_run)
    monkeypatch.setattr(track.run, "log_text", lambda *_: None)
    places = ["..", ".", " ", "a\nb", "Süd", "北港", "南港", "x" * 1000]
    write(log, *(rows(place, 1) for place in places))
    assert CliRunner().invoke(main, ["watch"]).exit_code == 0
    assert len({name for name in names if "/no place" not in name}) == 5 * (len(places) - 1)
    for name in names:
        _validate_metric_name(name)


def test_a_week_that_was_accepted_is_what_its_place_is_compared_with(log: Path) -> None:
    write(log, rows("Deck, 2", 40, 2, 20, BEFORE), rows("Deck, 2", 40, 2, 20, seed=1))
    assert look()[0] == 1
    code, said = look("--accept", BEFORE, "--place", "Deck 9")
    assert code == 2 and "fewer than 10 photographs" in said
    assert look("--accept", BEFORE)[0] == 0
    assert look("--accept", BEFORE)[0] == 0
    assert accepted.read_accepted(str(log)) == {"Deck, 2": [BEFORE]}
    code, said = look()
    assert code == 0 and "accepted" in said and f"like the {BEFORE}" in said
    (log / "0.parquet").unlink()
    breams = [row | {"probabilities": [("Bream", 1.0)]} for row in rows("Deck, 2", 40, 2, 20)]
    write(log, rows("Deck, 2", 40, 2, 20, BEFORE, seed=1), breams)
    code, said = look("--json")
    assert code == 1
    assert "mix" in next(row for row in json.loads(said)["weeks"] if row["week"] == THIS)["alarms"]


def test_what_is_too_slight_for_one_week_is_seen_in_several_together(log: Path) -> None:
    weeks = [week_of(NOW - timedelta(weeks=back)) for back in range(6)]
    for seed, week in enumerate(weeks):
        write(log, rows("Deck", 12, 0.2, week=week, seed=seed), rows("Port", 12, 0, week=week))
    code, said = look("--since", "5w", "--json")
    found = {(row["place"], row["week"]): row for row in json.loads(said)["weeks"]}
    together = f"{weeks[-1]}/{THIS}"
    assert code == 1
    assert [key for key, row in found.items() if row["alarms"]] == [("Deck", together)]
    assert found["Deck", together]["photographs"] == 6 * 12
    assert f"--accept {THIS}" in found["Deck", together]["advice"][0]
    assert look("--accept", weeks[1], "--place", "Deck")[0] == 0
    said = look("--since", "5w", "--json")[1]
    found = {(row["place"], row["week"]): row for row in json.loads(said)["weeks"]}
    assert found["Deck", together]["photographs"] == 5 * 12


def test_what_a_week_says_several_together_do_not_say_again(log: Path) -> None:
    write(log, rows("Deck", 40, 2, week=BEFORE), rows("Deck", 40, 2, seed=1))
    said = look("--since", "1w")[1]
    assert said.count("ALARM: look") == 3  # in the table: two weeks, and both together
    assert re.findall(r"^Deck, (\S+): The photographs do not look", said, re.M) == [BEFORE, THIS]


def test_a_table_of_accepted_weeks_that_is_none_is_refused(log: Path) -> None:
    (log / accepted.FILE).write_text("place,week\nDeck,2026-W60\n")
    with pytest.raises(UserError, match="2026-W60 is no week"):
        accepted.read_accepted(str(log))
    (log / accepted.FILE).write_text("Deck,2026-W40\n")
    with pytest.raises(UserError, match="no table of accepted weeks"):
        accepted.read_accepted(str(log))


def test_weeks_of_a_log_in_a_bucket_are_accepted_there() -> None:
    url = "memory://accepted/log"
    accepted.accept(url, "2026-W40", ["Déck, 1"])
    accepted.accept(url, "2025-W52", ["Déck, 1", ""])
    assert accepted.read_accepted(url) == {"Déck, 1": ["2025-W52", "2026-W40"], "": ["2025-W52"]}
    assert accepted.read_accepted("memory://nowhere") == {}


def test_a_photograph_that_comes_again_counts_once_and_an_unread_one_apart(log: Path) -> None:
    some = rows("Deck", 12)
    unread = {"time": monday(THIS), "place": "Deck", "model_sha256": "m", "error": "no image"}
    write(log, some + some[:3], [unread, unread])
    found = read_answers(str(log), monday(THIS), monday(THIS) + timedelta(weeks=1))
    assert found["error"].isna().sum() == 12 and len(found) == 14
    assert list(found["species"].head(2)) == list(SPECIES)
    assert "12 (+ 2 unread)" in look()[1]


def test_what_reviewers_decided_gives_the_accuracy_in_use(log: Path) -> None:
    some = rows("Deck", 30, unsure=10)
    write(log, some)
    for number, row in enumerate(some[:20]):  # all the unsure ones, half of the others
        right = number not in (0, 1, 2, 3, 12)
        species = SPECIES[number % 2] if right else SPECIES[1 - number % 2]
        sha = str(row["sha256"])
        decide(Decision(now(), "me", "", "f", sha, "", "correct", species), None)
    found = json.loads(look("--json")[1])["in_use"][0]
    counts = [(k["kind"], k["answered"], k["reviewed"], k["right"]) for k in found["kinds"]]
    assert counts == [("a species", 20, 10, 9), ("no species", 10, 10, 6)]
    assert found["accuracy"] == pytest.approx((20 * 0.9 + 10 * 0.6) / 30)
    low, high = found["interval"]
    assert 0.5 < low < found["accuracy"] < high < 0.95
    assert "by reviewers: 0.800" in look()[1]


def test_photographs_that_reviewers_decide_to_be_of_no_known_species_are_an_alarm(
    log: Path,
) -> None:
    some = rows("Deck", 30)
    write(log, some, rows("Deck 2", 30))
    for number, (species, code) in enumerate([("Bream", 0), ("Trout", 0), ("", 1)]):
        sha = str(some[number]["sha256"])
        decide(Decision(now(), "me", "", "f", sha, "", "correct", species), None)
        assert look()[0] == code  # one alone may be a slip
    found = {row["place"]: row for row in json.loads(look("--json")[1])["weeks"]}
    assert found["Deck"]["new"] == {"Trout": 1, "": 1} and found["Deck 2"]["new"] == {}
    assert found["Deck"]["alarms"] == ["new"] and found["Deck 2"]["alarms"] == []
    assert "ALARM: new (2)" in look()[1] and "Trout 1, none of the species 1" in look()[1]


def test_the_page_escapes_what_others_named(log: Path) -> None:
    (log.parent / "params.yaml").touch()
    write(log, rows("<b>Deck</b>", 12))
    assert look()[0] == 0
    page = (log.parent / "plots/watch.html").read_text()
    assert "&lt;b&gt;Deck&lt;/b&gt;" in page and "<b>Deck" not in page


@pytest.mark.parametrize("since", ["7", "d", "0d", "-3d", "7 d", "x7d"])
def test_a_time_that_is_none_is_a_usage_error(since: str, log: Path) -> None:
    code, said = look("--since", since)
    assert code == 2 and "such as 7d or 12w" in said
