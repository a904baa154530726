"""`fishline compare --over PARAM MODEL`: recipes, each trained with several values of PARAM.

Prints them and what parts them (recipes.py), and logs the same as one MLflow run, in which a step
is a recipe.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping

import click
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.core.errors import UserError
from fishline.core.text import many
from fishline.evaluation.replicates import DATA, Spread
from fishline.evaluation.statistics import MEASURES
from fishline.studies.paired_differences import CONFIDENCE, SPLIT_SEED, PairedDifference
from fishline.studies.recipes import RecipeComparison, compare_recipes
from fishline.tracking import run, store
from fishline.tracking.metric_buffer import LOST
from fishline.tracking.provenance import dvc_tags, git_tags

WIDTH = 50  # characters of a recipe in a line


def page(comparison: RecipeComparison) -> str:
    """The comparison as text."""
    over, differences = comparison.over, comparison.differences
    tables = [_recipe_table(comparison)]
    if differences:
        tables.append(_difference_table(differences))
    remarks = [f"± is the standard deviation over {over}, n the number of its values."]
    if any(d.interval for d in differences):
        remarks.append(_meaning(over))
    if comparison.single:
        remarks.append(
            f"Left out: {many(comparison.single, 'recipe')} with one value of {over} alone."
        )
    if other_images := [d for d in differences if d.left_out]:
        remarks.append("A difference between two recipes is judged on the same splits. Left out:")
        remarks += [f"  1 − {d.other}: {over} {', '.join(d.left_out)}" for d in other_images]
    return "\n\n".join([*tables, "\n".join(remarks)])


def _recipe_table(comparison: RecipeComparison) -> str:
    rows = []
    for number, recipe in enumerate(comparison.recipes, 1):
        spreads = [recipe.spread(f"test_{name}") for name in MEASURES]
        extremes = [f"{spreads[0].lowest:.3f}", f"{spreads[0].highest:.3f}"] if spreads[0] else []
        label = _label(comparison.params[number - 1])
        rows.append([str(number), label, str(len(recipe.runs)), *map(_text, spreads), *extremes])
    head = ["", "recipe", "n", "test accuracy", "macro F1", "worst recall", "lowest", "highest"]
    return _table(head, rows, [None, WIDTH, *[None] * 6])


def _label(params: Mapping[str, str | None]) -> str:
    """As in `dvc exp run -S`; the hash of the data as short as `fishline models` has it."""
    short = {key: value[:7] if key == DATA and value else value for key, value in params.items()}
    return ", ".join(f"{key}={value or 'none'}" for key, value in short.items()) or "all the same"


def _text(spread: Spread | None) -> str:
    return f"{spread.mean:.3f} ± {spread.sd:.3f}" if spread else ""


def _difference_table(differences: list[PairedDifference]) -> str:
    rows = [
        [
            f"1 − {d.other}",
            str(len(d.values)),
            "" if d.mean is None else f"{d.mean:+.3f}",
            "" if d.interval is None else f"{d.interval[0]:+.3f} … {d.interval[1]:+.3f}",
            d.verdict,
        ]
        for d in differences
    ]
    head = ["recipes", "pairs", "difference", f"{CONFIDENCE:.0%} interval", "verdict"]
    return _table(head, rows, [None] * 5)


def _table(head: list[str], rows: list[list[str]], widths: list[int | None]) -> str:
    return str(tabulate(rows, head, "simple", disable_numparse=True, maxcolwidths=widths))


def _meaning(over: str) -> str:
    mean = "The interval is Student's, of the mean difference in test accuracy"
    if over == SPLIT_SEED:
        return f"{mean},\ncorrected for splits that overlap (Nadeau & Bengio 2003)."
    if over == "seed":
        return f"{mean},\nof this one split: others may say otherwise."
    return f"{mean}."


def main(model: str, over: str, as_json: bool) -> None:
    """Print the comparison, and log it."""
    comparison = compare_recipes(model, over)
    whole = json.dumps(comparison.as_dict(), indent=2, ensure_ascii=False)
    text = page(comparison)
    click.echo(whole if as_json else text)
    with contextlib.redirect_stdout(sys.stderr):  # where MLflow says a run's address
        _log(comparison, {"compare.json": whole, "compare.txt": text})


def _log(comparison: RecipeComparison, files: Mapping[str, str]) -> None:
    params = {"compare.model": comparison.model, "compare.over": comparison.over}
    with run.stage_run("compare", params, {}, _tags(comparison)) as log:
        try:
            for step, metrics in _metrics(comparison):
                log.add(metrics, step)
            log.finish()
            for name, text in files.items():
                run.log_text(text, name)
        except LOST as error:
            raise UserError(
                f"{store.tracking_uri()} does not take the comparison: {error}"
            ) from None


def _tags(comparison: RecipeComparison) -> dict[str, str]:
    """Where it was made, and the data and the split if all recipes are of the same."""
    recipes = [group.recipe for group in comparison.recipes]
    tags = git_tags() | dvc_tags("compare")
    for key in (DATA, "split.strategy"):
        values = {recipe.get(key) for recipe in recipes}
        value = values.pop()
        if value and not values:
            tags[key] = value
    return tags


def _metrics(comparison: RecipeComparison) -> Iterator[tuple[int, dict[str, float | None]]]:
    """Of each recipe, with its number as the step."""
    for step, recipe in enumerate(comparison.recipes, 1):
        spreads = {name: recipe.spread(f"test_{name}") for name in MEASURES}
        for name, spread in spreads.items():
            if spread:
                yield step, {f"test_{name}_mean": spread.mean, f"test_{name}_sd": spread.sd}
    for d in comparison.differences:
        low, high = d.interval or (None, None)
        yield d.other, {"difference": d.mean, "difference_low": low, "difference_high": high}
