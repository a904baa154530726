"""The log of what reviewers decided: whole rows, whoever writes at once, and what counts."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from fishline.core.errors import UserError
from fishline.data import decisions
from fishline.data.decisions import (
    COLUMNS,
    DECISIONS,
    PHOTOGRAPHS,
    Decision,
    decide,
    now,
    read_decisions,
    standing,
    undo,
)

NAME = 'Fangri, "Ünlü"'  # what a species may be called


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def says(reviewer: str, photograph: str, after: str, before: str = "Trout") -> Decision:
    kind = "none" if not after else "confirm" if after == before else "correct"
    digest = sha256(photograph.encode()).hexdigest()
    return Decision(now(), reviewer, "", "Trout/1, é.png", digest, before, kind, after)


def counts(photographs: Mapping[str, str] = decisions.NOTHING) -> list[tuple[str, str]]:
    return [(row.reviewer, row.after) for row in standing(read_decisions(), photographs).values()]


def test_what_is_written_is_read_and_names_stay_as_they_are() -> None:
    assert read_decisions() == []
    rows = [says("Ann", "a", NAME), says("Bob, Jr.", "b", "", NAME), says("Ann", "c", " Bass ")]
    assert [decide(row, None) for row in rows] == [None] * 3
    assert read_decisions() == rows
    assert DECISIONS.read_text(encoding="utf-8").startswith(",".join(COLUMNS) + "\n2")


def test_nothing_is_lost_where_several_write_at_once() -> None:
    rows = [says(f"reviewer {n % 4}", f"photograph {n}", "Bass") for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda row: decide(row, None), rows)) == {None}
    assert sorted(row.sha256 for row in read_decisions()) == sorted(row.sha256 for row in rows)


def test_who_comes_second_is_told_and_may_decide_again() -> None:
    first = says("Ann", "a", "Bass")
    decide(first, None)
    assert decide(says("Bob", "a", "Perch"), None) == first
    assert counts() == [("Ann", "Bass")]
    assert decide(says("Bob", "a", "Perch"), first) is None
    assert counts() == [("Bob", "Perch")]


def test_a_copy_is_the_same_photograph() -> None:
    first, copy = says("Ann", "a", "Bass"), says("Bob", "its copy", "Perch")
    photographs = {first.sha256: "one", copy.sha256: "one"}
    decide(first, None, photographs)
    assert decide(copy, None, photographs) == first
    decide(copy, first, photographs)
    assert counts(photographs) == [("Bob", "Perch")]


def test_undo_takes_back_ones_own_last_decision() -> None:
    first = says("Ann", "a", "Bass")
    decide(first, None)
    decide(says("Bob", "a", "Perch"), first)
    decide(says("Bob", "b", "Perch"), None)
    assert (undo("Ann") or first).after == "Bass"
    assert counts() == [("Bob", "Perch"), ("Bob", "Perch")]
    undone = [undo("Bob"), undo("Bob"), undo("Bob"), undo("Ann")]
    assert [row.sha256[:4] for row in undone if row] == [
        sha256(name).hexdigest()[:4] for name in (b"b", b"a")
    ]
    assert counts() == []
    last = read_decisions()[-1]
    assert (last.decision, last.before, last.after) == ("undo", "Perch", "Trout")


def test_undo_brings_back_what_counted_before() -> None:
    first = says("Ann", "a", "Bass")
    decide(first, None)
    decide(says("Ann", "a", ""), first)
    undo("Ann")
    assert counts() == [("Ann", "Bass")]
    assert read_decisions()[-1].after == "Bass"


def test_a_new_photograph_is_kept_while_a_decision_on_it_stands() -> None:
    row = says("Ann", "a", "Bass", before="")
    kept = PHOTOGRAPHS / f"{row.sha256}.png"
    decide(replace(row, file=kept.name), None, content=b"pixels")
    assert kept.read_bytes() == b"pixels"
    undo("Ann")
    assert not kept.exists()


def test_rows_of_two_clones_count_in_the_order_of_their_times() -> None:
    rows = [
        replace(says(who, "a", who), time=f"2026-01-0{day}") for day, who in ((1, "A"), (2, "B"))
    ]
    written = []
    for row in reversed(rows):
        decide(row, None)
        written.append(DECISIONS.read_text())
        DECISIONS.write_text("")
    DECISIONS.write_text("".join(written))  # as git joins them, with both heads or one
    assert read_decisions() == rows


def test_a_line_that_an_editor_left_open_stays_a_line() -> None:
    decide(says("Ann", "a", "Bass"), None)
    DECISIONS.write_bytes(b"\xef\xbb\xbf" + DECISIONS.read_bytes().rstrip())
    decide(says("Ann", "b", "Perch"), None)
    assert counts() == [("Ann", "Bass"), ("Ann", "Perch")]


@pytest.mark.parametrize(
    "change",
    [
        {"after": "../.."},
        {"after": "a/b"},
        {"before": ".git"},
        {"after": "Trout GT"},
        {"decision": "perhaps"},
        {"sha256": "../../etc"},
    ],
)
def test_a_row_from_elsewhere_is_checked(change: dict[str, str]) -> None:
    decide(says("Ann", "a", "Bass"), None)
    bad = vars(says("Ann", "b", "Bass")) | change
    with DECISIONS.open("a") as file:
        file.write(",".join(f'"{value}"' for value in bad.values()) + "\n")
    with pytest.raises(UserError, match=r"decisions.csv, line 3: not a decision"):
        read_decisions()


def test_what_is_no_text_is_a_message() -> None:
    DECISIONS.parent.mkdir(parents=True)
    DECISIONS.write_bytes("é".encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read"):
        read_decisions()
