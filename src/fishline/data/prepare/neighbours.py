"""Which vectors lie near each other, without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

EXACT = 20_000  # vectors up to which all are compared: seconds, and nothing is missed
_PROBES = 8  # cells that are looked into around each vector
_BATCH = 4096  # vectors searched for at once: bounds the memory that results take


def near_pairs(vectors: Vectors, radius: float) -> Iterator[tuple[Positions, Positions]]:
    """Pairs of `vectors` (n, d) with a Euclidean distance below `radius`, each pair once.

    Beyond `EXACT` vectors an inverted-file index (Faiss, IndexIVFFlat) with 4·√n cells is searched:
    the time grows as n^1.5, and a pair in far apart cells can be missed
    (`benchmarks/copies.py` measures both).
    """
    index = _index(vectors)
    for start in range(0, len(vectors), _BATCH):
        limits, _, others = index.range_search(vectors[start : start + _BATCH], radius**2)
        ones = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits).astype(np.int64))
        later = others > ones
        yield ones[later], others[later]


def _index(vectors: Vectors) -> faiss.Index:
    count, width = vectors.shape
    flat = faiss.IndexFlatL2(width)
    if count <= EXACT:
        flat.add(vectors)
        return flat
    cells = int(min(4 * count**0.5, count / 40))  # Faiss warns if there is less to learn from
    index = faiss.IndexIVFFlat(flat, width, cells)
    index.nprobe = _PROBES
    learnt = np.random.default_rng(0).choice(count, min(count, 40 * cells), replace=False)
    index.train(vectors[np.sort(learnt)])
    index.add(vectors)
    return index
