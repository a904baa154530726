"""What a photograph is answered with: its species, or where that is unsure the genus or family.

The most specific of the three whose probability reaches `confidence_threshold`, else "unknown".
The probability of a genus is the sum over its species, and one threshold serves for all ranks (Deng
et al. 2012, "Hedging Your Bets", https://doi.org/10.1109/CVPR.2012.6248086); networks trained
top-down along a hierarchy do no better (Valmadre 2022, https://arxiv.org/abs/2210.10929).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from fishline.core.errors import UserError
from fishline.core.paths import TAXONOMY

if TYPE_CHECKING:
    from fishline.models.artifact import ModelConfig

SPECIES, GENUS, FAMILY = COLUMNS = "species", "genus", "family"
UNKNOWN = "unknown"  # the answer for what is none of the species, or where none is sure enough

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """What n photographs are answered with.

    names:      str (n,), of species, genera and families, or "unknown"
    ranks:      str (n,), "species", "genus", "family" or "unknown"
    confidence: float64 (n,), the probability of the answer; of the likeliest species if unknown
    """

    names: Names
    ranks: Names
    confidence: Floats


@dataclass(frozen=True)
class Predictions:
    """What a model makes of n images.

    logits:        float32 (n, species)
    probabilities: float64 (n, species), calibrated: logits by `ModelConfig.temperature`
    distances:     float64 (n,), from what is known, see novelty.py
    answers:       what it says: a species, genus or family, or "unknown"
    features:      float32 (n, d), what the last layer was given; of any length
    """

    logits: npt.NDArray[np.float32]
    probabilities: Floats
    distances: Floats
    answers: Answers
    features: npt.NDArray[np.float32]

    @property
    def unknown(self) -> npt.NDArray[np.bool_]:
        """bool (n,), whether the answer is "unknown"."""
        unknown: npt.NDArray[np.bool_] = self.answers.ranks == UNKNOWN
        return unknown


class Labels(Protocol):
    """What answers depend on besides logits and distances: as in ModelConfig."""

    @property
    def species(self) -> tuple[str, ...]: ...
    @property
    def genera(self) -> tuple[str, ...]: ...
    @property
    def families(self) -> tuple[str, ...]: ...
    @property
    def temperature(self) -> float: ...
    @property
    def confidence_threshold(self) -> float: ...


def predictions(
    logits: npt.NDArray[np.float32],
    distances: Floats,
    far: Bools,
    features: npt.NDArray[np.float32],
    config: Labels,
    only: Collection[str] = (),
) -> Predictions:
    """Probabilities, and what is said of them, whatever computed the logits.

    Args:
        logits: float32 (n, species)
        distances: float64 (n,)
        far: bool (n,), which of these are over the limit.
        features: float32 (n, d)
        only: the species that there can be, if not all: the probabilities of others are 0.
    """
    possible = np.array([not only or name in only for name in config.species])
    scaled = np.where(possible, logits.astype(np.float64) / config.temperature, -np.inf)
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return Predictions(logits, shares, distances, choose(shares, far, config), features)


def choose(probabilities: Floats, far: Bools, config: Labels) -> Answers:
    """The answers to n photographs.

    Args:
        probabilities: float64 (n, species)
        far: bool (n,), which are unlike all that is known, and so unknown.
    """
    names = np.full(len(far), UNKNOWN, object)
    ranks, confidence = names.copy(), probabilities.max(1)
    for rank, groups in members(config).items():
        likeliest, share = _likeliest(probabilities, groups)
        sure = ~far & (share >= config.confidence_threshold)
        names[sure], ranks[sure], confidence[sure] = likeliest[sure], rank, share[sure]
    return Answers(names, ranks, confidence)


def members(config: Labels) -> dict[str, Sequence[str]]:
    """What each species of a model is called by rank, "" for nothing: the most specific comes last.

    Ranks that no species has a name of are left out.
    """
    ranks = {FAMILY: config.families, GENUS: config.genera, SPECIES: config.species}
    return {rank: groups for rank, groups in ranks.items() if any(groups)}


def are_right(answers: Answers, labels: npt.NDArray[np.int64], config: Labels) -> Bools:
    """bool (n,): which answers name what the images show, if only its genus or family.

    Args:
        labels: int64 (n,), positions in the model's species.
    """
    right = np.zeros(len(labels), bool)
    for rank, groups in members(config).items():
        right |= (answers.ranks == rank) & (np.array(groups, object)[labels] == answers.names)
    return right


def _likeliest(probabilities: Floats, groups: Sequence[str]) -> tuple[Names, Floats]:
    """The likeliest of the groups that species belong to, and its probability: (n,) each."""
    names = [name for name in dict.fromkeys(groups) if name]
    belongs = np.array(groups, object)[:, None] == np.array(names, object)
    sums = (probabilities @ belongs).clip(max=1)  # of rounded numbers they come to 1 + 2e-16
    return np.array(names, object)[sums.argmax(1)], sums.max(1)


def with_taxonomy(config: ModelConfig, threshold: float, path: Path = TAXONOMY) -> ModelConfig:
    """`config` with genera and families of its species, as far as `path` has them, and `threshold`.

    Raises:
        UserError: as of `read_taxonomy`.
    """
    known = read_taxonomy(path)
    genera, families = (
        tuple(known[name][rank] if name in known else "" for name in config.species)
        for rank in (GENUS, FAMILY)
    )
    return replace(config, genera=genera, families=families, confidence_threshold=threshold)


def read_taxonomy(path: Path) -> dict[str, Mapping[str, str]]:
    """Genus and family of each species in the CSV at `path`, "" for none; {} without the file.

    Raises:
        UserError: it cannot be read, lacks a column, names a species twice or contradicts itself;
            the message names the line.
    """
    if not path.is_file():
        return {}
    known: dict[str, Mapping[str, str]] = {}
    families: dict[str, str] = {}
    for where, row in _rows(path):
        species, genus, family = (row[name] for name in COLUMNS)
        if species in known:
            raise UserError(f"{where}: {species} stands there a second time; keep one line")
        if UNKNOWN in (genus, family):
            raise UserError(f"{where}: leave empty what is not known, that word is an answer")
        if genus and families.setdefault(genus, family) != family:
            raise UserError(
                f"{where}: {genus} is a genus of '{family}' here and of '{families[genus]}' in a "
                "line before; give it one family"
            )
        known[species] = row
    return known


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines of the CSV at `path`: where each stands, and what is in `COLUMNS`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="", strict=True)
        rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from None
    for name in COLUMNS:
        if name not in (reader.fieldnames or ()):
            raise UserError(
                f"{path} has no column '{name}'; it needs {', '.join(COLUMNS)}, with commas between"
            )
    for where, row in rows:
        if None in row:
            raise UserError(f"{where}: more fields than columns; quote a text that has a comma")
        if any(row.values()):  # spreadsheets write lines of commas alone
            yield where, {name: row[name].strip() for name in COLUMNS}
