"""The proportions in which pictures are compared.

A picture may have been squashed to other proportions after it was turned. So all pictures are also
compared as if they had had those of the data set's other pictures, or a camera's usual ones. Or it
was turned in a frame that grew with it, and is smaller in it than it was: by how much, the frame's
proportions tell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fishline.data.prepare.copies.rings import Floats64

_CAMERAS = (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16, 5 / 4, 4 / 5)  # usual aspect ratios
_TOLERANCE = 0.02  # of an aspect ratio: within it, copies keep their correlation
_DISCOUNT = 0.015  # off correlations in assumed proportions, where these are unlikely
_OWN_ASPECTS = 8  # most frequent ones of the data set that are tried


def hypotheses(aspects: Floats64) -> list[tuple[Floats64, Floats64, np.float32]]:
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
