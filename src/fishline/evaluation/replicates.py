"""Runs that differ in one parameter alone, such as a seed: what of a result is the recipe's.

A recipe is all that a run logged as its parameters but that one, and the data. Parameters of a
fine-tuning hold those of its base model, so that runs of one recipe whose base models were trained
with the same other seeds are replicates, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from fishline.tracking import search
from fishline.tracking.search import Run

DATA = "data.hash"
MAKES_DATA = ("data.", "sample.")  # sections of params.yaml whose values decide the photographs
SEEDS = ("seed", "split.seed")


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (of a sample: n − 1) and extremes of one metric over replicates."""

    mean: float
    sd: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Replicates:
    """Runs of one recipe.

    recipe: the parameters that they share, and `data.hash`
    runs:   the newest of each value of the parameter in which they differ
    """

    recipe: Mapping[str, str]
    runs: Mapping[str, Run]

    def spread(self, metric: str = "test_accuracy") -> Spread | None:
        """Of a metric; None if a run lacks it or there are fewer than two."""
        scores = [run.metrics[metric] for run in self.runs.values() if metric in run.metrics]
        if len(scores) < max(2, len(self.runs)):
            return None
        return Spread(mean(scores), stdev(scores), min(scores), max(scores))


def evaluated_runs(stage: str, condition: str = "") -> list[Run]:
    """The finished runs of `stage` that were tested, newest first; one request.

    Args:
        condition: what else they fulfil, in MLflow's search words.
    """
    conditions = [f"tags.`dvc.stage` = '{stage}'", "attributes.status = 'FINISHED'", condition]
    finished = search.runs(" AND ".join(filter(None, conditions)))
    return [run for run in finished if "test_accuracy" in run.metrics]


def recipe_of(run: Run, over: str) -> dict[str, str]:
    """The parameters of `run` but `over`, and its data, unless `over` decides which these are."""
    recipe = {key: value for key, value in run.params.items() if key != over}
    if not over.startswith(MAKES_DATA):
        recipe[DATA] = run.tags.get(DATA, "")
    return recipe


def replicates(runs: Sequence[Run], over: str) -> list[Replicates]:
    """`runs`, newest first, by recipe; those without the parameter `over` are left out."""
    groups: dict[frozenset[tuple[str, str]], dict[str, Run]] = {}
    for run in runs:
        if over in run.params:
            group = groups.setdefault(frozenset(recipe_of(run, over).items()), {})
            group.setdefault(run.params[over], run)
    return [
        Replicates(dict(recipe), {value: runs[value] for value in sorted(runs, key=_natural)})
        for recipe, runs in groups.items()
    ]


def _natural(value: str) -> tuple[int, str]:
    """Sorts whole numbers by size."""
    return len(value), value


def over_seeds(run: Run) -> dict[str, Replicates]:
    """By seed (`SEEDS`), the runs otherwise like `run`, where there are two values or more."""
    condition = f"tags.`{DATA}` = '{run.tags.get(DATA)}'"
    alike = evaluated_runs(run.tags.get("dvc.stage", ""), condition)
    return {
        seed: group
        for seed in SEEDS
        for group in replicates(alike, seed)
        if group.recipe == recipe_of(run, seed) and len(group.runs) > 1
    }
