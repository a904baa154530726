"""A folder made anew as a whole: whatever stops the process, a next start finds old or new."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def remaking(folder: Path) -> Iterator[Path]:
    """An empty folder that on success takes the place of `folder`, which stays until then.

    Killed between its two renames, a run leaves no `folder`: the next one puts the old one back,
    and clears away what killed runs have left. One run at a time.
    """
    new, old = (folder.with_name(f".{folder.name}-{age}") for age in ("new", "old"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    _settle(folder, new, old)
    new.mkdir()
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        _settle(folder, new, old)


def _settle(folder: Path, new: Path, old: Path) -> None:
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
