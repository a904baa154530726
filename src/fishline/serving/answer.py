"""What is answered of a photograph."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Answer:
    """What a model says of one photograph.

    species:       the answer: a species, or where none is sure enough a genus or family, or
                   "unknown"; None on an error
    probability:   of the answer, calibrated; where it is unknown, of the likeliest species
    probabilities: of each species, in the model's order
    error:         why there is no answer
    rank:          of the answer: "species", "genus", "family" or "unknown"
    """

    species: str | None
    probability: float | None
    probabilities: dict[str, float] | None
    error: str | None = None
    rank: str | None = None

    @property
    def likeliest(self) -> str:
        """The species with the largest probability, also where the answer is another."""
        shares = self.probabilities or {}
        return max(shares, key=lambda name: shares[name])

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Answered(NamedTuple):
    """An answer, and what is behind it.

    digest:   SHA-256 of the photograph's file, None if that cannot be read
    distance: from what is known, see novelty.py; None on an error, and so are
    features: float32 (d,), what the last layer was given
    seconds:  that went into it: reading, decoding, its share of the network's time
    """

    digest: str | None
    answer: Answer
    distance: float | None
    features: npt.NDArray[np.float32] | None
    seconds: float
