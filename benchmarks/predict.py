"""What answers cost: many photographs at once against one by one, and over HTTP.

    python benchmarks/predict.py [--model fish-finetuned@champion] [--photographs data/sample]
                                 [--count 1000] [--rounds 3] [--seconds 10] [--json PATH]

Photographs, in turn in every round, of one registered model, in images/s:
    one by one   a loop over the files, each one call of the loaded model's `predict`
    together     the same files through what `fishline predict` calls
    decoding     the same files decoded on all cores, and nothing else

Requests with one photograph each, in base64, to `mlflow models serve`, by 1 and by 8 clients that
ask again as soon as they are answered: requests/s, the median and the 99th percentile in ms.
"""

import argparse
import base64
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from report import print_table, short, summaries, write

from fishline.core.parallel import in_threads
from fishline.data.decode import decode
from fishline.data.photo_files import find_images, read
from fishline.models.onnx_model import FILE
from fishline.serving.predictor import Predictor
from fishline.tracking import versions

CLIENTS = (1, 8)


def rate(work: Callable[[Sequence[Path]], None], paths: Sequence[Path]) -> float:
    started = time.perf_counter()
    work(paths)
    return len(paths) / (time.perf_counter() - started)


def measure_batches(files: Path, paths: Sequence[Path], rounds: int) -> dict[str, list[float]]:
    loaded = mlflow.pyfunc.load_model(str(files.parents[1]))
    predictor = Predictor(files.with_name(FILE))

    def one_by_one(some: Sequence[Path]) -> None:
        for path in some:
            loaded.predict(pd.DataFrame({"photograph": [str(path)]}))

    def together(some: Sequence[Path]) -> None:
        for _ in predictor.predict(some):
            pass

    def decoding(some: Sequence[Path]) -> None:
        for _ in in_threads(lambda path: decode(read(path), size), some):
            pass

    size = predictor.model.config.image_size
    ways = {"one by one": one_by_one, "together": together, "decoding": decoding}
    for work in ways.values():
        work(paths[:32])  # what is slow the first time is not what is asked
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            found[name].append(rate(work, paths))
    return found


@contextmanager
def served(model: Path) -> Iterator[int]:
    """`mlflow models serve` on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "--model-uri", str(model), "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [*command, "--env-manager", "local"], stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not answers(port):
                assert server.poll() is None, "the server ended"
                time.sleep(0.2)
            yield port
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def measure_requests(port: int, bodies: Sequence[str], clients: int, seconds: float) -> list[float]:
    """Seconds of each request, of all clients."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for body in islice(cycle(bodies), first, None):
            started = time.perf_counter()
            if started > end:
                break
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = json.load(connection.getresponse())
            assert answer["predictions"][0]["error"] is None
            took.append(time.perf_counter() - started)
        connection.close()

    threads = [threading.Thread(target=ask, args=(7 * number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def is_whole(path: Path) -> bool:
    try:
        decode(read(path), 48)
    except Exception:  # a decoder may raise anything on a broken file
        return False
    return True


def requests_table(port: int, paths: Sequence[Path], seconds: float) -> dict[str, dict[str, Any]]:
    bodies = [
        json.dumps({"inputs": [base64.b64encode(path.read_bytes()).decode()]}) for path in paths
    ]
    measure_requests(port, bodies, 1, 1)
    found = {}
    for clients in CLIENTS:
        took = measure_requests(port, bodies, clients, seconds)
        cuts = statistics.quantiles(took, n=100)
        found[f"{clients} clients"] = {
            "n": len(took),
            "per_second": len(took) / seconds,
            "p50_ms": 1000 * cuts[49],
            "p99_ms": 1000 * cuts[98],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="fish-finetuned@champion")
    parser.add_argument("--photographs", type=Path, default=Path("data/sample"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    whole = [path for path in find_images(asked.photographs) if is_whole(path)]
    paths = list(islice(cycle(whole), asked.count))
    if not paths:
        sys.exit(f"no photographs in {asked.photographs}")
    with tempfile.TemporaryDirectory() as folder:
        files = versions.fetch(versions.find(asked.model), Path(folder))
        batches = measure_batches(files, paths, asked.rounds)
        with served(files.parents[1]) as port:
            requests = requests_table(port, paths[:100], asked.seconds)
    ratios = {
        f"together / {other}": [
            ours / theirs for ours, theirs in zip(batches["together"], batches[other], strict=True)
        ]
        for other in ("one by one", "decoding")
    }
    rows = [["photographs", "images/s, median (lowest–highest)"]]
    print_table(rows + [[name, short(values)] for name, values in (batches | ratios).items()])
    print()
    head = ["over HTTP", "requests", "requests/s", "p50, ms", "p99, ms"]
    print_table(
        [head]
        + [[name, *(f"{value:.4g}" for value in row.values())] for name, row in requests.items()]
    )
    write(asked.json, {"batches": summaries(batches | ratios), "requests": requests})


if __name__ == "__main__":
    main()
