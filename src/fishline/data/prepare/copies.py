"""Which files show the same photograph, from their pixels alone.

Data sets are enlarged by turning, mirroring, rescaling and recompressing their photographs. A split
that puts copies of one photograph on both sides measures memory, not recognition.

A picture is read along rings around its middle, in its true proportions: turning it shifts every
ring, mirroring it reverses them. Of each ring the first Fourier coefficients are kept. Two pictures
are compared by the largest correlation of their rings over all angles, mirrored or not (circular
cross-correlation by the correlation theorem; Reddy & Chatterji, IEEE Trans. Image Processing 5(8),
1996, use it for registration). From `SAME` on they show one photograph, and photographs joined by
any chain of such pairs are one (single linkage).

The magnitudes of the coefficients do not change under turning and mirroring, and by the
Cauchy-Schwarz inequality pictures that correlate by c have magnitudes no further apart than
sqrt(2 - 2c): a radius search over magnitudes finds every pair worth comparing.

A picture may have been squashed to other proportions after it was turned. So all pictures are also
compared as if they had had those of the data set's other pictures, or a camera's usual ones. Or it
was turned in a frame that grew with it, and is smaller in it than it was: by how much, the frame's
proportions tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from fishline.data.decode import THUMBNAIL
from fishline.data.prepare.neighbours import near_pairs

Thumbnails = npt.NDArray[np.uint8]
Rings = npt.NDArray[np.complex64]
Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]
Links = tuple[Numbers, Numbers, Floats]  # two files and how their pictures correlate

# Of 215 real photographs in 4,326 files, the copies of each hang together by correlations of 0.991
# and more (0.984 after hard recompression, rescaling and changes of light); different ones reach
# 0.945, but for three pairs of near-identical shots. The cut lies nearer to the latter: to merge
# two look-alikes does no harm, to part copies lets one leak into the test set.
SAME = 0.965  # correlation from which two pictures count as one photograph
ALIKE = 0.935  # from here on, different photographs look alike: the search goes this far

_RINGS, _ANGLES, _FREQUENCIES = 16, 64, 12
_RADII = np.linspace(0.08, 0.86, _RINGS)  # of half the shorter side
_STEPS = 192  # angles at which two pictures are compared
_BLANK = 15.0  # norm, in grey levels, below which there is no structure: rounding alone gives 5
_CAMERAS = (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16, 5 / 4, 4 / 5)  # usual aspect ratios
_TOLERANCE = 0.02  # of an aspect ratio: within it, copies keep their correlation
_DISCOUNT = 0.015  # off correlations in assumed proportions, where these are unlikely
_BATCH = 4096  # pictures, or pairs of them, at a time
_OWN_ASPECTS = 8  # most frequent ones of the data set that are tried


@dataclass(frozen=True)
class Copies:
    """Which of n files show one photograph, and which look alike.

    group:      int64 (n,), equal for files that show the same photograph
    confidence: float32 (n,), how clear the decision nearest to tipping over was: 0 (a correlation
                at `SAME`) … 1 (all of them at least `SAME - ALIKE` away)
    alike:      int64 (n,), a file of another photograph that looks like this one's, or -1
    """

    group: Numbers
    confidence: Floats
    alike: Numbers


def find_copies(take: Callable[[Numbers], Thumbnails], aspects: Floats64) -> Copies:
    """Group pictures that show the same photograph.

    Args:
        take: gives the thumbnails at some positions, uint8 (b, THUMBNAIL, THUMBNAIL); never
            asked for all at once.
        aspects: (n,), width / height of each picture.
    """
    first = _first_of_equals(take, len(aspects))
    files = np.unique(first)
    again = np.flatnonzero(first != np.arange(len(first)))
    links: Links = (first[again], again, np.ones(len(again), np.float32))
    group = first
    for assumed, reach, discount in _hypotheses(aspects[files]):
        rings = np.concatenate(
            [
                describe(take(files[batch]), assumed[batch], reach[batch])
                for batch in _batches(np.arange(len(files)))
            ]
        )
        one, other, correlation = _links(rings, group[files])
        links = _concatenate([links, (files[one], files[other], correlation - discount)])
        group = _components(len(first), links)
    return _decide(group, links)


def describe(thumbnails: Thumbnails, aspects: Floats64, reach: Floats64 | None = None) -> Rings:
    """Fourier coefficients along rings, of unit norm in all.

    Args:
        thumbnails: uint8 (n, THUMBNAIL, THUMBNAIL), whole pictures in grey, squashed to squares.
        aspects: (n,), width / height of the pictures before they were squashed.
        reach: (n,), the radius of the largest ring, as a fraction of what fits into the picture.

    Returns:
        complex64 (n, rings, frequencies). All zero for a picture without structure.
    """
    out = np.zeros((len(thumbnails), _RINGS, _FREQUENCIES), np.complex64)
    shapes = np.stack([aspects, np.ones(len(thumbnails)) if reach is None else reach])
    for aspect, largest in np.unique(shapes, axis=1).T:
        rows = np.flatnonzero((shapes[0] == aspect) & (shapes[1] == largest))
        weights = _sampling(float(aspect), float(largest))
        for batch in np.array_split(rows, len(rows) // 256 + 1):  # as many as the CPU's caches hold
            flat = np.ascontiguousarray(thumbnails[batch].reshape(len(batch), -1).T, np.float32)
            out[batch] = _coefficients((weights @ flat).T)
    return out


def _batches(positions: Numbers) -> list[Numbers]:
    return np.array_split(positions, len(positions) // _BATCH + 1)


def _sampling(aspect: float, reach: float) -> csr_array:
    """Bilinear weights (rings · angles, THUMBNAIL²) that read a thumbnail along its rings."""
    turn = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    half, radii = THUMBNAIL / 2, _RADII * reach
    # A circle in the picture is an ellipse in the square that it was squashed to.
    x = half - 0.5 + half * min(1, 1 / aspect) * np.outer(radii, np.cos(turn)).ravel()
    y = half - 0.5 + half * min(1, aspect) * np.outer(radii, np.sin(turn)).ravel()
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    columns, weights = [], []
    for down in (0, 1):
        for right in (0, 1):
            columns.append((top + down) * THUMBNAIL + left + right)
            weights.append(abs(1 - down - y + top) * abs(1 - right - x + left))
    where = (np.tile(np.arange(len(x)), 4), np.concatenate(columns))
    values = np.concatenate(weights).astype(np.float32)
    return csr_array(coo_array((values, where), (len(x), THUMBNAIL * THUMBNAIL)))


def _coefficients(rings: Floats) -> Rings:
    """Normalised coefficients (n, rings, frequencies) of the grey values (n, rings · angles)."""
    values = rings.reshape(len(rings), _RINGS, _ANGLES)
    spectrum = np.fft.rfft(values, axis=2)[:, :, 1 : _FREQUENCIES + 1] / _ANGLES
    # Slow changes along a ring (light, the outline of a fish) are common to many photographs: each
    # frequency counts by its number, each ring by its length.
    spectrum *= np.arange(1, _FREQUENCIES + 1) * np.sqrt(_RADII)[:, None]
    norm = np.sqrt(2 * np.sum(np.abs(spectrum) ** 2, axis=(1, 2), keepdims=True))
    return np.where(norm > _BLANK, spectrum / np.maximum(norm, _BLANK), 0).astype(np.complex64)


def compare(one: Rings, other: Rings) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """How alike pictures are, pair by pair, at the angle where they are most alike.

    Args:
        one, other: complex64 (n, rings, frequencies), of `describe`.

    Returns:
        correlation (-1 … 1), the angle in degrees, clockwise, by which `other` is `one` turned, and
        whether it was turned upside down (mirrored) before; each (n,).
    """
    straight, mirrored = (
        _over_angles(np.einsum("nrf,nrf->nf", first, other)) for first in (one.conj(), one)
    )
    both = np.concatenate([straight, mirrored], axis=1)  # (n, 2 · steps)
    best = both.argmax(axis=1)
    angle = (best % _STEPS) * np.float32(360 / _STEPS)
    return both[np.arange(len(both)), best], angle, best >= _STEPS


def _over_angles(products: Rings) -> Floats:
    padded = np.zeros((len(products), _STEPS // 2 + 1), np.complex64)
    padded[:, 1 : _FREQUENCIES + 1] = products
    return (np.fft.irfft(padded, _STEPS, axis=1) * _STEPS).astype(np.float32)


def _first_of_equals(take: Callable[[Numbers], Thumbnails], count: int) -> Numbers:
    """For each thumbnail the position of the first one with the same bytes."""
    seen: dict[bytes, int] = {}
    first = np.arange(count)
    for batch in _batches(first):
        for position, thumbnail in zip(batch, take(batch), strict=True):
            digest = hashlib.blake2b(thumbnail.tobytes(), digest_size=16).digest()
            first[position] = seen.setdefault(digest, int(position))
    return first


def _hypotheses(aspects: Floats64) -> list[tuple[Floats64, Floats64, np.float32]]:
    """Proportions to compare all pictures in, their reach, and what is taken off correlations.

    First each picture in its own, then all in each assumed one. Where all have the proportions of
    a camera, squashing is unlikely and a match in others more likely an accident. Where they have
    many, they may be turned pictures whose frame grew.
    """
    steps = np.round(np.log(aspects) / _TOLERANCE).astype(int)
    own, counts = np.unique(steps, return_counts=True)
    frequent = np.exp(own[np.argsort(-counts, kind="stable")][:_OWN_ASPECTS] * _TOLERANCE)
    candidates: list[float] = []
    for value in (*frequent.tolist(), *_CAMERAS):
        all_have_it = np.all(_close(aspects, value))
        if not all_have_it and not any(_close(value, other) for other in candidates):
            candidates.append(value)
    unsquashed = any(np.all(_close(aspects, value)) for value in _CAMERAS if value != 1)
    discount = np.float32(_DISCOUNT if unsquashed else 0)
    whole, none = np.ones(len(aspects)), np.float32(0)
    rounded = np.exp(steps * _TOLERANCE)
    grown = [value for value in _CAMERAS if value > 1] if len(own) > _OWN_ASPECTS else []
    return [
        (rounded, whole, none),
        *((np.full(len(aspects), value), whole, discount) for value in candidates),
        *((rounded, _reach_if_grown(rounded, value), none) for value in grown),
    ]


def _reach_if_grown(aspects: Floats64, camera: float) -> Floats64:
    """The fraction of each frame that a photograph reaches which was turned in a growing frame.

    A photograph of width `camera` and height 1, turned by an angle t, has a frame of the width
    camera·cos t + sin t and the height camera·sin t + cos t: its proportions tell the angle.
    """
    possible = (aspects <= camera) & (aspects >= 1 / camera)
    angle = np.where(possible, np.arctan2(camera - aspects, aspects * camera - 1), 0)
    width = camera * np.cos(angle) + np.sin(angle)
    height = camera * np.sin(angle) + np.cos(angle)
    return np.where(possible, np.round(1 / np.minimum(width, height), 2), 1)


def _close(aspects: Floats64 | float, value: float) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(np.log(aspects) - np.log(value)) < _TOLERANCE)


def _links(rings: Rings, group: Numbers) -> Links:
    """Pairs of pictures in different groups that look alike."""
    usable = np.flatnonzero(np.abs(rings).max(axis=(1, 2), initial=0) > 0)
    magnitudes = np.abs(rings[usable]).reshape(-1, _RINGS * _FREQUENCIES) * np.float32(2**0.5)
    links: list[Links] = [(usable[:0], usable[:0], np.zeros(0, np.float32))]
    for pair in near_pairs(np.ascontiguousarray(magnitudes), (2 - 2 * ALIKE) ** 0.5):
        one, other = usable[pair[0]], usable[pair[1]]
        apart = group[one] != group[other]
        for batch in _batches(np.flatnonzero(apart)):
            correlation, _, _ = compare(rings[one[batch]], rings[other[batch]])
            near = correlation >= ALIKE
            links.append((one[batch][near], other[batch][near], correlation[near]))
    return _concatenate(links)


def _concatenate(links: Sequence[Links]) -> Links:
    one, other, correlation = zip(*links, strict=True)
    return np.concatenate(one), np.concatenate(other), np.concatenate(correlation)


def _components(count: int, links: Links) -> Numbers:
    """The number of each file's group: files joined by any chain of links from `SAME` on."""
    one, other, correlation = links
    same = correlation >= SAME
    graph = coo_array((same[same], (one[same], other[same])), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _decide(group: Numbers, links: Links) -> Copies:
    one = np.concatenate([links[0], links[1]])  # each link from both its ends
    other = np.concatenate([links[1], links[0]])
    correlation = np.concatenate([links[2], links[2]])
    inside = group[one] == group[other]
    joined, across = np.zeros((2, len(group)), np.float32)
    np.maximum.at(joined, one[inside], correlation[inside])
    np.maximum.at(across, one[~inside], correlation[~inside])
    span = SAME - ALIKE
    within = np.where(joined > 0, np.clip((joined - SAME) / span, 0, 1), 1)
    without = np.clip((SAME - across) / span, 0, 1)
    alike = np.full(len(group), -1, np.int64)
    order = np.argsort(correlation[~inside], kind="stable")
    alike[one[~inside][order]] = other[~inside][order]  # the most alike one comes last
    return Copies(group, np.minimum(within, without).astype(np.float32), alike)
