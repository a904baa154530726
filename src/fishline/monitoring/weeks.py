"""What came in at a place in a week, and whether that is as it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from fishline.models.taxonomy import UNKNOWN
from fishline.monitoring.answers import as_sample, is_unsure
from fishline.monitoring.drift import LOOKS, RATE, Pair, p_values

FEWEST = 10  # photographs of a week, below which nothing is said of it
NEW, FEWEST_NEW = "new", 2  # an alarm, and photographs that make one: one alone may be a slip
PROJECT = "project's photographs"  # what a place is compared with that has nothing of its own


@dataclass(frozen=True)
class PlaceWeek:
    """A place in a week.

    photographs: that were answered
    unread:      files that could not be read
    unknown, unsure: shares of the answers: "unknown", or no species
    confidence:  mean probability of the likeliest species
    mix:         share of each likeliest species, the most frequent first
    usual:       the same of what it is compared with
    reference:   what that is: `PROJECT`, or the accepted weeks
    p:           by statistic, see drift.py; empty where there is too little to compare
    new:         photographs that show no species of the model, by what reviewers decided that they
                 do; "" for none that could be named
    """

    place: str
    week: str
    photographs: int
    unread: int
    unknown: float
    unsure: float
    confidence: float
    mix: Mapping[str, float]
    usual: Mapping[str, float]
    reference: str
    p: Mapping[str, float]
    new: Mapping[str, int]

    @property
    def alarms(self) -> list[str]:
        """The statistics that chance alone does not explain, and `NEW`."""
        found = [name for name, p in self.p.items() if p < RATE / LOOKS]
        return found + [NEW] * (sum(self.new.values()) >= FEWEST_NEW)

    @property
    def is_accepted(self) -> bool:
        return self.week in self.reference.split(", ")


def judge(
    answers: pd.DataFrame, known: pd.DataFrame, own: Mapping[str, pd.DataFrame]
) -> list[PlaceWeek]:
    """Every place in every week of `answers`, by week and place.

    Args:
        answers: of `with_truth`, by the model of `known`.
        known: the model's reference.
        own: of places with accepted weeks, these rows of `read_answers`.
    """
    return [
        row
        for week, rows in answers.groupby("week")
        for row in _judge_week(str(week), rows, known, own)
    ]


def _judge_week(
    week: str, rows: pd.DataFrame, known: pd.DataFrame, own: Mapping[str, pd.DataFrame]
) -> Iterator[PlaceWeek]:
    places = {str(place): mine for place, mine in rows.groupby("place")}
    answered = {place: mine[mine["error"].isna()] for place, mine in places.items()}
    pairs = {
        place: Pair(as_sample(own.get(place, known)), as_sample(mine), usual=place in own)
        for place, mine in answered.items()
        if len(mine) >= FEWEST and not (place in own and week in set(own[place]["week"]))
    }
    found: dict[str, dict[str, float]] = {place: {} for place in places}
    for (place, name), p in p_values(pairs).items():
        found[place][name] = p
    for place, mine in answered.items():
        reference = own.get(place, known)
        yield PlaceWeek(
            place=place,
            week=week,
            photographs=len(mine),
            unread=len(places[place]) - len(mine),
            unknown=float((mine["rank"] == UNKNOWN).mean()) if len(mine) else 0.0,
            unsure=float(is_unsure(mine).mean()) if len(mine) else 0.0,
            confidence=float(mine["confidence"].mean()) if len(mine) else 0.0,
            mix=_mix(mine),
            usual=_mix(reference),
            reference=", ".join(sorted(set(own[place]["week"]))) if place in own else PROJECT,
            p=found[place],
            new=_new(mine),
        )


def _new(rows: pd.DataFrame) -> dict[str, int]:
    reviewed = rows[rows["truth"].notna()]
    pairs = zip(reviewed["truth"], reviewed["known"], strict=True)
    return dict(Counter(truth for truth, known in pairs if truth not in known).most_common())


def _mix(rows: pd.DataFrame) -> dict[str, float]:
    shares = rows["species"].value_counts(normalize=True)
    return {str(name): float(share) for name, share in shares.items()}
