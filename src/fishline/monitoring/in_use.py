"""How often answers were right where a model is used, as far as reviewers have said so since."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from fishline.evaluation.statistics import Interval, wilson
from fishline.monitoring.answers import is_unsure
from fishline.monitoring.reference import TEST

KINDS = {"a species": False, "no species": True}  # what was answered, and whether that is unsure


@dataclass(frozen=True)
class Reviewed:
    """Answers of one kind, a key of `KINDS`, by one model.

    answered, reviewed, right: photographs; right is one whose likeliest species was decided for
    tested:   the share of right ones among its test photographs; None of no such
    """

    kind: str
    answered: int
    reviewed: int
    right: int
    tested: float | None

    @property
    def accuracy(self) -> float:
        return self.right / self.reviewed if self.reviewed else math.nan

    @property
    def interval(self) -> Interval:
        """95 %, Wilson's."""
        return wilson(self.right, self.reviewed)


@dataclass(frozen=True)
class InUse:
    """One model's answers, and what became of those that were reviewed."""

    model: str
    kinds: tuple[Reviewed, ...]

    @property
    def is_known(self) -> bool:
        """Whether of each kind that was answered some were reviewed."""
        return all(kind.reviewed for _, kind in self._shares())

    @property
    def accuracy(self) -> float:
        """Of all answers: each kind counts by how often it was answered; nan unless `is_known`."""
        return math.fsum(share * kind.accuracy for share, kind in self._shares())

    @property
    def interval(self) -> Interval:
        """95 %, from those of the kinds (MOVER: Zou, Huang & Zhang 2009, section 2.1)."""
        low, high = (
            math.sqrt(
                sum((w * (kind.accuracy - kind.interval[end])) ** 2 for w, kind in self._shares())
            )
            for end in (0, 1)
        )
        return max(0.0, self.accuracy - low), min(1.0, self.accuracy + high)

    def _shares(self) -> list[tuple[float, Reviewed]]:
        total = sum(kind.answered for kind in self.kinds)
        return [(kind.answered / total, kind) for kind in self.kinds if kind.answered]


def in_use(answers: pd.DataFrame, reference: pd.DataFrame) -> list[InUse]:
    """Of each model that has reviewed answers.

    Sure and unsure answers stand apart, as reviewers look at unsure ones first: together they
    would look worse than the model is.

    Args:
        answers: of `with_truth`.
        reference: of the model that `answers` of the same model_sha256 are by.
    """
    answered = answers[answers["error"].isna()]
    answered = answered.assign(right=answered["species"] == answered["truth"])
    tested = set(reference["model_sha256"])
    found = []
    for model, rows in answered.groupby("model"):
        if rows["truth"].notna().any():
            known = reference if tested >= set(rows["model_sha256"]) else reference.head(0)
            found.append(InUse(str(model), tuple(_kinds(rows, known))))
    return found


def _kinds(rows: pd.DataFrame, reference: pd.DataFrame) -> list[Reviewed]:
    kinds = []
    for name, unsure in KINDS.items():
        mine = rows[is_unsure(rows) == unsure]
        reviewed = mine[mine["truth"].notna()]
        tested = reference.loc[
            (reference["part"] == TEST) & (is_unsure(reference) == unsure), "right"
        ]
        share = float(tested.mean()) if len(tested) else None
        kinds.append(Reviewed(name, len(mine), len(reviewed), int(reviewed["right"].sum()), share))
    return kinds
