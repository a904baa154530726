"""The recipes of a model that were trained with several values of one parameter.

Each is held against the one of the best mean (paired_differences.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fishline.core.errors import UserError
from fishline.core.roles import ROLES
from fishline.evaluation.replicates import Replicates, Spread, evaluated_runs, replicates
from fishline.evaluation.statistics import MEASURES
from fishline.studies.paired_differences import PairedDifference, paired_difference
from fishline.tracking import store


@dataclass(frozen=True)
class RecipeComparison:
    """Recipes over one parameter.

    recipes:     with two values or more, the best first
    differences: of the first from each of the others
    single:      how many recipes have one value alone
    """

    model: str
    over: str
    recipes: list[Replicates]
    differences: list[PairedDifference]
    single: int

    @property
    def params(self) -> list[dict[str, str | None]]:
        """Of each recipe, the parameters that are not the same in all; None where it lacks one."""
        recipes = [group.recipe for group in self.recipes]
        keys = sorted({key for recipe in recipes for key in recipe})
        differing = [key for key in keys if len({recipe.get(key) for recipe in recipes}) > 1]
        return [{key: recipe.get(key) for key in differing} for recipe in recipes]

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "model": self.model,
            "over": self.over,
            "recipes": [
                {
                    "params": params,
                    "runs": {value: run.run_id for value, run in recipe.runs.items()},
                    **{name: _as_dict(recipe.spread(f"test_{name}")) for name in MEASURES},
                }
                for params, recipe in zip(self.params, self.recipes, strict=True)
            ],
            "differences": [
                asdict(d) | {"better": d.better, "verdict": d.verdict} for d in self.differences
            ],
            "recipes_with_one_value": self.single,
        }


def _as_dict(spread: Spread | None) -> dict[str, float] | None:
    return asdict(spread) if spread else None


def compare_recipes(model: str, over: str) -> RecipeComparison:
    """The recipes of a registered model by its finished and tested runs.

    Raises:
        UserError: there is no such model, or no recipe that was trained with two values of `over`.
    """
    stages = {role.registered: role.stage for role in ROLES.values()}
    if model not in stages:
        raise UserError(f"--over is for the recipes of {' or '.join(stages)}, not for '{model}'")
    runs = evaluated_runs(stages[model])
    if not runs:
        raise UserError(
            f"{store.tracking_uri()} has no finished and tested run of {stages[model]} in the "
            f"experiment '{store.experiment_name()}'; `dvc repro` trains and tests"
        )
    if not any(over in run.params for run in runs):
        raise UserError(
            f"--over: no run of {stages[model]} has a parameter '{over}'; name one as in "
            "params.yaml, such as seed or split.seed"
        )
    recipes = replicates(runs, over)
    several = [recipe for recipe in recipes if len(recipe.runs) > 1]
    if not several:
        raise UserError(
            f"no recipe of {model} was trained with two values of {over}; `dvc exp run --queue -S "
            f"'{over}=…'`, with values such as 1,2,3, and `dvc queue start` train it with each"
        )
    best, *others = sorted(several, key=_mean, reverse=True)
    differences = [paired_difference(best, other, n, over) for n, other in enumerate(others, 2)]
    return RecipeComparison(model, over, [best, *others], differences, len(recipes) - len(several))


def _mean(recipe: Replicates) -> float:
    spread = recipe.spread()
    return spread.mean if spread else 0.0
