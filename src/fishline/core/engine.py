"""Where independent work runs: in this process's threads or, by Ray, on many machines.

`FISHLINE_ENGINE` says which: `local`, the default, or `ray`, on the cluster that `RAY_ADDRESS`
names or, without one, on this machine's processors. It is no parameter of an experiment, as the
results are the same bytes: a job is handed over with all that decides its result, and results come
back in the order of the jobs. Ray runs a task again whose worker died
(https://docs.ray.io/en/latest/ray-core/fault-tolerance.html).
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from fishline.core.errors import UserError
from fishline.core.parallel import in_threads

In = TypeVar("In")
Out = TypeVar("Out")

ENGINE = "FISHLINE_ENGINE"
ADDRESS = "RAY_ADDRESS"
BATCH = 64  # short jobs in a task, which costs Ray a millisecond
RETRIES = 3  # of a task whose worker died
AHEAD = 4  # tasks for each processor that run, wait, or are done and not yet asked for
# How variables begin that workers need, too.
PASSED_ON = ("DVC_", "MLFLOW_", "FISHLINE_", "AWS_", "FSSPEC_")


def engine_name() -> Literal["local", "ray"]:
    """Which engine `FISHLINE_ENGINE` asks for.

    Raises:
        UserError: it names none.
    """
    name = os.environ.get(ENGINE) or "local"
    if name not in ("local", "ray"):
        raise UserError(f"{ENGINE} is {name!r}; it must be local or ray")
    return "ray" if name == "ray" else "local"


def map_on_engine(
    work: Callable[[In], Out], jobs: Iterable[In], batch: int = BATCH, gpus: int = 0
) -> Iterator[Out]:
    """`work` of each of `jobs`, in their order; jobs are taken as results are.

    Args:
        work: on Ray it is pickled, with what it closes over, and so are jobs and results.
        batch: jobs in a task of Ray's.
        gpus: that `work` uses: this machine's is one, and jobs take turns on it.

    Raises:
        UserError: Ray is asked for and not installed, or no cluster answers.
    """
    if engine_name() == "ray":
        return _on_ray(work, jobs, batch, gpus)
    return map(work, jobs) if gpus else in_threads(work, jobs)


def connect_to_ray(shared: bool = True) -> Any:
    """The module `ray`, connected.

    Args:
        shared: whether the machines share this project's folder; if not, they are sent the package.

    Raises:
        UserError: it is not installed, no cluster answers, or one of its machines does not see
            this project's folder, though it is to be shared.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed: pip install 'fishline[ray]'") from None
    if ray.is_initialized():
        return ray
    address = os.environ.get(ADDRESS)
    _require_answer(address)
    here: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(
            address=address or "local",
            runtime_env=_environment(shared),
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else here),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        if not address:
            raise UserError(f"Ray does not start: {reason}") from None
        raise UserError(
            f"{ADDRESS}={address}: the cluster does not let this process in: {reason}. Where `ray "
            "start` spoke of a token, set RAY_AUTH_MODE=token; the token lies in ~/.ray/auth_token"
        ) from None
    if shared:
        _require_shared_folder(ray)
    return ray


def _require_answer(address: str | None) -> None:
    """Ray itself would look for some minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return  # none, or `auto`
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(f"{ADDRESS}={address}: no Ray cluster answers ({error})") from None


def _environment(shared: bool) -> dict[str, Any]:
    variables = worker_variables()
    if shared:
        return {"env_vars": variables}
    del variables["PYTHONPATH"]
    return {"env_vars": variables, "py_modules": [str(Path(__file__).parents[1])]}


def worker_variables() -> dict[str, str]:
    """What a worker needs of this process's environment: this very code, and the stores."""
    passed = {key: text for key, text in os.environ.items() if key.startswith(PASSED_ON)}
    passed.pop(ENGINE, None)  # what a task starts runs within it
    code = str(Path(__file__).parents[2])
    return {**passed, "PYTHONPATH": os.pathsep.join([code, os.environ.get("PYTHONPATH", "")])}


def _require_shared_folder(ray: Any) -> None:
    """Every machine of the cluster must see this project where it lies here."""
    folder = str(Path.cwd())
    look = ray.remote(num_cpus=0)(os.path.isdir)
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    nodes = [node for node in ray.nodes() if node["Alive"]]
    seen = ray.get(
        [
            look.options(scheduling_strategy=affinity(node["NodeID"], soft=True)).remote(folder)
            for node in nodes
        ]
    )
    blind = [
        node["NodeManagerHostname"] for node, sees in zip(nodes, seen, strict=True) if not sees
    ]
    if blind:
        raise UserError(
            f"{', '.join(sorted(blind))}: no folder {folder} there; a Ray cluster's machines must "
            "share the file system that the project is on"
        )


def _on_ray(work: Callable[[In], Out], jobs: Iterable[In], batch: int, gpus: int) -> Iterator[Out]:
    """Tasks of one processor and one thread each, and never many results at once."""
    ray = connect_to_ray()
    shared = ray.put(work)  # sent to each machine once
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_work_through)
    waiting: deque[Any] = deque()
    remaining = iter(jobs)
    # Who stops early leaves tasks to end with this process: `ray.cancel` of one that ends at that
    # moment ends this process instead (https://github.com/ray-project/ray/pull/54798 and others).
    while some := list(islice(remaining, batch)):
        waiting.append(task.remote(shared, some, Path.cwd()))
        if len(waiting) >= AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1):
            yield from _results(ray, waiting)
    while waiting:
        yield from _results(ray, waiting)


def _results(ray: Any, waiting: deque[Any]) -> Any:
    """Those of the task that began first."""
    reference = waiting.popleft()
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error  # what `work` raised, or Ray itself
        if not isinstance(cause, ray.exceptions.RayError):
            raise cause from None
        what = f"{type(cause).__name__}: {str(cause).strip().splitlines()[0]}"
        raise UserError(f"Ray gave up on a task, tried {RETRIES + 1} times ({what})") from None


def _work_through(work: Callable[[In], Out], jobs: list[In], folder: Path) -> list[Out]:
    os.chdir(folder)  # paths are relative to the project
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return [work(job) for job in jobs]
