"""How preprocess and embed grow with the number of photographs.

    python benchmarks/growth.py [--counts 3000 30000] [--engine ray]

Photographs of 48 pixels, all different, are drawn into a temporary folder beside the working one.
Each line: photographs, seconds of each stage, images/s of both, the most memory of the driver and
of one worker (MiB, their own pages), KB on the disk for each photograph, and the exponent by which
the time of preprocess grew.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from engine import measure
from PIL import Image

from fishline.core.engine import ENGINE
from fishline.core.params import load_params

SIZE, SPECIES = 48, ("one", "two", "three")


def draw(folder: Path, count: int) -> None:
    """`count` pictures of smooth noise, dealt to the species."""
    rng = np.random.default_rng(0)
    for name in SPECIES:
        (folder / name).mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        path = folder / SPECIES[number % len(SPECIES)] / f"{number:07d}.jpg"
        picture.save(path, quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="*", default=[3_000, 30_000])
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    chosen = parser.parse_args()
    os.environ[ENGINE] = chosen.engine
    params = load_params()
    base = params.base.model_copy(update={"species": list(SPECIES)})
    finetune = params.finetune.model_copy(update={"species": []})
    changes = {"base": base, "finetune": finetune, "device": "cpu", "image_size": SIZE}
    params = params.model_copy(update=changes)
    print(f"{'images':>8} preprocess   embed images/s  driver  worker KB/image exponent")
    before: tuple[int, float] | None = None
    for count in chosen.counts:
        with tempfile.TemporaryDirectory(dir=Path.cwd().parent) as temporary:
            root = Path(temporary)
            draw(root / "raw", count)
            first, second, images, memory = measure(params, root / "raw", root / "made", None)
            size = sum(file.stat().st_size for file in (root / "made").rglob("*.npy"))
            grew = math.log(first / before[1]) / math.log(count / before[0]) if before else math.nan
            print(
                f"{images:>8} {first:>10.1f} {second:>7.1f} {images / (first + second):>8.1f} "
                f"{memory.driver:>7.0f} {memory.worker:>7.0f} {size / images / 1024:>8.1f} "
                f"{grew:>8.2f}",
                flush=True,
            )
            shutil.rmtree(root / "raw")
        before = count, first


if __name__ == "__main__":
    main()
