"""A command run to its end, or ended with all that it started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil

PATIENCE = 10.0  # seconds to end in order


def run_to_end(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    stdout: IO[Any] | None = None,
    stderr: IO[Any] | None = None,
) -> int:
    """The exit code of `command`.

    Whatever interrupts this ends the command and its children, too: SIGTERM, and SIGKILL for those
    that are still there after some seconds.
    """
    process = psutil.Popen(command, cwd=cwd, env=dict(env), stdout=stdout, stderr=stderr)
    try:
        while True:
            with suppress(psutil.TimeoutExpired):
                return int(process.wait(timeout=1))  # Ray's interrupt comes between two of these
    except BaseException:
        _end([process, *process.children(recursive=True)])
        raise


def _end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=PATIENCE)
