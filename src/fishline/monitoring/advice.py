"""What an alarm means, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from fishline.monitoring.drift import LOOK, MIX, UNSURE
from fishline.monitoring.weeks import NEW, PROJECT, TO, PlaceWeek

REVIEW = "`fishline app`, page Review, source Unsure answers"
LEARN = "`fishline ingest --reviewed` and `dvc repro` train with what reviewers decided"
SHOWN = 3  # species


def advice(row: PlaceWeek, said: Collection[str] = ()) -> list[str]:
    """A text for each alarm of `row` but those that are `said` already."""
    return [_TEXTS[name](row) for name in row.alarms if name not in said]


def title(row: PlaceWeek) -> str:
    return f"{row.place or 'no place'}, {row.week.replace(TO, ' to ')}"


def _compared(row: PlaceWeek) -> str:
    return f"the {row.reference}" if row.reference == PROJECT else f"those of {row.reference}"


def _accept(row: PlaceWeek) -> str:
    return f"`fishline watch --accept {row.last_week} --place {shlex.quote(row.place)}`"


def _look(row: PlaceWeek) -> str:
    return (
        f"The photographs do not look like {_compared(row)}. See to the camera: lens, light, where "
        f"it hangs. Then look whether answers are right: {REVIEW}. If they are, and photographs "
        f"will look like this, {_accept(row)} makes {row.last_week} what is usual there; if not, "
        f"{LEARN}."
    )


def _unsure(row: PlaceWeek) -> str:
    return (
        f"{row.unsure:.0%} of the answers name no species, more than among {_compared(row)}. "
        f"Review them: {REVIEW}. Then {LEARN}; a species that is new to the model goes into "
        "params.yaml first."
    )


def _mix(row: PlaceWeek) -> str:
    names = sorted(
        {*row.mix, *row.usual},
        key=lambda name: (-abs(row.mix.get(name, 0) - row.usual.get(name, 0)), name),
    )
    changed = ", ".join(
        f"{name} {row.mix.get(name, 0):.0%} ({row.usual.get(name, 0):.0%})"
        for name in names[:SHOWN]
    )
    return (
        f"Other species than among {_compared(row)}: {changed}. If that is the catch, "
        f"{_accept(row)} makes it usual there; if not, review the answers: {REVIEW}."
    )


def _new(row: PlaceWeek) -> str:
    named = ", ".join(f"{name or 'none of the species'} {n:,}" for name, n in row.new.items())
    return (
        f"Reviewers found photographs of what the model was not trained for: {named}. If more will "
        f"come, put the species into params.yaml; {LEARN}."
    )


_TEXTS = {LOOK: _look, UNSURE: _unsure, MIX: _mix, NEW: _new}
