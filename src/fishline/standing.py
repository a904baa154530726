"""How a registered version stands to others: to the champion, to what else was frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from fishline import registry
from fishline.compare import on_same_photographs, verdict
from fishline.errors import UserError
from fishline.moves import CHAMPION
from fishline.paired import Difference, difference
from fishline.params import Part
from fishline.registry import Run, Version


@dataclass(frozen=True)
class Standing:
    """One version against another on the same photographs.

    found:   what parts `other` (a) from it (b); None if they cannot be compared
    verdict: that, or why not, in a sentence
    """

    other: Version
    found: Difference | None
    note: str
    verdict: str


@dataclass(frozen=True)
class Way:
    """A fine-tuning with this value of `finetune.train`, all else but `finetune.*` being the same.

    run:      None if there is none yet
    standing: against the model at hand; None for itself
    """

    train: str
    run: Run | None = None
    version: Version | None = None
    standing: Standing | None = None


def against(mine: Version, other: Version) -> Standing:
    """`mine` against `other`, on recorded predictions if they are of the same images."""
    try:
        paired = on_same_photographs(other, mine)
    except UserError as error:
        return Standing(other, None, "", error.message)
    found = difference(paired.a, paired.b)
    return Standing(other, found, paired.note, verdict(found, str(other), str(mine)))


def against_champion(mine: Version) -> Standing | None:
    """`mine` against the champion; None if there is none, or `mine` is it."""
    try:
        champion = registry.find(f"{mine.name}@{CHAMPION}")
    except UserError:
        return None
    return None if champion.number == mine.number else against(mine, champion)


def ways(mine: Version, run: Run) -> list[Way]:
    """What was frozen, in each way that there is: `run`, and the newest comparable runs."""
    finished = registry.runs(
        "tags.`dvc.stage` = 'finetune' AND attributes.status = 'FINISHED' "
        f"AND tags.`data.hash` = '{run.tags.get('data.hash')}'"
    )
    alike = [each for each in finished if comparable(run, each)]
    return [_way(part, mine, run, alike) for part in get_args(Part)]


def _way(part: str, mine: Version, run: Run, alike: Sequence[Run]) -> Way:
    if run.params["finetune.train"] == part:
        return Way(part, run, mine)
    newest = next((each for each in alike if each.params["finetune.train"] == part), None)
    if newest is None:
        return Way(part)
    try:
        version = registry.find(newest.run_id)
    except UserError:  # the version was deleted
        return Way(part, newest)
    return Way(part, newest, version, against(mine, version))


def comparable(one: Run, other: Run) -> bool:
    """Whether two fine-tunings differ in nothing but how they were trained: in `finetune.*`."""
    same = ("finetune.species", "finetune.mode")
    of_one, of_other = (
        {k: v for k, v in run.params.items() if k in same or not k.startswith("finetune.")}
        for run in (one, other)
    )
    tags = ("data.hash", "base.run_id")
    return (
        of_one == of_other
        and all(one.tags.get(tag) == other.tags.get(tag) for tag in tags)
        and "test_accuracy" in other.metrics
    )
