"""How a registered version stands to others: to the champion, to what else was frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import pandas as pd

from fishline.core.errors import UserError
from fishline.core.text import many
from fishline.core.training_params import Trainable
from fishline.evaluation import retest
from fishline.evaluation.statistics import Difference, difference, group_of
from fishline.tracking import search, versions
from fishline.tracking.search import Run
from fishline.tracking.versions import CHAMPION, Version


@dataclass(frozen=True)
class Comparison:
    """One version against another on the same photographs.

    difference: of `other` (a) and it (b); None if they cannot be compared
    verdict:    that, or why not, in a sentence
    """

    other: Version
    difference: Difference | None
    note: str
    verdict: str


@dataclass(frozen=True)
class FreezeVariant:
    """A fine-tuning with this value of `finetune.train`, all else but `finetune.*` being the same.

    run:        None if there is none yet
    comparison: against the model at hand; None for itself
    """

    train: str
    run: Run | None = None
    version: Version | None = None
    comparison: Comparison | None = None


def against(mine: Version, other: Version) -> Comparison:
    """`mine` against `other`, on recorded predictions if they are of the same images."""
    try:
        paired = on_same_photographs(other, mine)
    except UserError as error:
        return Comparison(other, None, "", error.message)
    measured = difference(paired.a, paired.b)
    return Comparison(other, measured, paired.note, verdict(measured, str(other), str(mine)))


def against_champion(mine: Version) -> Comparison | None:
    """`mine` against the champion; None if there is none, or `mine` is it."""
    try:
        champion = versions.find(f"{mine.name}@{CHAMPION}")
    except UserError:
        return None
    return None if champion.number == mine.number else against(mine, champion)


def freeze_variants(mine: Version, run: Run) -> list[FreezeVariant]:
    """What was frozen, in each way that there is: `run`, and the newest comparable runs."""
    finished = search.runs(
        "tags.`dvc.stage` = 'finetune' AND attributes.status = 'FINISHED' "
        f"AND tags.`data.hash` = '{run.tags.get('data.hash')}'"
    )
    alike = [candidate for candidate in finished if comparable(run, candidate)]
    return [
        _freeze_variant(train, mine, run, alike) for train in get_args(Trainable) if train != "auto"
    ]


def _freeze_variant(train: str, mine: Version, run: Run, alike: Sequence[Run]) -> FreezeVariant:
    if run.params["finetune.train"] == train:
        return FreezeVariant(train, run, mine)
    newest = next((other for other in alike if other.params["finetune.train"] == train), None)
    if newest is None:
        return FreezeVariant(train)
    try:
        version = versions.find(newest.run_id)
    except UserError:  # the version was deleted
        return FreezeVariant(train, newest)
    return FreezeVariant(train, newest, version, against(mine, version))


def comparable(first: Run, second: Run) -> bool:
    """Whether two fine-tunings differ in nothing but how they were trained: in `finetune.*`."""
    same = ("finetune.species", "finetune.mode")
    of_one, of_other = (
        {k: v for k, v in run.params.items() if k in same or not k.startswith("finetune.")}
        for run in (first, second)
    )
    tags = ("data.hash", "base.run_id")
    return (
        of_one == of_other
        and all(first.tags.get(tag) == second.tags.get(tag) for tag in tags)
        and "test_accuracy" in second.metrics
    )


@dataclass(frozen=True)
class Paired:
    """Predictions of two models of the same images in the same order.

    a, b: columns sha256, original, group, species and predicted
    note: where they come from, a sentence
    """

    a: pd.DataFrame
    b: pd.DataFrame
    note: str


def on_same_photographs(a: Version, b: Version) -> Paired:
    """The recorded predictions, if they are of the same images; else both models', made now.

    Then both are tested on the newer one's test images, without photographs that either was
    trained or chosen on.

    Raises:
        UserError: the models know different species, no photograph is left, or the images are
            not in the present cache.
    """
    recorded = [retest.recorded(version, retest.PREDICTIONS) for version in (a, b)]
    of_a, of_b = recorded
    if of_a is not None and of_b is not None and set(of_a["sha256"]) == set(of_b["sha256"]):
        _require_same_species(a, set(of_a["species"]), b, set(of_b["species"]))
        return _aligned(of_a, of_b, "as recorded: both were tested on the same images")
    tables = [retest.required(version, retest.SPLIT) for version in (a, b)]
    _require_same_species(a, set(tables[0]["species"]), b, set(tables[1]["species"]))
    newer, table = max(zip((a, b), tables, strict=True), key=lambda pair: pair[0].created)
    test = table[table["part"] == "test"]
    seen = retest.left_out(test, tables)
    both = of_a is not None and of_b is not None
    why = "they were tested on different images" if both else "one was not tested"
    out = many(test.loc[seen, "original"].nunique(), "photograph")
    note = (
        f"{why}; both tested now on the test images of {newer}, without {out} that one of them "
        "was trained or chosen on"
    )
    if seen.all():
        raise UserError(f"{a} and {b} cannot be compared: {note}, and none is left")
    left = test[~seen]
    of_a, of_b = (retest.predictions(version, left, newer) for version in (a, b))
    return _aligned(of_a, of_b, note)


def _require_same_species(a: Version, of_a: set[str], b: Version, of_b: set[str]) -> None:
    alone = [(a, sorted(of_a - of_b)), (b, sorted(of_b - of_a))]
    known = "; ".join(f"{v} alone: {', '.join(names)}" for v, names in alone if names)
    if known:
        raise UserError(f"{a} and {b} cannot be compared: they are of different species ({known})")


def _aligned(a: pd.DataFrame, b: pd.DataFrame, note: str) -> Paired:
    """Both by image; groups, photographs and species are as `b` has them."""
    a, b = (table.drop_duplicates("sha256").set_index("sha256") for table in (a, b))
    b = b[["original", "species", "predicted"]].assign(group=group_of(b))
    first = b.assign(predicted=a["predicted"])
    return Paired(first.reset_index(), b.reset_index(), note)


def verdict(difference: Difference, a: str, b: str) -> str:
    """Whether the difference is real, in a sentence."""
    if not difference.only_a + difference.only_b:
        return "No photograph parts them: either has the same ones right."
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    better = b if difference.only_b > difference.only_a else a
    judged = f"is real: {better} is better" if difference.is_real else "may be chance"
    by_photograph = difference.unit == "photograph"
    test = "McNemar, exact" if by_photograph else f"permutation of {difference.groups} groups"
    return (
        f"The difference {judged} ({test}: {p}): {a} alone has "
        f"{many(difference.only_a, 'photograph')} right, {b} alone {difference.only_b}."
    )
