"""A command ends with whoever waits for it, and so does what it started."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from fishline.core.processes import run_to_end


def test_the_exit_code_is_the_commands(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w") as output:
        code = run_to_end(["sh", "-c", "echo $WORD; exit 3"], tmp_path, {"WORD": "cod"}, output)
    assert (code, (tmp_path / "said").read_text()) == (3, "cod\n")


def test_an_interruption_ends_it_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of which does not listen to SIGTERM."""
    monkeypatch.setattr("fishline.core.processes.PATIENCE", 0.5)
    deaf = "signal.signal(15, signal.SIG_IGN); open('deaf', 'w'); time.sleep(60)"
    code = f"import signal, time; {deaf}"
    pids: list[psutil.Process] = []
    others = set(psutil.Process().children(recursive=True))

    def interrupt(*_: object) -> None:
        if (tmp_path / "deaf").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            pids.extend({*psutil.Process().children(recursive=True)} - others)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_to_end(["sh", "-c", f'{sys.executable} -c "{code}"; true'], tmp_path, os.environ)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(pids) == 2
    assert {process.status() for process in pids if process.is_running()} <= {psutil.STATUS_ZOMBIE}
