"""`fishline queue start --ray`, on one machine; test_two_nodes.py has the whole graph on two."""

import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tiny_project import Project

from fishline.cluster.dvc_queue import queued
from fishline.cluster.requirements import origin
from fishline.cluster.start import main
from fishline.core.errors import UserError


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray on this machine, ended afterwards."""
    import ray

    yield
    ray.shutdown()


def names(project: Project) -> list[str]:
    return [experiment.name for experiment in queued(project.folder)]


def test_what_is_missing_is_named_before_anything_starts(project: Project) -> None:
    project.queue("wet-cod", "-S", "lr=2")
    with pytest.raises(UserError) as refused:
        main(None, 1, 0)
    first, *missing = refused.value.message.splitlines()
    assert first == "experiments on a cluster need:"
    begin = ("- a git remote", "- a DVC remote", "- an MLflow server")
    assert [line[: len(words)] for line, words in zip(missing, begin, strict=True)] == [*begin]
    assert names(project) == ["wet-cod"]


def test_remotes_that_do_not_answer_are_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.git("remote", "add", "elsewhere", "../nowhere")
    monkeypatch.setenv("DVC_EXP_GIT_REMOTE", "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(UserError) as refused:
        origin(project.folder)
    assert "elsewhere, ../nowhere, does not" in refused.value.message
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:1 does not" in refused.value.message
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(UserError, match="it is sqlite:///mlflow.db now"):
        origin(project.folder)


def test_an_empty_queue_needs_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(None, 1, 0) == 0
    assert "nothing is queued" in capsys.readouterr().out


def test_files_that_do_not_travel_are_refused(project: Project, server: str) -> None:
    project.add_remotes()
    project.queue("wet-cod", "-S", "lr=2", "--copy-paths", "notes.txt")
    with pytest.raises(UserError, match="--copy-paths: wet-cod"):
        main(None, 1, 0)


def test_experiments_come_back_and_the_failed_one_stays(
    project: Project, server: str, ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.add_remotes()
    project.queue("wet-cod", "-S", "lr=2", "--message", "twice as fast")
    project.queue("no-cod", "-S", "lr=-1")
    revision = queued(project.folder)[0].revision
    assert main(2, 1, 0) == 1
    said = capsys.readouterr()
    assert re.search(r"^wet-cod: done, \d+ s on ", said.out, re.MULTILINE)
    assert re.search(r"^no-cod: failed, \d+ s on ", said.out, re.MULTILINE)
    assert "no training with a rate of -1.0" in said.out
    assert "still in the queue: no-cod" in said.err
    assert names(project) == ["no-cod"]
    head = project.git("rev-parse", "HEAD")
    result = f"refs/exps/{head[:2]}/{head[2:]}/wet-cod"
    assert project.git("log", "-1", "--format=%P %s", result) == f"{head} twice as fast"
    assert project.git("rev-parse", "refs/fishline/runs/wet-cod") == head
    project.dvc("exp", "apply", "--quiet", "wet-cod")
    assert (project.folder / "model.txt").read_text() == f"2.0 FISH 1 {revision}"
    assert not project.git("ls-remote", "origin", "refs/fishline/queue/*")
    assert not [*(tmp_path / "machine/fishline").glob("experiment-*")]


@pytest.mark.slow
def test_an_interruption_loses_nothing_and_leaves_nothing(
    project: Project, server: str, tmp_path: Path
) -> None:
    project.add_remotes()
    running = tmp_path / "running"
    wait = f"import time; open({str(running)!r}, 'w').close(); time.sleep(60)"
    project.queue("wet-cod", "-S", "lr=2")
    (project.folder / "train.py").write_text(wait)
    project.queue("slow-cod", "-S", "lr=3")
    code = "from fishline.cli.main import main; main()"
    command = [sys.executable, "-c", code, "queue", "start", "--ray", "-j", "1"]
    with (tmp_path / "output.txt").open("w") as output:
        driver = psutil.Popen(command, stdout=output, stderr=output)
        try:
            while not running.exists() and driver.is_running():
                time.sleep(0.1)
            (training,) = [
                process
                for process in driver.children(recursive=True)
                if process.cmdline() == ["python", "train.py"]
            ]
            driver.send_signal(signal.SIGINT)
            assert driver.wait(120) == 1
        finally:
            if driver.is_running():
                driver.kill()
    said = (tmp_path / "output.txt").read_text()
    assert "wet-cod: done" in said and "Aborted!" in said and "Traceback" not in said
    assert not training.is_running() or training.status() == psutil.STATUS_ZOMBIE
    assert names(project) == ["slow-cod"]
    assert not project.git("ls-remote", "origin", "refs/fishline/queue/*")
    assert not [*(tmp_path / "machine/fishline").glob("experiment-*")]
