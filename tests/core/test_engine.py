"""Work in threads or on Ray: the same results, in order, whatever dies."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import fishline
from fishline.cli.doctor import machine
from fishline.core import engine
from fishline.core.engine import connect_to_ray, engine_name, map_on_engine
from fishline.core.errors import UserError
from fishline.core.parallel import usable_cores


@pytest.mark.parametrize(("value", "name"), [(None, "local"), ("", "local"), ("ray", "ray")])
def test_the_variable_says_which(
    monkeypatch: pytest.MonkeyPatch, value: str | None, name: str
) -> None:
    monkeypatch.delenv("FISHLINE_ENGINE", raising=False)
    if value is not None:
        monkeypatch.setenv("FISHLINE_ENGINE", value)
    assert engine_name() == name


def test_another_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHLINE_ENGINE", "dask")
    with pytest.raises(UserError, match="FISHLINE_ENGINE is 'dask'; it must be local or ray"):
        map_on_engine(str, [1])


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'fishline\[ray\]'"):
        connect_to_ray()


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("FISHLINE_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(UserError, match=f"RAY_ADDRESS={address}: no Ray cluster answers"):
        list(map_on_engine(str, [1]))


def test_one_gpu_takes_one_job_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FISHLINE_ENGINE", raising=False)
    assert isinstance(map_on_engine(str, [1], gpus=1), map)


# On Ray.


def test_results_come_in_order(on_ray: None) -> None:
    jobs = (np.full(3, number) for number in range(200))
    results = list(map_on_engine(lambda job: job.sum(), jobs, batch=7))
    assert results == [3 * number for number in range(200)]
    assert list(map_on_engine(str, [])) == []


def test_a_task_has_one_thread_and_the_project_s_folder(on_ray: None) -> None:
    def look(_: int) -> tuple[Path, str | None, str | None]:
        import fishline

        return Path.cwd(), os.environ.get("OMP_NUM_THREADS"), fishline.__file__

    assert list(map_on_engine(look, [0])) == [(Path.cwd(), "1", fishline.__file__)]


def test_not_all_results_are_held(on_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "AHEAD", 2)
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        while taken < 1000:
            taken += 1
            yield taken

    results = map_on_engine(str, jobs(), batch=1)
    for count in range(1, 9):
        next(results)
        assert taken <= count + 2 * 2


def test_an_error_reaches_the_caller(on_ray: None) -> None:
    results = map_on_engine(lambda number: 1 // number, [1, 0], batch=1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_task_whose_worker_is_killed_runs_again(on_ray: None, tmp_path: Path) -> None:
    def once_killed(number: int) -> int:
        killed = tmp_path / str(number)
        if number % 5 == 0 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert list(map_on_engine(once_killed, range(12), batch=2)) == [*range(12)]
    assert len([*tmp_path.iterdir()]) == 3


def test_a_task_that_always_dies_is_no_traceback(
    on_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRIES", 1)

    def die(_: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(
        UserError, match=r"Ray gave up on a task, tried 2 times \(WorkerCrashedError"
    ):
        list(map_on_engine(die, [0]))


def test_every_machine_must_see_the_project(
    on_ray: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray

    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    monkeypatch.setattr(Path, "cwd", lambda: folder)
    with pytest.raises(UserError, match=f"no folder {folder} there; .* must share the file system"):
        engine._require_shared_folder(ray)


def test_doctor_says_where_work_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    say: Callable[[], str] = lambda: next(machine.engine()).found  # noqa: E731
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("FISHLINE_ENGINE", "local")
    assert say().startswith(f"local: {usable_cores()} processors here")
    monkeypatch.setenv("FISHLINE_ENGINE", "ray")
    assert say().endswith("on this machine; RAY_ADDRESS names a cluster")
