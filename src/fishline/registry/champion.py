"""Moving the alias `champion` so that nobody ever sees half a move.

A store has no lock that all its users share, and any of them may die between two writes. So:

1. An entry of the history is written: a tag of the registered model under a name of its own.
2. The version that becomes champion is tagged with the name of that entry.
3. The alias `champion` is set: the move, in one write. Of two at once the last one stands, whole.
4. The entry is written again: done, and when. If its writer died before, the champion's tag tells
   that it is done, and the next move writes it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from fishline.tracking.versions import CHAMPION

PREFIX = "history."
MOVE = "champion.move"  # tag of a version: the entry by which it became champion


class Store(Protocol):
    """A registered model, see aliases.RegisteredModel."""

    def aliases(self) -> dict[str, int]: ...
    def set_alias(self, alias: str, number: int) -> None: ...
    def tags(self) -> dict[str, str]: ...
    def tag(self, key: str, value: str) -> None: ...
    def version_tags(self, number: int) -> dict[str, str] | None: ...
    def tag_version(self, number: int, key: str, value: str) -> None: ...


def _now() -> str:
    # With Z: a tag's name may not have a plus.
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class HistoryEntry:
    """One move of the champion.

    action:   promote or rollback
    replaced: the version that was champion; None if there was none
    champion: the version that becomes champion
    who:      a person
    reason:   of one that the gate refused; else empty
    verdicts: what each rule said
    done:     false until the champion is moved; for good if the move broke off before
    time:     when it was asked for: UTC, ISO 8601
    moved:    when the champion was moved; empty until then
    """

    action: str
    replaced: int | None
    champion: int
    who: str
    reason: str = ""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    done: bool = False
    time: str = field(default_factory=_now)
    moved: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.time}-{self.id}"

    @property
    def when(self) -> str:
        """When the champion was moved; earlier entries have only when that was asked for."""
        return self.moved or self.time

    def as_done(self) -> HistoryEntry:
        return replace(self, done=True, moved=_now())

    def text(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def read(text: str) -> HistoryEntry | None:
    """An entry; None if `text` is none."""
    try:
        values: dict[str, Any] = json.loads(text)
        return HistoryEntry(**values)
    except (ValueError, TypeError):
        return None


def history(store: Store) -> list[HistoryEntry]:
    """All moves in the order in which they were made, the one that made the present champion last.

    One that broke off before the champion was moved stands where it was asked for.
    """
    present = _present(store)
    texts = (text for key, text in store.tags().items() if key.startswith(PREFIX))
    entries = [entry for entry in map(read, texts) if entry]
    newest = max((entry.when for entry in entries if entry.done), default="")

    def order(entry: HistoryEntry) -> tuple[str, bool, str]:
        last = (entry.champion, entry.key) == present
        return max(entry.when, newest) if last else entry.when, last, entry.key

    # One that broke off right after the champion was moved does not say so yet.
    return [replace(e, done=e.done or order(e)[1]) for e in sorted(entries, key=order)]


def before(store: Store) -> int | None:
    """The version that was champion before the present one; None if none was, or it is deleted."""
    number = store.aliases().get(CHAMPION)
    last = next((entry for entry in reversed(history(store)) if entry.done), None)
    if number is None or last is None:
        return None
    former = last.replaced if last.champion == number else last.champion  # else set by hand
    return None if former is None or store.version_tags(former) is None else former


def move(store: Store, entry: HistoryEntry) -> None:
    """Make `entry.champion` the champion."""
    _complete(store)
    store.tag(entry.key, entry.text())
    store.tag_version(entry.champion, MOVE, entry.key)
    store.set_alias(CHAMPION, entry.champion)
    store.tag(entry.key, entry.as_done().text())


def _complete(store: Store) -> None:
    """Note of the last move that it is done, if whoever made it died before."""
    number, key = _present(store)
    entry = read(store.tags().get(key, ""))
    if entry and entry.champion == number and not entry.done:
        store.tag(key, entry.as_done().text())


def _present(store: Store) -> tuple[int | None, str]:
    """The champion, and the name of the entry by which it became so."""
    number = store.aliases().get(CHAMPION)
    tags = None if number is None else store.version_tags(number)
    return number, (tags or {}).get(MOVE, "")
