"""Where a training stands, kept so that it can be taken up again after anything.

A checkpoint lies outside DVC's outputs, which are deleted before a stage runs: in
`.fishline/checkpoints` of the main checkout, in a folder named by stage and fingerprint. The
fingerprint is of data, parameters, code and libraries: a training of anything else is not resumed.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from filelock import FileLock, Timeout

from fishline.core.errors import UserError
from fishline.core.files import read_json, replacing, write_json
from fishline.tracking.provenance import project_root

PACKAGE = Path(__file__).parents[1]
SPACING = 10.0  # seconds between checkpoints at the ends of short epochs
KEPT = 30  # days after which the checkpoint of an unfinished training is given up


def fingerprint(facts: Mapping[str, Any], processes: int) -> str:
    """A hash of `facts`, of the package's code and of what else decides the bytes.

    Args:
        processes: how many train together.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    machine = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    digest.update(json.dumps([facts, machine], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


class Checkpoint:
    """The checkpoint of one training.

    Args:
        stage, key: name its folder; the key is a `fingerprint`.
        minutes: how often to save in the middle of an epoch.
    """

    def __init__(self, stage: str, key: str, minutes: float = math.inf) -> None:
        self.folder = checkpoints() / f"{stage}-{key}"
        self._file = self.folder / "training.pt"
        self._finished = self.folder / "finished.json"
        self._minutes = minutes
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What was saved last, with its tensors on the CPU; None if there is nothing to resume."""
        if not self._file.is_file():
            return None
        try:
            saved: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file may raise anything
            click.echo(f"{self._file} is damaged ({error}); training starts anew", err=True)
            return None
        return saved

    def is_due(self, in_epoch: bool) -> bool:
        """Whether it is time to save, in the middle of an epoch or at the end of one."""
        return time.monotonic() - self._last >= (self._minutes * 60 if in_epoch else SPACING)

    def save(self, state: Mapping[str, Any]) -> bool:
        """Write `state` whole or not at all; False if there is no room, and the last one stays."""
        self._last = time.monotonic()
        try:
            with replacing(self._file) as temporary:
                torch.save(dict(state), temporary)
        except (OSError, RuntimeError) as error:  # torch has its own words for a full disk
            click.echo(f"no checkpoint in {self.folder}: {error}", err=True)
            return False
        return True

    def finish(self, record: Path) -> None:
        """Note that all is done but DVC's part, which is to store `record` with the outputs."""
        write_json(self._finished, {"md5": _md5(record)})

    def is_finished(self) -> bool:
        return self._finished.is_file()

    def record(self) -> str:
        """The MD5 of the record that `finish` noted."""
        md5: str = read_json(self._finished)["md5"]
        return md5

    def remove(self) -> None:
        for file in (self._finished, self._file):
            file.unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """False if another process trains the very same at the moment.

        Raises:
            UserError: there is no room for the lock, or no right to write it.
        """
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written: {error}") from None
        try:
            for half_written in self.folder.glob(f".{self._file.name}-*"):  # killed meanwhile
                half_written.unlink()
            yield True
        finally:
            lock.release()


def checkpoints() -> Path:
    return project_root() / ".fishline" / "checkpoints"


def kept() -> list[Checkpoint]:
    """All checkpoints that there are."""
    names = [folder.name.rpartition("-") for folder in sorted(checkpoints().glob("*-*/"))]
    return [Checkpoint(stage, key) for stage, _, key in names]


def prune(stage: str, keep: Checkpoint) -> None:
    """Remove this stage's finished checkpoints, and those that nobody came back to."""
    for folder in checkpoints().glob(f"{stage}-*/"):
        age = time.time() - folder.stat().st_mtime
        if folder != keep.folder and ((folder / "finished.json").is_file() or age > KEPT * 86400):
            shutil.rmtree(folder, ignore_errors=True)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
