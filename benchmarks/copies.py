"""How the search for copies grows with the number of files, and whether it misses any.

    python benchmarks/copies.py THUMBNAILS.npy FOLDER … [--files 100000] [--workers 1 2]

Files are made from the photographs below each FOLDER: squares cut out at random, each turned and
mirrored four times. Their thumbnails are written to THUMBNAILS.npy, or read if it is there.
`find_links` compares all with all, once (`preprocess` does so for each of some proportions), in
this process's threads and on Ray clusters of so many workers. Each line: seconds, seconds of
processors (threads alone), the most memory of the driver and of one worker (MiB, their own pages),
pairs, those of them that are copies, and whether every byte is that of threads. Last, for some
files drawn by lot: how many of the pairs that a comparison of these with every file gives are not
among those, and the other way round.
"""

import argparse
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from engine import Memory, cluster
from PIL import Image, ImageOps

from fishline.core.parallel import in_threads
from fishline.data.decode import THUMBNAIL
from fishline.data.photo_files import find_images
from fishline.data.prepare.copies.links import Links, Numbers, concatenate, divide, find_links
from fishline.data.prepare.copies.rings import ALIKE, Thumbnails, compare, describe

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


def measure(path: Path, count: int, workers: int) -> tuple[Links, str]:
    """The pairs, and what it took to find them."""
    memory = Memory()
    with (
        TemporaryDirectory(dir=path.parent) as folder,
        cluster(workers) if workers else nullcontext(),
    ):
        memory.start()
        start, busy = time.perf_counter(), time.process_time()
        ones = np.ones(count)
        some = find_links(partial(take, path), ones, ones, np.arange(count), Path(folder))
        links = concatenate(some)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        memory.stop()
    copies = int((links[0] // COPIES == links[1] // COPIES).sum())
    own = "" if workers else f"{busy:.1f}"
    used = f"{memory.driver:>7.0f} {memory.worker:>7.0f}"
    return links, f"{seconds:>8.1f} {own:>8} {used} {len(links[0]):>9} {copies:>9}"


def content(links: Links) -> bytes:
    one, other, correlation = links
    return one.tobytes() + other.tobytes() + correlation.tobytes()


def check(path: Path, count: int, links: Links, sample: int) -> str:
    """Some files compared with all."""
    one, other, _ = links
    drawn = np.sort(np.random.default_rng(2).choice(count, min(sample, count), replace=False))
    rings = describe(take(path, drawn), np.ones(len(drawn)))
    there: set[tuple[int, int]] = set()
    for rows in map(np.array, divide(count)):
        block = describe(take(path, rows), np.ones(len(rows)))
        for number, ring in zip(drawn.tolist(), rings, strict=True):
            alike = rows[compare(np.broadcast_to(ring, block.shape), block)[0] >= ALIKE]
            there |= {(min(number, row), max(number, row)) for row in alike.tolist()}
    there -= {(number, number) for number in drawn.tolist()}
    touched = np.isin(one, drawn) | np.isin(other, drawn)
    listed = set(zip(one[touched].tolist(), other[touched].tolist(), strict=True))
    missed, surplus = len(there - listed), len(listed - there)
    return f"{len(drawn)} files: {len(there)} pairs, {missed} missed, {surplus} too many"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("thumbnails", type=Path)
    options.add_argument("folders", type=Path, nargs="+")
    options.add_argument("--files", type=int, default=100_000)
    options.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    options.add_argument("--check", type=int, default=50)
    chosen = options.parse_args()
    path = chosen.thumbnails.resolve()
    if not path.exists():
        make_all(chosen.folders, chosen.files, path)
    print(f"{'engine':>8} {'seconds':>8} {'busy':>8} {'driver':>7} {'worker':>7}", end=" ")
    print(f"{'pairs':>9} {'copies':>9} bytes")
    links, used = measure(path, chosen.files, 0)
    print(f"{'threads':>8} {used}", flush=True)
    for workers in chosen.workers:
        others, used = measure(path, chosen.files, workers)
        same = content(links) == content(others)
        print(f"{f'ray {workers}':>8} {used} {'equal' if same else 'DIFFERENT'}", flush=True)
    print(check(path, chosen.files, links, chosen.check))


if __name__ == "__main__":
    main()
