"""Two recipes, value by value of the parameter over which they were trained."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from fishline.evaluation.replicates import Replicates
from fishline.studies.intervals import student_interval

CONFIDENCE = 0.95
SPLIT_SEED = "split.seed"


@dataclass(frozen=True)
class PairedDifference:
    """The test accuracy of recipe 1, the best, less that of another.

    values:   that both were trained with, and tested on the same images
    left_out: that both were trained with, but tested on different images
    mean:     None without `values`
    interval: of the mean; None where there is none: with fewer than two values, or where all
              differences are equal, as they can be with few test images
    better:   number of the recipe that is better; None if neither is shown to be
    """

    other: int
    values: tuple[str, ...]
    left_out: tuple[str, ...]
    mean: float | None
    interval: tuple[float, float] | None

    @property
    def better(self) -> int | None:
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return 1 if self.interval[0] > 0 else self.other

    @property
    def verdict(self) -> str:
        if self.better:
            return f"{self.better} is better"
        if len(self.values) < 2:
            return "not judged: fewer than two pairs"
        if self.interval is None and self.mean:
            return "not judged: all pairs differ by the same"
        return "no difference shown"


def paired_difference(
    best: Replicates, other: Replicates, number: int, over: str
) -> PairedDifference:
    """What parts `best` from recipe `number`, by runs that were tested on the same images.

    The interval is Student's. Over `split.seed` it is corrected for splits that overlap
    (`student_interval`).
    """
    shared = [value for value in best.runs if value in other.runs]
    paired = tuple(value for value in shared if _same_test_images(best, other, value))
    left_out = tuple(value for value in shared if value not in paired)
    # Rounded: equal differences of accuracies differ in their last bits.
    changes = [round(_accuracy(best, value) - _accuracy(other, value), 12) for value in paired]
    ratio = _test_ratio(best) if over == SPLIT_SEED else 0.0
    return PairedDifference(
        number,
        paired,
        left_out,
        mean(changes) if changes else None,
        student_interval(changes, CONFIDENCE, ratio) if len(set(changes)) > 1 else None,
    )


def _same_test_images(a: Replicates, b: Replicates, value: str) -> bool:
    digests = {recipe.runs[value].test_digest for recipe in (a, b)}
    return len(digests) == 1 and digests != {""}


def _accuracy(recipe: Replicates, value: str) -> float:
    return recipe.runs[value].metrics["test_accuracy"]


def _test_ratio(recipe: Replicates) -> float:
    return float(recipe.recipe["split.test"]) / float(recipe.recipe["split.train"])
