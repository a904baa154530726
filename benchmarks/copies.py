"""How the search for copies grows with the number of files.

    python benchmarks/copies.py [--most 100000] [--threads 1]

Synthetic descriptors: photographs drawn at random, each in twenty copies whose descriptors differ
as much as those of real copies do (a distance of about 0.08; different photographs are 0.5 and more
apart). For each number of files: seconds for `near_pairs` and, in the same process, for comparing
all with all (Faiss, IndexFlatL2) where that takes less than minutes; the share of pairs of copies
that was found; and the exponent by which the time grew from the line before.
"""

import argparse
import math
import time

import faiss
import numpy as np

from fishline.data.prepare.copies import ALIKE
from fishline.data.prepare.neighbours import near_pairs

COPIES, WIDTH, NOISE = 20, 192, 0.08
RADIUS = (2 - 2 * ALIKE) ** 0.5
ALL_WITH_ALL = 30_000  # files up to which that is measured too


def draw(count: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors (count, WIDTH), non-negative as magnitudes are, `COPIES` in a row near equal."""
    spectrum = np.exp(-np.linspace(0, 3, WIDTH))  # a few directions vary much, most little
    centres = np.abs(spectrum + 0.6 * spectrum * rng.normal(size=(-(-count // COPIES), WIDTH)))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = rng.normal(scale=NOISE / (2 * WIDTH) ** 0.5, size=(count, WIDTH))
    copies = np.repeat(centres, COPIES, axis=0)[:count] + noise
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    return copies.astype(np.float32)


def found_share(vectors: np.ndarray) -> float:
    copies = 0
    for one, other in near_pairs(vectors, RADIUS):
        copies += int((one // COPIES == other // COPIES).sum())
    return copies / (len(vectors) * (COPIES - 1) / 2)


def all_with_all(vectors: np.ndarray) -> None:
    index = faiss.IndexFlatL2(WIDTH)
    index.add(vectors)
    for start in range(0, len(vectors), 4096):
        index.range_search(vectors[start : start + 4096], RADIUS**2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--most", type=int, default=100_000)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    faiss.omp_set_num_threads(chosen.threads)
    print(f"{'files':>8} {'seconds':>8} {'all pairs':>9} {'found':>7} {'exponent':>8}")
    before: tuple[int, float] | None = None
    for count in (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000):
        if count > chosen.most:
            break
        vectors = draw(count, np.random.default_rng(0))
        start = time.perf_counter()
        share = found_share(vectors)
        took = time.perf_counter() - start
        other = "–"
        if count <= ALL_WITH_ALL:
            start = time.perf_counter()
            all_with_all(vectors)
            other = f"{time.perf_counter() - start:.2f}"
        grew = math.log(took / before[1]) / math.log(count / before[0]) if before else math.nan
        print(f"{count:>8} {took:>8.2f} {other:>9} {share:>7.4f} {grew:>8.2f}", flush=True)
        before = count, took


if __name__ == "__main__":
    main()
