"""A folder replaced as a whole: whatever stops the process, all of it is old or all of it new.

The new tree is made in `<parent>/.<name>-XXXXXXXX/new`, on the folder's own file system. Two
renames exchange it: the folder goes to `.<name>-XXXXXXXX/old`, `new` takes its place. A crash
between them leaves both in there, and no folder: `recover` puts the old one back.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fishline.core.errors import UserError
from fishline.core.files import link_or_copy, sync


@contextmanager
def exchanging(folder: Path) -> Iterator[Path]:
    """A new folder with the files of `folder` in it; on success it takes the place of `folder`.

    The files are hard links where the file system has them: never write into one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (work / "new").mkdir()
        if folder.exists():
            _link_tree(folder, work / "new")
        yield work / "new"
        for top, _, _ in os.walk(work / "new"):
            sync(Path(top))
        _exchange(folder, work)
    finally:
        if not _is_half_done(folder, work):
            shutil.rmtree(work, ignore_errors=True)


def recover(folder: Path) -> bool:
    """Clean up after runs that were killed; true if one had left `folder` to be put back.

    Raises:
        UserError: there is a folder to put back, but a new one in its place.
    """
    half_done = False
    for work in _left_behind(folder):
        if _is_half_done(folder, work):
            (work / "old").rename(folder)
            sync(folder.parent)
            half_done = True
        elif (work / "old").exists() and (work / "new").exists():
            raise UserError(
                f"{work / 'old'} is {folder} as it was when a crash interrupted an ingest, and "
                f"{folder} has been made anew since: keep what you need of it, delete {work} and "
                "try again"
            )
        shutil.rmtree(work, ignore_errors=True)
    return half_done


def needs_recovery(folder: Path) -> bool:
    return any(_is_half_done(folder, work) for work in _left_behind(folder))


def _left_behind(folder: Path) -> list[Path]:
    found = sorted(folder.parent.glob(f".{folder.name}-*"))
    ours = {"new", "old"}
    return [work for work in found if work.is_dir() and {p.name for p in work.iterdir()} <= ours]


def _is_half_done(folder: Path, work: Path) -> bool:
    return (work / "old").exists() and (work / "new").exists() and not folder.exists()


def _link_tree(source: Path, target: Path) -> None:
    for top, folders, files in os.walk(source, onerror=_stop):
        here = target / Path(top).relative_to(source)
        for name in folders:
            if not (Path(top) / name).is_symlink():
                (here / name).mkdir()
            else:
                files.append(name)
        for name in files:
            link_or_copy(Path(top, name), here / name)


def _exchange(folder: Path, work: Path) -> None:
    with _signals_deferred():
        if folder.exists():
            folder.rename(work / "old")
        try:
            (work / "new").rename(folder)
        except OSError:
            if (work / "old").exists():
                (work / "old").rename(folder)
            raise
        sync(folder.parent)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    came: list[int] = []

    def defer(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {s: signal.signal(s, defer) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for deferred, handler in before.items():
            signal.signal(deferred, handler)
        for number in came:
            signal.raise_signal(number)


def _stop(error: OSError) -> None:
    raise error
