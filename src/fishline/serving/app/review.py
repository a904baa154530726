"""A photograph that somebody should look at, and a decision on it. Knows nothing of Streamlit."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fishline.core.errors import UserError
from fishline.core.git import GitError, git
from fishline.data.decisions import Decision, now
from fishline.serving.photographs import ending


@dataclass(frozen=True)
class Item:
    """A photograph to be looked at.

    file:    relative to the data folder, or what a new photograph was called
    sha256:  of its content
    species: that it lies under; "" for a new photograph
    choices: all species, the suggested one first, with probabilities where there are any
    why:     it should be looked at, in Markdown
    model:   whose answer this is; "" for none
    read:    gives the content; raises OSError, ValueError, UserError
    """

    file: str
    sha256: str
    species: str
    choices: tuple[tuple[str, float | None], ...]
    why: str
    model: str
    read: Callable[[], bytes]

    def content(self) -> bytes | None:
        """The file's content; None if it is gone, or another one by now."""
        try:
            found = self.read()
        except (OSError, ValueError, UserError):
            return None
        return found if hashlib.sha256(found).hexdigest() == self.sha256 else None


def make_decision(item: Item, content: bytes, species: str, reviewer: str) -> Decision:
    """That `reviewer` says `species` of a photograph with this content, "" for none of them."""
    suggested = item.species or item.choices[0][0]
    kind = "none" if not species else "confirm" if species == suggested else "correct"
    file = item.file if item.species else item.sha256 + ending(item.file, content)
    before = item.species
    return Decision(now(), reviewer, item.model, file, item.sha256, before, kind, species)


def default_reviewer() -> str:
    """Who git says works here, or the name of the log-in; "" where neither is known."""
    with suppress(GitError):
        return git("config", "user.name")
    with suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return ""
