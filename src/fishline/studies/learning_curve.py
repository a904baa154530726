"""`fishline curve`: how many photographs of a new species are enough?

Fine-tunes the base model with few photographs of each new species (subsampling.py), several
times for each size: other photographs, another start of the last layer, another order of the
images. `all` too is trained several times, where only the last two vary. The interval is
Student's, for the mean over draws. The test images are the same throughout: it does not say what
others would give.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pandas as pd

from fishline.core.errors import UserError
from fishline.core.params import PATH, Params, load_params
from fishline.core.paths import run_record
from fishline.core.roles import BASE, FINETUNED
from fishline.data.dataset import Images, model_images
from fishline.data.prepare.leaks import leaked
from fishline.studies.learning_curve_tables import print_tables, summarize, write
from fishline.studies.subsampling import FineTuner, count_photographs, draw_photographs
from fishline.tracking import run, store
from fishline.tracking.metric_buffer import LOST, MetricBuffer
from fishline.tracking.provenance import base_tags, run_tags, stage_params

METRICS = {
    "images": "images",
    "accuracy": "test_accuracy",
    "low": "test_accuracy_low",
    "high": "test_accuracy_high",
    "lowest": "test_accuracy_lowest",
    "highest": "test_accuracy_highest",
}


def read_sizes(text: str, most: int) -> list[int]:
    """Numbers of photographs, given as in "1,2,5,all", rising; `all` is `most`.

    Raises:
        UserError: something else stands there.
    """
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not re.fullmatch(r"all|[1-9][0-9]{0,8}", word):
            raise UserError(
                f"--photographs: '{word}' is neither a whole number above 0 nor 'all'; "
                "give it as in 1,2,5,all"
            )
    return sorted({most if word == "all" else int(word) for word in words})


def main(photographs: str, draws: int) -> None:
    params = load_params()
    if not params.finetune.species:
        raise UserError(
            f"{PATH}: finetune.species is empty, and without new species there is nothing to "
            "fine-tune with few photographs"
        )
    subsets = model_images(FINETUNED, params)
    counts = count_photographs(subsets["train"].table, params.finetune.species)
    most = max(counts.values())
    sizes_wanted = read_sizes(photographs, most)
    sizes = sorted({min(size, most) for size in sizes_wanted})
    tuner = FineTuner(params, subsets)
    _say_what(sizes_wanted, counts, subsets)
    options = {"curve.photographs": ", ".join(map(str, sizes)), "curve.draws": draws}
    logged = stage_params(FINETUNED.stage, params) | options
    tables = [images.table for images in subsets.values()]
    tags = run_tags("curve", tables, params.split.strategy) | base_tags(run_record(BASE.folder))
    with run.stage_run("curve", logged, subsets, tags, system_metrics=params.system_metrics) as log:
        measured = pd.DataFrame()
        for size in sizes:
            of_size = _measure(tuner, params, subsets["train"].table, size, draws)
            measured = pd.concat([measured, of_size], ignore_index=True)
            metrics = _metrics(measured)
            click.echo(f"curve: {size} photographs: test accuracy {metrics['test_accuracy']:.3f}")
            log.add(metrics, size)
            log.send()
        title = f"finetune.train: {params.finetune.train}, finetune.mode: {params.finetune.mode}"
        _log(log, write(measured, title))
    print_tables(measured, most)


def _say_what(
    sizes_wanted: Sequence[int], counts: Mapping[str, int], subsets: Mapping[str, Images]
) -> None:
    most = max(counts.values())
    click.echo(
        "curve: photographs to train with: "
        + ", ".join(f"{name} {count}" for name, count in counts.items())
    )
    if min(counts.values()) < min(max(sizes_wanted), most):
        click.echo("A species that has fewer than are asked for gives all that it has.")
    if max(sizes_wanted) > most:
        click.echo(f"No species has {max(sizes_wanted)}: that is cut to {most}, which is all.")
    copies = leaked(pd.concat([images.table for images in subsets.values()]))
    if copies:
        click.echo(
            f"{copies} test images show a photograph that is also in training: the accuracies are "
            "not those of new photographs. Set split.strategy to grouped."
        )


def _measure(
    tuner: FineTuner, params: Params, table: pd.DataFrame, size: int, draws: int
) -> pd.DataFrame:
    """Train on `draws` draws of `size` photographs: for each draw, the recall of each species."""
    species = params.finetune.species
    tables = []
    for number in range(1, draws + 1):
        positions = draw_photographs(table, species, size, (params.seed, number))
        images = int(table["species"].iloc[positions].isin(species).sum())
        title = f"curve: photographs {size}, draw {number} of {draws}"
        right = tuner.right(positions, (params.seed + number - 1) % 2**32, title)
        recalls = right.groupby(level=0).mean().rename_axis("species").reset_index(name="recall")
        drawn = {"photographs": size, "draw": number, "images": images, "accuracy": right.mean()}
        tables.append(recalls.assign(**drawn))
    return pd.concat(tables, ignore_index=True)


def _metrics(measured: pd.DataFrame) -> dict[str, float]:
    """The metrics of the last size, without what one draw alone does not give."""
    last = summarize(measured).iloc[-1].rename(METRICS)
    return {name: float(last[name]) for name in METRICS.values() if pd.notna(last[name])}


def _log(log: MetricBuffer, files: list[Path]) -> None:
    try:
        log.finish()
        run.log_files(files, "curve")
    except LOST as error:
        raise UserError(
            f"{store.tracking_uri()} does not take the results: {error}\n"
            f"They stand in {' and '.join(map(str, files))}."
        ) from None
