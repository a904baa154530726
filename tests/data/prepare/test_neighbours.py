"""Which vectors lie near each other: all pairs, each once, also without comparing all with all."""

from collections import Counter

import numpy as np
import pytest
from scipy.spatial import KDTree

from fishline.data.prepare import neighbours
from fishline.data.prepare.neighbours import Vectors, near_pairs

Pairs = Counter[tuple[int, int]]


def vectors(count: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).random((count, 8), np.float32)


def found(points: Vectors, radius: float) -> Pairs:
    """How often each pair is named, the smaller position first."""
    return Counter(
        (min(a, b), max(a, b))
        for ones, others in near_pairs(points, radius)
        for a, b in zip(ones.tolist(), others.tolist(), strict=True)
    )


def expected(points: Vectors, radius: float) -> Pairs:
    return Counter(KDTree(points).query_pairs(radius))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100, 501])
@pytest.mark.parametrize("batch", [1, 7, 100, 4096])
def test_all_pairs_are_found_once(count: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BATCH", batch)
    points = vectors(count)
    pairs = expected(points, 0.4)
    assert found(points, 0.4) == pairs
    assert count < 100 or pairs


@pytest.mark.parametrize(
    ("radius", "pairs"),
    [(0.9, []), (1.1, [(0, 1)]), (2.1, [(0, 1), (1, 2)]), (3.1, [(0, 1), (1, 2), (0, 2)])],
)
def test_the_radius_is_a_distance(radius: float, pairs: list[tuple[int, int]]) -> None:
    assert found(np.array([[0], [1], [3]], np.float32), radius) == Counter(pairs)


def test_equal_vectors_are_near() -> None:
    assert found(np.zeros((3, 4), np.float32), 0.1) == Counter([(0, 1), (0, 2), (1, 2)])


@pytest.mark.parametrize("batch", [128, 4096])
def test_nearly_all_pairs_are_found_without_comparing_all(
    batch: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 1000)
    monkeypatch.setattr(neighbours, "_BATCH", batch)
    rng = np.random.default_rng(1)
    points = vectors(2000)
    points[rng.permutation(2000)[:400]] = points[:400] + rng.normal(0, 0.05, (400, 8))
    pairs, there = found(points, 0.2), expected(points, 0.2)
    assert pairs <= there  # each is near, and named once
    assert len(there) > 300
    assert len(pairs) > 0.97 * len(there)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("count", "exact"), [(1000, True), (1001, False)])
def test_up_to_exact_all_are_compared(
    count: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 1000)
    monkeypatch.setattr(neighbours, "_PROBES", 1)  # so that an index misses some
    points = vectors(count)
    assert (found(points, 0.4) == expected(points, 0.4)) == exact
