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
import numpy as np
import pandas as pd

from fishline.core.errors import UserError
from fishline.core.files import write_csv, write_figure
from fishline.core.params import Params, load_params
from fishline.core.paths import PLOTS, run_record
from fishline.core.roles import BASE, FINETUNED
from fishline.data.dataset import Images, model_images
from fishline.data.prepare.leaks import leaked
from fishline.studies.intervals import student_interval
from fishline.studies.subsampling import FineTuner, count_photographs, draw_photographs
from fishline.tracking import run, store
from fishline.tracking.metric_buffer import LOST, MetricBuffer
from fishline.tracking.provenance import base_tags, run_tags, stage_params

CONFIDENCE = 0.95
INTERVAL = f"{CONFIDENCE:.0%} interval"
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


def summarize(draws: pd.DataFrame) -> pd.DataFrame:
    """A row per size: mean accuracy, Student's interval of it (from two draws on), extremes.

    Args:
        draws: columns photographs, images and accuracy, a row per training.
    """
    sizes = draws.groupby("photographs")
    scores = sizes["accuracy"]
    bounds = [student_interval(accuracies.to_numpy(), CONFIDENCE) for _, accuracies in scores]
    low, high = np.transpose(bounds)  # of each size
    table = pd.DataFrame(
        {
            "images": sizes["images"].mean(),
            "draws": scores.count(),
            "accuracy": scores.mean(),
            "low": np.maximum(low, 0),
            "high": np.minimum(high, 1),
            "lowest": scores.min(),
            "highest": scores.max(),
        }
    )
    return table.reset_index()


def write(draws: pd.DataFrame, title: str) -> list[Path]:
    """Write `plots/curve.csv` (a row per size), `curve-draws.csv` (one per draw), `curve.png`."""
    from matplotlib.figure import Figure

    table = summarize(draws)
    sizes, mean = table["photographs"], table["accuracy"]
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    error = [mean - table["low"], table["high"] - mean]
    axes.errorbar(sizes, mean, error, marker="o", capsize=4, label=f"mean, {INTERVAL}")
    axes.plot(draws["photographs"], draws["accuracy"], "k.", zorder=3, label="one draw")
    axes.set_xscale("log")
    axes.set_xticks(sizes, sizes.astype(str))
    axes.minorticks_off()
    axes.set(xlabel="photographs of each new species", ylabel="test accuracy", title=title)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    paths = [PLOTS / name for name in ("curve.csv", "curve-draws.csv", "curve.png")]
    write_csv(paths[0], table)
    write_csv(paths[1], draws)
    write_figure(paths[2], figure, 110)
    return paths


def main(photographs: str, draws: int) -> None:
    params = load_params()
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
        rows: list[dict[str, float]] = []
        for size in sizes:
            rows += _measure(tuner, params, subsets["train"].table, size, draws)
            metrics = _metrics(pd.DataFrame(rows))
            click.echo(f"curve: {size} photographs: test accuracy {metrics['test_accuracy']:.3f}")
            log.add(metrics, size)
            log.send()
        table = pd.DataFrame(rows)
        title = f"finetune.train: {params.finetune.train}, finetune.mode: {params.finetune.mode}"
        _log(log, write(table, title))
    _print(summarize(table), most)


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
) -> list[dict[str, float]]:
    """Train on `draws` draws of `size` photographs, a row for each."""
    species = params.finetune.species
    rows: list[dict[str, float]] = []
    for number in range(1, draws + 1):
        positions = draw_photographs(table, species, size, (params.seed, number))
        images = int(table["species"].iloc[positions].isin(species).sum())
        title = f"curve: photographs {size}, draw {number} of {draws}"
        accuracy = tuner.accuracy(positions, (params.seed + number - 1) % 2**32, title)
        rows.append({"photographs": size, "draw": number, "images": images, "accuracy": accuracy})
    return rows


def _metrics(draws: pd.DataFrame) -> dict[str, float]:
    """The metrics of the last size, without what one draw alone does not give."""
    last = summarize(draws).iloc[-1].rename(METRICS)
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


def _print(table: pd.DataFrame, most: int) -> None:
    def text(column: str) -> pd.Series[str]:
        return table[column].map(lambda value: "" if pd.isna(value) else f"{value:.3f}")

    shown = pd.DataFrame(
        {
            "photographs": table["photographs"].map(lambda n: f"{n} (all)" if n == most else n),
            "images": table["images"].round().astype(int),
            "draws": table["draws"],
            "accuracy": text("accuracy"),
            INTERVAL: text("low") + "–" + text("high"),
            "lowest": text("lowest"),
            "highest": text("highest"),
        }
    )
    print("Test accuracy on the new species; photographs of each, images of all of them together:")
    print(shown.to_string(index=False))
    print(f"{INTERVAL}: Student's, of the mean over draws; on the same test images throughout.")
