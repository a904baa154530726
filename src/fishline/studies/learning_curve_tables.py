"""The results of `fishline curve`: accuracy and recall by the number of photographs, as tables.

All come from one table: a row for each training and species, with the columns photographs, draw,
species, recall, and of the training as a whole images and accuracy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fishline.core.files import write_csv, write_figure
from fishline.core.paths import PLOTS
from fishline.studies.intervals import student_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIDENCE = 0.95
INTERVAL = f"{CONFIDENCE:.0%} interval"
ENOUGH = 0.95  # recall of a species


def summarize(measured: pd.DataFrame) -> pd.DataFrame:
    """A row per size: mean accuracy, Student's interval of it (from two draws on), extremes.

    Args:
        measured: a row for each training and species; columns photographs, draw, species, recall,
            and of the whole training images and accuracy.
    """
    sizes = trainings(measured).groupby("photographs")
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


def trainings(measured: pd.DataFrame) -> pd.DataFrame:
    """A row per training: photographs, draw, images, accuracy."""
    return measured[["photographs", "draw", "images", "accuracy"]].drop_duplicates()


def by_species(measured: pd.DataFrame) -> pd.DataFrame:
    """The mean recall of each species (a column each, in their order) by photographs (rows)."""
    order = list(dict.fromkeys(measured["species"]))
    return measured.pivot_table("recall", "photographs", "species")[order]


def enough(measured: pd.DataFrame, recall: float = ENOUGH) -> dict[str, int | None]:
    """For each species the fewest photographs, of those tried, from which on `recall` is reached.

    In the mean over draws, and with all larger numbers as well; None where it is not.
    """
    reached = by_species(measured).iloc[::-1].ge(recall - 1e-9).cummin()  # from the largest down
    return {
        str(name): int(reached.index[column].min()) if column.any() else None
        for name, column in reached.items()
    }


def write(measured: pd.DataFrame, title: str) -> list[Path]:
    """Write the tables and the picture: `plots/curve*.csv` and `curve.png`.

    `curve.csv` has a row per size, `curve-draws.csv` one per training, `curve-species.csv` the
    mean recall of each species for each size.
    """
    paths = [PLOTS / f"curve{name}.csv" for name in ("", "-draws", "-species")]
    tables = summarize(measured), trainings(measured), by_species(measured).reset_index()
    for path, table in zip(paths, tables, strict=True):
        write_csv(path, table)
    write_figure(PLOTS / "curve.png", draw(measured, title), 110)
    return [*paths, PLOTS / "curve.png"]


def draw(measured: pd.DataFrame, title: str) -> Figure:
    """Accuracy over photographs: the mean with its interval, and each draw."""
    from matplotlib.figure import Figure

    table, draws = summarize(measured), trainings(measured)
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
    return figure


def print_tables(measured: pd.DataFrame, most: int) -> None:
    """The table by size, and how many photographs are enough for each species."""
    table = summarize(measured)

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
    largest = int(table["photographs"].max())
    print(
        f"Photographs, of those numbers, from which on the recall of a species is {ENOUGH:g}: "
        + ", ".join(
            f"{name} {number or f'more than {largest}'}"
            for name, number in enough(measured).items()
        )
    )
