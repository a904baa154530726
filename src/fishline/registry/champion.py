"""Moving the alias `champion` so that nobody ever sees half a move.

A store has no lock that all its users share, and any of them may die between two writes. So:

1. An entry of the history is written: a tag of the registered model under a name of its own.
2. The version that becomes champion is tagged with the name of that entry.
3. The alias `champion` is set: the move, in one write. Of two at once the last one stands, whole.
4. `previous` is derived: it is what the present champion's entry says it replaced. It is written
   and derived again until the champion has not changed meanwhile, so it belongs to the last
   champion whoever wrote last; if its writer died, the next move does it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from fishline.tracking.versions import CHAMPION

PREVIOUS = "previous"
PREFIX = "history."
MOVE = "champion.move"  # tag of a version: the entry by which it became champion


class Store(Protocol):
    """A registered model, see aliases.RegisteredModel."""

    def aliases(self) -> dict[str, int]: ...
    def set_alias(self, alias: str, number: int) -> None: ...
    def drop_alias(self, alias: str) -> None: ...
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
    time:     UTC, ISO 8601
    """

    action: str
    replaced: int | None
    champion: int
    who: str
    reason: str = ""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    done: bool = False
    time: str = field(default_factory=_now)
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.time}-{self.id}"

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
    """All moves, the oldest first."""
    last = _present(store)
    found = [read(text) for key, text in store.tags().items() if key.startswith(PREFIX)]
    entries = sorted((entry for entry in found if entry), key=lambda entry: entry.key)
    # One that broke off right after the champion was moved does not say so yet.
    return [replace(e, done=e.done or (e.champion, e.key) == last) for e in entries]


def move(store: Store, entry: HistoryEntry) -> None:
    """Make `entry.champion` the champion."""
    settle(store)
    store.tag(entry.key, entry.text())
    store.tag_version(entry.champion, MOVE, entry.key)
    store.set_alias(CHAMPION, entry.champion)
    store.tag(entry.key, replace(entry, done=True).text())
    settle(store)


def settle(store: Store) -> None:
    """Complete the last move: `previous`, and that its entry is done.

    A champion that was set by hand has no entry, and `previous` then stays where it is.
    """
    seen = None
    while (present := _present(store)) != seen:
        seen = present
        number, key = present
        entry = read(store.tags().get(key, ""))
        if entry is None or entry.champion != number:
            continue
        if entry.replaced is not None and store.version_tags(entry.replaced) is not None:
            store.set_alias(PREVIOUS, entry.replaced)
        elif PREVIOUS in store.aliases():
            store.drop_alias(PREVIOUS)
        if not entry.done:
            store.tag(key, replace(entry, done=True).text())


def _present(store: Store) -> tuple[int | None, str]:
    """The champion, and the name of the entry by which it became so."""
    number = store.aliases().get(CHAMPION)
    tags = None if number is None else store.version_tags(number)
    return number, (tags or {}).get(MOVE, "")
