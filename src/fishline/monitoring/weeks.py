"""What came in at a place in a week, and whether that is as it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fishline.models.taxonomy import UNKNOWN
from fishline.monitoring.answers import NUMBERS, as_sample, is_unsure
from fishline.monitoring.drift import LOOKS, RATE, Pair, p_values
from fishline.monitoring.reference import TRAIN

FEWEST = 10  # photographs of a week, below which nothing is said of it
NEW, FEWEST_NEW = "new", 2  # an alarm, and photographs that make one: one alone may be a slip
TO = "/"  # between the first and the last of several weeks, as ISO 8601 has it
PROJECT = "project's photographs"  # what a place is compared with that has nothing of its own

PlaceAndWeek = tuple[str, str]


@dataclass(frozen=True)
class PlaceWeek:
    """A place in a week, or in several together.

    week:        such as 2026-W40; of several 2026-W33/2026-W40
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
    def last_week(self) -> str:
        return self.week.rpartition(TO)[2]

    @property
    def is_several(self) -> bool:
        return TO in self.week

    @property
    def is_accepted(self) -> bool:
        return self.week in self.reference.split(", ")


def judge(
    answers: pd.DataFrame, known: pd.DataFrame, own: Mapping[str, pd.DataFrame]
) -> list[PlaceWeek]:
    """Every place in every week of `answers`, by week and place.

    With the last week, its places are judged by all their weeks together, too, but for accepted
    ones: what is too slight to be seen in one adds up.

    Args:
        answers: of `with_truth`, by the model of `known`.
        known: the model's reference.
        own: of places with accepted weeks, these rows of `read_answers`.
    """
    weeks = [
        {(str(place), str(week)): mine for place, mine in rows.groupby("place")}
        for week, rows in answers.groupby("week")
    ]
    weeks[-1] |= _together(answers, weeks[-1], own)
    return [row for parts in weeks for row in _judge(parts, known, own)]


def _together(
    answers: pd.DataFrame, last: Iterable[PlaceAndWeek], own: Mapping[str, pd.DataFrame]
) -> dict[PlaceAndWeek, pd.DataFrame]:
    found = {}
    for place, week in last:
        accepted = set(own[place]["week"]) if place in own else set()
        mine = answers[(answers["place"] == place) & ~answers["week"].isin(accepted)]
        if week not in accepted and (first := mine["week"].min()) < week:
            found[place, f"{first}{TO}{week}"] = mine
    return found


def _judge(
    parts: Mapping[PlaceAndWeek, pd.DataFrame], known: pd.DataFrame, own: Mapping[str, pd.DataFrame]
) -> Iterator[PlaceWeek]:
    answered = {key: mine[mine["error"].isna()] for key, mine in parts.items()}
    pairs = {
        (place, week): _pair(own.get(place, known), mine, usual=place in own)
        for (place, week), mine in answered.items()
        if len(mine) >= FEWEST and not (place in own and week in set(own[place]["week"]))
    }
    found: dict[PlaceAndWeek, dict[str, float]] = {key: {} for key in parts}
    for (key, name), p in p_values(pairs).items():
        found[key][name] = p
    for (place, week), mine in answered.items():
        reference = own.get(place, known)
        yield PlaceWeek(
            place=place,
            week=week,
            photographs=len(mine),
            unread=len(parts[place, week]) - len(mine),
            unknown=float((mine["rank"] == UNKNOWN).mean()) if len(mine) else 0.0,
            unsure=float(is_unsure(mine).mean()) if len(mine) else 0.0,
            confidence=float(mine["confidence"].mean()) if len(mine) else 0.0,
            mix=_mix(mine),
            usual=_mix(reference),
            reference=", ".join(sorted(set(own[place]["week"]))) if place in own else PROJECT,
            p=found[place, week],
            new=_new(mine),
        )


def _pair(reference: pd.DataFrame, week: pd.DataFrame, usual: bool) -> Pair:
    numbers: Sequence[str] = NUMBERS
    if TRAIN in set(reference.get("part", ())):  # other classifiers' confidence, see reference.py
        numbers = [name for name in NUMBERS if name != "confidence"]
    return Pair(as_sample(reference, numbers), as_sample(week, numbers), usual)


def _new(rows: pd.DataFrame) -> dict[str, int]:
    reviewed = rows[rows["truth"].notna()]
    pairs = zip(reviewed["truth"], reviewed["known"], strict=True)
    return dict(Counter(truth for truth, known in pairs if truth not in known).most_common())


def _mix(rows: pd.DataFrame) -> dict[str, float]:
    shares = rows["species"].value_counts(normalize=True)
    return {str(name): float(share) for name, share in shares.items()}
