"""What is like the training images, and what is not."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fishline.core.errors import UserError
from fishline.models.novelty import (
    FILE,
    MOST,
    MahalanobisDetector,
    NearestDetector,
    distances_to_others,
    fit_detector,
    load_detector,
    save_detector,
    separation,
)


def cloud(centre: list[float], count: int, seed: int) -> np.ndarray:
    """Points around `centre`, in any length: the direction alone counts."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 0.1, (count, 3)) + centre
    return (points * rng.uniform(0.5, 20, (count, 1))).astype(np.float32)


LEFT, RIGHT = [-1.0, 0.0, 0.2], [1.0, 0.0, 0.2]
TRAIN = np.concatenate([cloud(LEFT, 400, 1), cloud(RIGHT, 400, 2)])
LABELS = np.repeat([0, 1], 400)
VALIDATION = np.concatenate([cloud(LEFT, 100, 3), cloud(RIGHT, 100, 4)])


def test_distances_to_others_are_those_of_a_detector_that_never_had_the_photograph() -> None:
    rows = np.arange(200, 600)  # of both species
    photographs = np.arange(800) // 10
    found = distances_to_others(TRAIN[rows], LABELS[rows], photographs[rows], np.array([0, 399]))
    for distance, row in zip(found, (200, 599), strict=True):
        others = rows[photographs[rows] != photographs[row]]
        detector = fit_detector(TRAIN[others], LABELS[others], VALIDATION, 1)
        assert distance == pytest.approx(detector.distances(TRAIN[[row]])[0], abs=1e-3)


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.95])
def test_the_limit_keeps_that_share_of_validation(recall: float) -> None:
    known = fit_detector(TRAIN, LABELS, VALIDATION, recall)
    assert 1 - (known.distances(VALIDATION) > known.limit).mean() == pytest.approx(recall, abs=0.01)
    fresh = np.concatenate([cloud(LEFT, 500, 5), cloud(RIGHT, 500, 6)])
    assert 1 - (known.distances(fresh) > known.limit).mean() == pytest.approx(recall, abs=0.06)


def test_what_points_elsewhere_is_unknown() -> None:
    known = fit_detector(TRAIN, LABELS, VALIDATION, 0.95)
    assert (known.distances(cloud([0.0, 1.0, 0.0], 50, 7)) > known.limit).all()


def test_the_distance_is_that_to_the_fifth_nearest() -> None:
    known = NearestDetector(np.eye(8, dtype=np.float16), 1.0)
    asked = np.array([[5, 4, 3, 2, 1, 0.5, 0, 0]], np.float32)
    expected = 1 - 1 / np.linalg.norm(asked)
    assert known.distances(asked)[0] == pytest.approx(expected, abs=1e-6)
    assert NearestDetector(np.eye(8, dtype=np.float16)[:2], 1.0).distances(asked)[0] == (
        pytest.approx(1 - 4 / np.linalg.norm(asked), abs=1e-6)
    )
    assert known.distances(asked[:0]).shape == (0,)


def test_what_is_kept_of_a_species_is_bounded() -> None:
    many = np.repeat(TRAIN, 3, axis=0)
    known = fit_detector(many, np.repeat(LABELS, 3), VALIDATION, 0.95)
    assert known.examples.shape == (2 * MOST, 3)
    few = fit_detector(TRAIN[398:403], LABELS[398:403], VALIDATION, 0.95)
    assert len(few.examples) == 5


def test_with_a_recall_of_one_nothing_is_unknown() -> None:
    known = fit_detector(TRAIN, LABELS, VALIDATION, 1)
    assert not known.distances(np.array([[0, 1, 0]], np.float32))[0] > known.limit


@pytest.mark.parametrize(
    ("known", "unknown", "auroc", "alarms"),
    [
        ([1, 2, 3], [4, 5, 6], 1.0, 0.0),
        ([4, 5, 6], [1, 2, 3], 0.0, 1.0),
        ([1, 2, 3, 9], [4, 5, 6, 7], 0.75, 0.25),
    ],
)
def test_separation(known: list[float], unknown: list[float], auroc: float, alarms: float) -> None:
    found = separation(np.array(known, float), np.array(unknown, float))
    assert found == {"unknown_auroc": auroc, "false_alarms_at_95_recall": alarms}


def test_many_species_take_no_more_memory_than_one() -> None:
    """Not the memory of (images, species, dimensions) at once."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(100, 64)).astype(np.float32)
    embeddings = rng.normal(size=(500, 64)).astype(np.float32)
    detector = MahalanobisDetector(means, np.eye(64, dtype=np.float32), 1.0)
    tracemalloc.start()
    distances = detector.distances(embeddings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * embeddings.size * 8  # a few copies in float64
    expected = ((embeddings[:, None] - means) ** 2).sum(2).min(1)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)


@pytest.mark.parametrize("recall", [0.9, 1.0])
def test_what_is_written_is_read(tmp_path: Path, recall: float) -> None:
    known = fit_detector(TRAIN, LABELS, VALIDATION, recall)
    save_detector(tmp_path, known)
    first = (tmp_path / FILE).read_bytes()
    read = load_detector(tmp_path)
    np.testing.assert_array_equal(read.distances(VALIDATION), known.distances(VALIDATION))
    assert read.limit == known.limit
    save_detector(tmp_path, read)
    assert (tmp_path / FILE).read_bytes() == first


def test_the_detector_of_an_older_model_is_read(tmp_path: Path) -> None:
    older = MahalanobisDetector(np.zeros((2, 3), np.float32), np.eye(3, dtype=np.float32), 2.0)
    save_detector(tmp_path, older)
    read = load_detector(tmp_path)
    np.testing.assert_array_equal(read.distances(VALIDATION), older.distances(VALIDATION))
    assert read.limit == 2.0


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_broken_file_is_a_message(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"known.safetensors cannot be read .*`dvc repro` makes it"):
        load_detector(tmp_path)
