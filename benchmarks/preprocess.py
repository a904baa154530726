"""What `preprocess` costs, against a plain loop of Pillow in the same run.

    python benchmarks/preprocess.py FOLDER [--rounds 3] [--size 128]

FOLDER has a folder of photographs for each species. In each round, in turn: a loop in one thread
that opens, converts and resizes every photograph (nothing is checked, hashed, compared or stored);
`preprocess` from nothing; `preprocess` after one more photograph. Prints every round and the
medians.
"""

import argparse
import contextlib
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fishline.core.params import Data
from fishline.data.photo_files import find_images
from fishline.stages.preprocess import preprocess


def plain_loop(files: list[Path], size: int) -> None:
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    for row, file in enumerate(files):
        with Image.open(file) as image:
            pixels[row] = np.asarray(
                image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        work()
    return time.perf_counter() - start


def one_round(folder: Path, files: list[Path], size: int) -> tuple[float, float, float]:
    species = sorted(path.name for path in folder.iterdir() if path.is_dir())
    data = Data(dir=str(folder), conflicts="fail", personal="drop")
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary, "cache")
        loop = seconds(lambda: plain_loop(files, size))
        cold = seconds(lambda: preprocess(data, species, size, cache))
        added = folder / species[0] / "added-by-benchmark.png"
        with Image.open(files[0]) as image:
            image.transpose(Image.Transpose.ROTATE_90).save(added)
        try:
            one_more = seconds(lambda: preprocess(data, species, size, cache))
        finally:
            added.unlink()
    return loop, cold, one_more


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--size", type=int, default=128)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:  # FOLDER itself stays as it is
        folder = Path(shutil.copytree(chosen.folder, Path(temporary, "photographs")))
        files = [file for path in sorted(folder.iterdir()) for file in find_images(path)]
        rounds = []
        for number in range(chosen.rounds):
            rounds.append(one_round(folder, files, chosen.size))
            loop, cold, one_more = rounds[-1]
            print(f"round {number + 1}: loop {loop:.2f} s, cold {cold:.2f} s, +1 {one_more:.2f} s")
    loop, cold, one_more = (statistics.median(column) for column in zip(*rounds, strict=True))
    count = len(files)
    print(f"{count} photographs, median of {chosen.rounds}:")
    print(f"  plain loop        {count / loop:8.0f} images/s")
    print(f"  preprocess, cold  {count / cold:8.0f} images/s   {loop / cold:.2f} × the loop")
    print(f"  one photograph more {one_more:6.2f} s          {one_more / cold:.2f} of cold")


if __name__ == "__main__":
    main()
