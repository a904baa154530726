"""Answers that were logged, as photographs of a place and a week."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from fishline.core.errors import UserError
from fishline.data.decisions import Decision
from fishline.models.taxonomy import SPECIES
from fishline.monitoring.drift import Sample
from fishline.serving.answer_log.reader import read_log

COLUMNS = (
    "time place model model_sha256 sha256 answer rank probabilities distance features error"
).split()
NUMBERS = ("distance", "confidence")
WEEK = timedelta(weeks=1)


def week_of(time: datetime) -> str:
    """The week of ISO 8601 that a time in UTC is in, such as 2026-W40."""
    return f"{time:%G-W%V}"


def monday(week: str) -> datetime:
    """When a week begins, in UTC.

    Raises:
        UserError: there is no such week.
    """
    try:
        if re.fullmatch(r"\d{4}-W\d\d", week):
            return datetime.strptime(f"{week}-1", "%G-W%V-%u").replace(tzinfo=UTC)
    except ValueError:
        pass
    raise UserError(f"{week} is no week; weeks are called as in ISO 8601, such as 2026-W40")


def read_answers(log: str, since: datetime, until: datetime) -> pd.DataFrame:
    """A row for each photograph that was answered, and for each file that could not be read.

    A photograph that comes again counts once, where and when it came first.

    Returns:
        The columns `COLUMNS`, and instead of the probabilities the likeliest species, whatever was
        answered, and `confidence`, its probability; besides these `week`, and `known`, the species
        that the model chose from.

    Raises:
        UserError: there is no log, or it cannot be read.
    """
    rows: pd.DataFrame = read_log(log, since, until, COLUMNS).to_pandas()
    again = rows["sha256"].notna() & rows.duplicated(["sha256", "model_sha256"])
    rows = rows[~again].reset_index(drop=True)
    rows["place"] = rows["place"].fillna("")
    rows["week"] = rows["time"].map(week_of).astype(object)
    likeliest = [max(shares or [("", 0.0)], key=_share) for shares in rows["probabilities"]]
    known = [frozenset(name for name, _ in shares or []) for shares in rows["probabilities"]]
    rows["known"] = pd.Series(known, rows.index, object)
    rows["species"] = np.array([name for name, _ in likeliest], object)
    rows["confidence"] = [share for _, share in likeliest]
    return rows.drop(columns="probabilities")


def with_truth(rows: pd.DataFrame, decisions: Mapping[str, Decision]) -> pd.DataFrame:
    """Rows of `read_answers` with `truth`: the species that reviewers decided for, "" for none of
    them, missing where nobody has decided.

    Args:
        decisions: those that stand, by SHA-256.
    """
    truth = rows["sha256"].map({sha: decision.after for sha, decision in decisions.items()})
    return rows.assign(truth=truth)


def _share(pair: tuple[str, float]) -> float:
    return pair[1]


def as_sample(rows: pd.DataFrame, numbers: Sequence[str] = NUMBERS) -> Sample:
    """Rows of `read_answers` or of a reference; `numbers` are the columns besides features."""
    seen = np.stack(list(rows["features"]))
    values = np.c_[seen, rows[list(numbers)]].astype(np.float64)
    return Sample(values, rows["species"].to_numpy(object), is_unsure(rows).to_numpy(bool))


def is_unsure(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether each answer is no species: a genus or family, or "unknown"."""
    return rows["rank"] != SPECIES
