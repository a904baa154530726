"""Work in threads, its results in order and never many of them at once."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

AHEAD = 64  # jobs for each core that are under way or done and not yet asked for: bounds memory


def usable_cores() -> int:
    """Those that this process may run on: a batch system or a container may give it a few."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # of systems without


def in_threads(
    work: Callable[[In], Out], jobs: Iterable[In], threads: int | None = None
) -> Iterator[Out]:
    """Results in the order of `jobs`, from all cores; jobs are taken as results are.

    Args:
        threads: one for each core if None; more where work waits, as for a network.

    Pillow releases the GIL while it decodes and resizes, so threads use all cores; measured on two
    cores they are as quick as processes and need no pickling.
    """
    # Pillow's remarks on odd but readable files. Filters are the whole process's: this one stays,
    # as to lift it between two results would be to change those of whoever asks for them.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    cores = usable_cores()
    waiting = deque[Future[Out]]()
    pool = ThreadPoolExecutor(threads or cores)
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) >= AHEAD * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # those under way end first: what they write stays whole
