"""How the search for copies grows with the number of files, and whether it misses any.

    python benchmarks/copies.py THUMBNAILS.npy FOLDER … [--files 100000] [--check 50]

Files are made from the photographs below each FOLDER: squares cut out at random, each turned and
mirrored four times. Their thumbnails are written to THUMBNAILS.npy, or read if it is there.
`find_links` looks for pairs that look alike, on the engine that FISHLINE_ENGINE names. Printed:
seconds and peak memory (of this process and, with Ray, of its largest worker; not what processes
share), and for some files, drawn by lot, how many of their pairs a comparison with every file finds
that the search has not, and the other way round.
"""

import argparse
import threading
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from PIL import Image, ImageOps

from fishline.core.engine import engine_name
from fishline.core.parallel import in_threads
from fishline.data.decode import THUMBNAIL
from fishline.data.photo_files import find_images
from fishline.data.prepare.links import BLOCK, Links, Numbers, find_links
from fishline.data.prepare.rings import ALIKE, Thumbnails, compare, describe

COPIES = 4
WIDTH = 96  # pixels: of a square before it is turned


def make(photographs: list[Image.Image], number: int) -> Thumbnails:
    """The thumbnail of a file; `COPIES` in a row show the same."""
    shown, change = np.random.default_rng((0, number // COPIES)), np.random.default_rng((1, number))
    photograph = photographs[shown.integers(len(photographs))]
    side = shown.uniform(0.4, 1) * min(photograph.size)
    left, top = (shown.uniform(0, length - side) for length in photograph.size)
    box = (left, top, left + side, top + side)
    square = photograph.resize((WIDTH, WIDTH), Image.Resampling.BILINEAR, box)
    if change.integers(2):
        square = ImageOps.mirror(square)
    turned = square.rotate(change.uniform(0, 360), Image.Resampling.BILINEAR)
    return np.asarray(turned.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


def make_all(folders: list[Path], count: int, path: Path) -> None:
    files = [file for folder in folders for file in sorted(find_images(folder))]
    photographs = [Image.open(file).convert("L") for file in files]
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (count, THUMBNAIL, THUMBNAIL))
    for number, thumbnail in enumerate(in_threads(partial(make, photographs), range(count))):
        out[number] = thumbnail


def take(path: Path, rows: Numbers) -> Thumbnails:
    return np.array(np.load(path, mmap_mode="r")[rows])


class Peak(threading.Thread):
    """The most memory, in MB, that this process and the largest of its children had."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.child = 0.0
        self.done = threading.Event()

    def run(self) -> None:
        this = psutil.Process()
        while not self.done.wait(0.5):
            workers = [p for p in this.children(recursive=True) if p.name().startswith("ray::")]
            self.own = max(self.own, private(this))
            self.child = max(self.child, *map(private, workers), 0.0)


def private(process: psutil.Process) -> float:
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(memory.rss - memory.shared) / 1e6


def check(path: Path, count: int, links: Links, sample: int) -> tuple[int, int, int]:
    """Of pairs of some files: how many there are, how many the search lacks and has too many."""
    one, other, _ = links
    chosen = np.random.default_rng(2).choice(count, sample, replace=False)
    rings = describe(take(path, chosen), np.ones(sample))
    there: set[tuple[int, int]] = set()
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        block = describe(take(path, rows), np.ones(len(rows)))
        for number, ring in zip(chosen.tolist(), rings, strict=True):
            alike = rows[compare(np.broadcast_to(ring, block.shape), block)[0] >= ALIKE]
            there |= {(min(number, row), max(number, row)) for row in alike.tolist()}
    there -= {(number, number) for number in chosen.tolist()}
    touched = np.isin(one, chosen) | np.isin(other, chosen)
    listed = set(zip(one[touched].tolist(), other[touched].tolist(), strict=True))
    return len(there), len(there - listed), len(listed - there)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("thumbnails", type=Path)
    options.add_argument("folders", type=Path, nargs="+")
    options.add_argument("--files", type=int, default=100_000)
    options.add_argument("--check", type=int, default=50)
    chosen = options.parse_args()
    count, path = chosen.files, chosen.thumbnails.resolve()
    if not path.exists():
        make_all(chosen.folders, count, path)
    peak = Peak()
    peak.start()
    start = time.perf_counter()
    with TemporaryDirectory(dir=path.parent) as folder:
        ones = np.ones(count)
        links = find_links(partial(take, path), ones, ones, np.arange(count), Path(folder))
    seconds = time.perf_counter() - start
    peak.done.set()
    copies = int((links[0] // COPIES == links[1] // COPIES).sum())
    print(
        f"{count} files, {engine_name()}: {seconds:.1f} s, {2e9 * seconds / count**2:.2f} ns a pair"
    )
    print(f"  memory: {peak.own:.0f} MB, the largest worker {peak.child:.0f} MB")
    print(f"  pairs: {len(links[0])}, copies among them: {copies}", flush=True)
    there, missed, surplus = check(path, count, links, chosen.check)
    print(f"  {chosen.check} files with all: {there} pairs, missed {missed}, too many {surplus}")


if __name__ == "__main__":
    main()
