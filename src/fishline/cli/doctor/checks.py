"""What `fishline doctor` finds out, and what its checks are made with."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

Result = TypeVar("Result")
State = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    found:  what is there, in words
    advice: what to do; empty if all is well
    """

    state: State
    found: str
    advice: str = ""


def ok(found: str) -> Check:
    return Check("ok", found)


def warning(found: str, advice: str) -> Check:
    return Check("warning", found, advice)


def failure(found: str, advice: str = "") -> Check:
    return Check("failure", found, advice)


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def unwritable(path: Path) -> str:
    """Why nothing can be written into the folder `path`, there or still to be made; "" if it can.

    Makes no folder; a file without a name, which is gone at once, tells.
    """
    place = existing(path)
    if not place.is_dir():
        return f"{place} is a file"
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"?")
    except OSError as error:
        return f"{place}: {error.strerror}"
    return ""


def within(seconds: float, ask: Callable[[], Result]) -> Result:
    """What `ask` returns, or raises.

    Raises:
        TimeoutError: it took too long, and goes on in a thread that ends with the process.
    """
    answers: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return answers[0]
