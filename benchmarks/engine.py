"""preprocess and embed in this process's threads and on Ray clusters: time, and equal bytes.

    python benchmarks/engine.py FOLDER [--workers 1 2 4] [--kill 5] [--image-size 224]

FOLDER has a folder of photographs for each species. Ray's clusters are two machines on loopback
(`ray.cluster_utils`), with 1, 2 and 4 workers of a processor each between them. All write into a
temporary folder. Each line: seconds of each stage, images/s of both, the most memory of the driver
and of one worker (MiB, their own pages), the time as a ratio to that of threads, and whether every
byte is that of threads. With `--kill` a worker is killed in each stage, after so many seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fishline.core.engine import ADDRESS, ENGINE, connect_to_ray
from fishline.core.files import remaking
from fishline.core.params import Data, Params, load_params
from fishline.data.cache import Cache
from fishline.models.feature_packing import make_features
from fishline.stages.preprocess import preprocess


class Memory(threading.Thread):
    """Watches this process and Ray's workers; kills one of these once, if asked to."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver = self.worker = 0.0  # MiB
        self.killed = 0
        self._kill_at: float | None = None
        self._done = threading.Event()

    def run(self) -> None:
        own = psutil.Process()
        while not self._done.wait(0.1):
            self.driver = max(self.driver, own.memory_full_info().uss / 2**20)
            for process in own.children(recursive=True):
                with suppress(psutil.Error):
                    self._look_at(process, " ".join(process.cmdline()))

    def kill_after(self, seconds: float | None) -> None:
        self._kill_at = None if seconds is None else time.monotonic() + seconds

    def _look_at(self, process: psutil.Process, command: str) -> None:
        if not command.startswith("ray::"):
            return
        self.worker = max(self.worker, process.memory_full_info().uss / 2**20)
        if self._kill_at and time.monotonic() > self._kill_at and "_work_through" in command:
            process.kill()
            self.killed, self._kill_at = self.killed + 1, None

    def stop(self) -> None:
        self._done.set()
        self.join()


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def cluster(workers: int) -> Iterator[None]:
    """Ray on two machines of loopback, `workers` processors between them, by `RAY_ADDRESS`."""
    import ray
    from ray.cluster_utils import Cluster

    first, second = -(-workers // 2), workers // 2
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": first})
    machines.add_node(num_cpus=second)
    os.environ[ADDRESS], os.environ[ENGINE] = machines.address, "ray"
    try:
        yield
    finally:
        os.environ[ENGINE] = "local"
        ray.shutdown()
        machines.shutdown()  # type: ignore[no-untyped-call]


def measure(
    params: Params, photographs: Path, folder: Path, kill: float | None
) -> tuple[float, float, int, Memory]:
    """Seconds of preprocess and of embed, how many photographs, and what was used and killed."""
    folder.mkdir()
    memory = Memory()
    memory.start()
    memory.kill_after(kill)
    start = time.perf_counter()
    data = Data(dir=str(photographs), conflicts="drop", personal="drop")
    preprocess(data, params.species, params.image_size, folder / "cache")
    middle = time.perf_counter()
    memory.kill_after(kill)
    cache = Cache(folder / "cache")
    with remaking(folder / "features") as new:
        make_features(params, cache, folder / "features", new)
    end = time.perf_counter()
    memory.stop()
    return middle - start, end - middle, len(cache), memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--kill", type=float, metavar="SECONDS", help="after so long in a stage")
    chosen = parser.parse_args()
    params = load_params()
    species = sorted(path.name for path in chosen.folder.iterdir() if path.is_dir())
    base = params.base.model_copy(update={"species": species})
    finetune = params.finetune.model_copy(update={"species": []})
    changes = {"base": base, "finetune": finetune, "device": "cpu"}
    params = params.model_copy(update=changes)
    if chosen.image_size:
        params = params.model_copy(update={"image_size": chosen.image_size})
    os.environ[ENGINE] = "local"
    print(
        f"{'engine':>8} {'preprocess':>10} {'embed':>7} {'images/s':>8} {'driver':>7} {'worker':>7}"
        f" {'ratio':>6} bytes"
    )
    with tempfile.TemporaryDirectory(dir=chosen.folder.parent) as temporary:
        root = Path(temporary)
        first = report("threads", *measure(params, chosen.folder, root / "local", None))
        expected = digests(root / "local")
        for workers in chosen.workers:
            with cluster(workers):
                start = time.perf_counter()
                connect_to_ray()
                started = time.perf_counter() - start
                made = root / f"ray-{workers}"
                took = measure(params, chosen.folder, made, chosen.kill)
            same = digests(made) == expected
            remark = f"connected in {started:.1f} s, {took[3].killed} killed"
            report(f"ray {workers}", *took, first, f"{'equal' if same else 'DIFFERENT'}, {remark}")


def report(
    name: str,
    first: float,
    second: float,
    images: int,
    memory: Memory,
    before: float = 0,
    remark: str = "",
) -> float:
    whole = first + second
    print(
        f"{name:>8} {first:>10.1f} {second:>7.1f} {images / whole:>8.1f} {memory.driver:>7.0f} "
        f"{memory.worker:>7.0f} {whole / (before or whole):>6.2f} {remark}",
        flush=True,
    )
    return whole


if __name__ == "__main__":
    main()
