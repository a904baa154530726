"""Writing the log of answers, by a thread of its own: no answer waits for it, or fails with it.

Rows wait in memory. Once a second they are added to this process's newest file, until that has
`PART` rows. While the place cannot be written they are kept and tried again; what there is no room
for is dropped and counted.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections import deque
from dataclasses import replace
from types import FrameType

import click

from fishline.data.photo_files import reason
from fishline.serving.answer_log.file import Batch, File

SECONDS = 1.0  # between two writings: what `kill -9` may lose
LONGEST = 60.0  # seconds between two attempts while the place cannot be written
MOST = 8192  # rows that wait
MOST_BYTES = 64 * 2**20  # of photographs that wait
AT_EXIT = 5.0  # seconds that a process waits for what is left to be written


class Writer:
    """Writes to the log at `url` what this process puts there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._file = File(url)  # the thread's alone
        self._changed = threading.Condition()  # guards what follows
        self._waiting = deque[Batch]()
        self._rows = self._bytes = 0  # of what waits
        self._lost = 0  # rows
        self._thread: threading.Thread | None = None
        self._ending = self._tried = False
        self._failures = 0  # one after the other

    def put(self, batch: Batch) -> None:
        """Have these rows written soon; they are dropped if too many wait already."""
        with self._changed:
            if self._rows + batch.size > MOST:
                self._lost += batch.size
                return
            if self._bytes + batch.bytes > MOST_BYTES:
                batch = replace(batch, pictures={}, bytes=0)
            self._waiting.append(batch)
            self._rows += batch.size
            self._bytes += batch.bytes
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="answer log", daemon=True)
                self._thread.start()
            self._changed.notify()

    def flush(self) -> None:
        """Wait until all is written, or `AT_EXIT`."""
        with self._changed:
            thread, self._ending = self._thread, True
            self._changed.notify()
        if thread:
            thread.join(AT_EXIT)
        with self._changed:
            self._ending = self._tried = False

    @property
    def missing(self) -> int:
        """Rows that are not in the log, or not yet."""
        return self._file.unwritten + self._rows + self._lost

    def _run(self) -> None:
        pause = 0.0
        while self._take(pause):
            try:
                self._file.write()
            except Exception as error:  # of whatever library the file system uses
                self._failed(error)
                pause = min(SECONDS * 2**self._failures, LONGEST)
            else:
                if self._failures:
                    _warn(f"the log {self.url} is written again, without {self._lost:,} answers")
                self._failures, pause = 0, 0.0 if self._file.full else SECONDS

    def _take(self, pause: float) -> bool:
        """Wait for rows, and have the file take them; False where this thread ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending, pause)
            self._changed.wait_for(lambda: self._ending or self._waiting or self._file.unwritten)
            while self._waiting and self._file.takes(self._waiting[0]):
                batch = self._waiting.popleft()
                self._rows -= batch.size
                self._bytes -= batch.bytes
            if self._ending and (self._tried or not self._file.unwritten):
                self._thread = None
            return self._thread is not None

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._tried = self._ending  # once more at the end
        if self._failures == 1:
            _warn(
                f"the log {self.url} cannot be written ({reason(error)}). Answers go on, and up to "
                f"{MOST:,} of them wait until it can"
            )


_WRITERS: dict[tuple[int, str], Writer] = {}


def writer(url: str) -> Writer:
    """This process's writer for the log at `url`; a process that was forked has one of its own."""
    own = os.getpid(), url
    return _WRITERS.get(own) or _WRITERS.setdefault(own, Writer(url))


def _own() -> list[Writer]:
    return [each for (process, _), each in _WRITERS.items() if process == os.getpid()]


@atexit.register
def _at_exit() -> None:
    for each in _own():
        each.flush()
        if each.missing:
            _warn(f"{each.missing:,} answers are not in the log {each.url}")


def flush_on_sigterm() -> None:
    """Have SIGTERM flush, too, before it does what it did so far.

    uvicorn, which serves models for MLflow, ends in order and then by that signal, as whoever
    started it expects: `atexit` is not asked then.
    """
    before = signal.getsignal(signal.SIGTERM)
    if (
        before in (None, signal.SIG_IGN)
        or threading.current_thread() is not threading.main_thread()
    ):
        return

    def flush_and_go_on(number: int, frame: FrameType | None) -> None:
        _at_exit()
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, flush_and_go_on)


def _warn(what: str) -> None:
    click.echo(f"Warning: {what}", err=True)
