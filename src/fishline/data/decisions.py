"""What reviewers decided of photographs: `data/review/decisions.csv`, a log that only grows.

A photograph is told by its file's content, so that a decision holds wherever the file lies. The
log belongs into git, which joins the rows of two clones (`merge=union` in .gitattributes): their
order is that of their times.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from fishline.core.errors import UserError
from fishline.core.files import one_at_a_time, replacing, write_text
from fishline.data.photo_files import MASKS

DECISIONS = Path("data/review/decisions.csv")
PHOTOGRAPHS = Path("data/review/photographs")  # new ones, under the names of their contents
LOCK = Path(".dvc/tmp/fishline-review.lock")
SECONDS = 10  # that a decision waits for another one to be written

KINDS = ("confirm", "correct", "none", "undo")
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Decision:
    """A row of the log.

    time:     UTC, in ISO 8601
    reviewer: who decided
    model:    whose answer was shown, such as fish-finetuned/3; "" for none
    file:     as it was named: relative to the data folder, or to `PHOTOGRAPHS` for a new one
    sha256:   of the file's content
    before:   the species that it lay under; "" for a new photograph
    decision: one of `KINDS`
    after:    the species that it is; "" for none of them
    """

    time: str
    reviewer: str
    model: str
    file: str
    sha256: str
    before: str
    decision: str
    after: str


COLUMNS = [field.name for field in fields(Decision)]


def now() -> str:
    """The time of a decision that is made now."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_decisions() -> list[Decision]:
    """The log, the oldest row first; nothing if there is none.

    Raises:
        UserError: a row is none that this module writes.
    """
    if not DECISIONS.is_file():
        return []
    try:
        with DECISIONS.open(encoding="utf-8-sig", newline="") as file:  # a spreadsheet adds a mark
            reader = csv.reader(file)
            rows = [_parse(row, reader.line_num) for row in reader if row not in ([], COLUMNS)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{DECISIONS} cannot be read: {error}") from None
    return sorted(rows, key=lambda decision: decision.time)


def not_undone(log: Iterable[Decision]) -> list[Decision]:
    """The decisions that were not taken back: an `undo` takes back its reviewer's last one."""
    kept: list[Decision] = []
    for row in log:
        if row.decision != "undo":
            kept.append(row)
            continue
        own = [d for d in kept if (d.sha256, d.reviewer) == (row.sha256, row.reviewer)]
        if own:
            kept.remove(own[-1])
    return kept


def standing(
    log: Iterable[Decision], photographs: Mapping[str, str] = NOTHING
) -> dict[str, Decision]:
    """The decision that counts for each photograph: the latest that was not undone.

    Args:
        photographs: by SHA-256, which photograph a file shows, as of `photographs_by_digest`; a
            file that is not in it is a photograph of its own, named by its SHA-256.
    """
    return {photographs.get(row.sha256, row.sha256): row for row in not_undone(log)}


def reviewed_answers(log: Iterable[Decision]) -> set[str]:
    """SHA-256 of the photographs that a model had been asked about before anybody labelled them."""
    return {row.sha256 for row in not_undone(log) if row.model and not row.before}


def decide(
    decision: Decision,
    shown: Decision | None,
    photographs: Mapping[str, str] = NOTHING,
    content: bytes | None = None,
) -> Decision | None:
    """Add a decision to the log, unless somebody has decided since the photograph was shown.

    Args:
        shown: the decision that stood then.
        photographs: as of `standing`.
        content: of a new photograph, which is kept as `decision.file`.

    Returns:
        The decision that came between, and stays; None if this one was added.

    Raises:
        UserError: the log cannot be read or written.
    """
    key = photographs.get(decision.sha256, decision.sha256)
    with _writing():
        between = standing(read_decisions(), photographs).get(key)
        if between is not None and between != shown:
            return between
        if content is not None:
            with replacing(PHOTOGRAPHS / decision.file) as temporary:
                temporary.write_bytes(content)
        _append(decision)
    return None


def last_of(reviewer: str, log: Iterable[Decision]) -> Decision | None:
    """What `undo` would take back."""
    own = [row for row in not_undone(log) if row.reviewer == reviewer]
    return own[-1] if own else None


def undo(reviewer: str) -> Decision | None:
    """Take back the last decision of `reviewer`; returns it, None if there is none.

    A new photograph that nobody else decided on is kept no longer.

    Raises:
        UserError: the log cannot be read or written.
    """
    with _writing():
        log = read_decisions()
        last = last_of(reviewer, log)
        if last is None:
            return None
        rows = [row for row in log if row.sha256 == last.sha256]
        rest = standing(row for row in rows if row != last).get(last.sha256)
        changes = {"time": now(), "before": last.after, "decision": "undo"}
        after = rest.after if rest else rows[0].before
        _append(Decision(**asdict(last) | changes | {"after": after}))
        if rest is None:
            for kept in PHOTOGRAPHS.glob(f"{last.sha256}.*"):
                kept.unlink()
    return last


@contextmanager
def _writing() -> Iterator[None]:
    with one_at_a_time(LOCK, f"another process has held {LOCK} for {SECONDS} s", SECONDS):
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{error.filename or DECISIONS} cannot be written: {error.strerror}"
            ) from None


def _append(decision: Decision) -> None:
    """Written whole: whoever reads meanwhile, and whatever stops this, finds whole rows."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(asdict(decision).values())
    head = ",".join(COLUMNS) + "\n"
    text = (DECISIONS.read_text(encoding="utf-8") if DECISIONS.is_file() else "") or head
    if not text.endswith("\n"):  # some editor left the last line open
        text += "\n"
    write_text(DECISIONS, text + line.getvalue())


def _parse(row: list[str], line: int) -> Decision:
    """A row that was read; it may have come from anywhere, and its species becomes a folder."""
    if len(row) == len(COLUMNS):
        decision = Decision(*row)
        if (
            decision.decision in KINDS
            and re.fullmatch("[0-9a-f]{64}", decision.sha256)
            and all(_is_species(name) for name in (decision.before, decision.after) if name)
        ):
            return decision
    raise UserError(
        f"{DECISIONS}, line {line}: not a decision; its columns are {', '.join(COLUMNS)}. Mend the "
        f"line, or bring back the last version: git checkout {DECISIONS}"
    )


def _is_species(name: str) -> bool:
    """Whether a folder of the data may have that name."""
    return not re.search(r"[/\\\0]", name) and not name.startswith(".") and not name.endswith(MASKS)
