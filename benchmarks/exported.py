"""What an exported model saves: torch, ONNX in float32 and in int8, on one core and on two.

    python benchmarks/exported.py [--model fish-finetuned@champion] [--photographs data/sample]
                                  [--count 1000] [--rounds 3] [--cores 1 2] [--json PATH]

Photographs/s from file to answer, in turn in every round; each measurement is a process of its
own that may use so many cores and no others (Linux). `--model` is what `fishline export` takes; a
project that has no photographs of it leaves int8 out.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from report import print_table, short, summaries, write

from fishline.core.errors import UserError
from fishline.data.photo_files import find_images

WARM = 32  # photographs: what is slow the first time is not what is asked
TORCH = "torch"


def measure(model: str, photographs: Path, count: int) -> float:
    """Photographs/s in this process."""
    from fishline.serving.predictor import Predictor

    predictor = Predictor(Path(model))
    paths = list(islice(cycle(find_images(photographs)), count))
    for _ in predictor.predict(paths[:WARM]):
        pass
    started = time.perf_counter()
    for _ in predictor.predict(paths):
        pass
    return count / (time.perf_counter() - started)


def elsewhere(model: Path, photographs: Path, count: int, cores: int) -> float:
    """The same in a process that has so many cores."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    if len(chosen) < cores:
        sys.exit(f"--cores {cores}: this process may use {len(chosen)}")
    command = [sys.executable, __file__, "--photographs", str(photographs), "--count", str(count)]
    asked = subprocess.run(
        [*command, "--measure", str(model)],
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": str(cores)},
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
    )
    return float(asked.stdout)


def make_files(reference: str, folder: Path) -> dict[str, Path]:
    """The model in each form."""
    from fishline.edge.export import main as export
    from fishline.tracking import versions

    files = {"float32": folder / "float32.onnx", "int8": folder / "int8.onnx"}
    export(reference, files["float32"], False)
    try:
        export(reference, files["int8"], True)
    except UserError as error:
        print(f"without int8: {error.message}")
        del files["int8"]
    is_folder = Path(reference, "model.json").is_file()
    whole = Path(reference) if is_folder else versions.fetch(versions.find(reference), folder)
    return {TORCH: whole, **files}


def show(found: dict[str, list[float]], ratios: dict[str, list[float]]) -> None:
    rows = [["", "photographs/s, median (lowest–highest)"]]
    print_table(rows + [[name, short(values)] for name, values in found.items()])
    print()
    print_table([["", "ratio"], *([name, short(values)] for name, values in ratios.items())])


def compare(files: dict[str, Path], asked: argparse.Namespace) -> None:
    found: dict[str, list[float]] = {
        f"{form}, {cores} cores": [] for cores in asked.cores for form in files
    }
    for _ in range(asked.rounds):
        for cores in asked.cores:
            for form, file in files.items():
                rate = elsewhere(file, asked.photographs, asked.count, cores)
                found[f"{form}, {cores} cores"].append(rate)
    ratios = {
        f"{form} / {TORCH}, {cores} cores": [
            ours / theirs
            for ours, theirs in zip(
                found[f"{form}, {cores} cores"], found[f"{TORCH}, {cores} cores"], strict=True
            )
        ]
        for cores in asked.cores
        for form in files
        if form != TORCH
    }
    show(found, ratios)
    write(asked.json, {"photographs_per_second": summaries(found | ratios)})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="fish-finetuned@champion")
    parser.add_argument("--photographs", type=Path, default=Path("data/sample"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.measure:
        return print(measure(asked.measure, asked.photographs, asked.count))
    with tempfile.TemporaryDirectory() as folder:
        compare(make_files(asked.model, Path(folder)), asked)


if __name__ == "__main__":
    main()
