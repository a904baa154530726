"""Files and folders written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fishline.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Columns whose values are no numbers, whatever they look like, in any table that is read here.
TEXT_COLUMNS = tuple(
    "file species original alike sha256 mode part group reason predicted suggested answer "
    "rank".split()
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: on success it is synced and becomes `path`, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(lock: Path, busy: str, seconds: float = 0) -> Iterator[None]:
    """While this lasts, no other process or thread is here by the file `lock`.

    Args:
        seconds: to wait for it.

    Raises:
        UserError: one is, which `busy` says; or the file cannot be written.
    """
    from filelock import FileLock, Timeout

    own = FileLock(lock, timeout=seconds)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        own.acquire()
    except Timeout:
        raise UserError(busy) from None
    except OSError as error:
        raise UserError(f"{lock.parent} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        own.release()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def require(path: Path, stage: str) -> Path:
    """`path`, which `stage` makes.

    Raises:
        UserError: it is not there.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; `dvc repro {stage}` makes it")
    return path


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the file `source`, or a synced copy where there can be none."""
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):  # no links here, or too many of this file
        shutil.copy2(source, target, follow_symlinks=False)
        if not target.is_symlink():
            sync(target)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, written through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_figure(path: Path, figure: Figure, dpi: int) -> None:
    """Write a PNG of Matplotlib; the same figure gives the same bytes."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


def write_csv(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_csv(path: Path, all_text: bool = False) -> pd.DataFrame:
    """A table that `write_csv` wrote; names stay as they are: a species may be called 001 or NA.

    Args:
        all_text: whether that holds for every column: a trip may be called 001, too.
    """
    import pandas as pd

    kinds = str if all_text else dict.fromkeys(TEXT_COLUMNS, str)
    return pd.read_csv(path, dtype=kinds, keep_default_na=False)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


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
