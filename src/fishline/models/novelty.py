"""Is a photograph like those that a model was trained on at all?

A network gives every picture a species, also one that it has never seen. How far the numbers
before its last layer point from those of the nearest training images tells more (Sun et al. 2022,
https://arxiv.org/abs/2204.06507): the fifth nearest, so that one odd photograph does not vouch for
others. What it was measured against stands in docs/training.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fishline.core.errors import UserError
from fishline.core.files import replacing
from fishline.data.features import directions

FILE = "known.safetensors"
MOST = 300  # training images of each species that are kept: bounds the file, a model's 1280 × 2 B
NEIGHBOUR = 5
CHUNK = 1024  # images that are looked up at a time: bounds memory

Floats = npt.NDArray[np.float32]


class Detector(Protocol):
    """limit: the largest distance that still counts as known."""

    @property
    def limit(self) -> float: ...

    def distances(self, embeddings: Floats) -> npt.NDArray[np.float64]:
        """How far each row (n, d) is from what is known: (n,)."""
        ...

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """All of it, as arrays to be written."""
        ...


@dataclass(frozen=True)
class NearestDetector:
    """Training images that others are compared with.

    examples: float16 (m, d), each of length 1
    limit:    the largest distance that still counts as known
    """

    examples: npt.NDArray[np.float16]
    limit: float

    def distances(self, embeddings: Floats) -> npt.NDArray[np.float64]:
        """1 − cosine to the fifth nearest example, of each row (n, d): (n,)."""
        return _to_neighbour(embeddings, self.examples.astype(np.float32))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"examples": self.examples, "limit": np.array([self.limit])}


@dataclass(frozen=True)
class MahalanobisDetector:
    """What models of before have: species' means, and one covariance around them.

    means:     float32 (species, d)
    precision: float32 (d, d), inverse of the covariance
    limit:     the largest squared distance that still counts as known
    """

    means: Floats
    precision: Floats
    limit: float

    def distances(self, embeddings: Floats) -> npt.NDArray[np.float64]:
        """Squared distance of each row (n, d) to the nearest species (n,)."""
        nearest = np.full(len(embeddings), np.inf)
        for mean in self.means:  # one species at a time: memory for (n, d), not (n, species, d)
            away = embeddings.astype(np.float64) - mean
            squared = np.einsum("nd,nd->n", away @ self.precision, away)
            np.minimum(nearest, squared, out=nearest)
        return nearest

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"means": self.means, "precision": self.precision, "limit": np.array([self.limit])}


def fit_detector(
    embeddings: Floats, labels: npt.NDArray[np.integer], validation: Floats, recall: float
) -> NearestDetector:
    """Examples of the training images; the limit that keeps `recall` of validation.

    Args:
        embeddings: (n, d) of training images
        labels: (n,), positions; each species has an image
        validation: (m, d)
        recall: share of the validation images that shall count as known; 1: everything does
    """
    examples = directions(embeddings[_examples(labels)]).astype(np.float16)
    detector = NearestDetector(examples, float("inf"))
    if recall == 1:
        return detector
    return replace(detector, limit=float(np.quantile(detector.distances(validation), recall)))


def distances_to_others(
    embeddings: Floats,
    labels: npt.NDArray[np.integer],
    photographs: npt.NDArray[np.integer],
    wanted: npt.NDArray[np.integer],
) -> npt.NDArray[np.float64]:
    """`NearestDetector.distances` of training images, as if they were new.

    No image of the same photograph counts as an example.

    Args:
        embeddings, labels: as of `fit_detector`
        photographs: (n,), which one each image shows; there are more than `NEIGHBOUR`
        wanted: (m,), positions

    Returns:
        (m,)
    """
    kept = _examples(labels)
    shown = photographs[wanted], photographs[kept]
    return _to_neighbour(embeddings[wanted], directions(embeddings[kept]), shown)


def _to_neighbour(
    embeddings: Floats,
    examples: Floats,
    shown: tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]] | None = None,
) -> npt.NDArray[np.float64]:
    """1 − cosine to the fifth nearest of `examples` (m, d), of each row (n, d): (n,).

    Args:
        shown: which photographs the rows (n,) and the examples (m,) show; none is its own example
    """
    place = min(NEIGHBOUR, len(examples))
    distances = [np.zeros(0)]
    for first in range(0, len(embeddings), CHUNK):
        some = slice(first, first + CHUNK)
        cosines = directions(embeddings[some]) @ examples.T  # (b, m)
        if shown:
            cosines[shown[0][some, None] == shown[1]] = -1
        distances.append(1 - np.partition(cosines, -place, axis=1)[:, -place].astype(np.float64))
    return np.concatenate(distances)


def _examples(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """The positions of those that are kept."""
    kept = [_spread(np.flatnonzero(labels == species)) for species in np.unique(labels)]
    return np.concatenate(kept)


def _spread(positions: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """At most `MOST` of `positions`, evenly spread."""
    chosen = np.linspace(0, len(positions) - 1, min(MOST, len(positions)))
    some: npt.NDArray[np.integer] = positions[chosen.round().astype(int)]
    return some


def separation(
    known: npt.NDArray[np.floating], unknown: npt.NDArray[np.floating], recall: float = 0.95
) -> dict[str, float]:
    """How well distances tell unknown images from known ones.

    Returns:
        The area under the ROC curve, and the share of known images that is taken for unknown
        where `recall` of the unknown ones is.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.zeros(len(known)), np.ones(len(unknown))]
    cut = np.quantile(unknown, 1 - recall)
    return {
        "unknown_auroc": float(roc_auc_score(truth, np.r_[known, unknown])),
        f"false_alarms_at_{recall:.0%}_recall".replace("%", ""): float((known >= cut).mean()),
    }


def save_detector(folder: Path, detector: Detector) -> None:
    """Write `known.safetensors`.

    Raises:
        OSError: there is no room.
    """
    with replacing(folder / FILE) as temporary:
        temporary.write_bytes(save(detector.tensors()))


def load_detector(folder: Path) -> Detector:
    """What `save_detector` wrote.

    Raises:
        UserError: the file is missing or broken.
    """
    try:
        tensors = load_file(folder / FILE)
        limit = float(tensors["limit"][0])
        if "means" in tensors:
            return MahalanobisDetector(tensors["means"], tensors["precision"], limit)
        return NearestDetector(tensors["examples"], limit)
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{folder / FILE} cannot be read ({error}); `dvc repro` makes it") from None
