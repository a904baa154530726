"""Curves and matrices as pictures: PNG files beside their tables, and SVG to stand within a page.

DVC plots the tables (CSV); an SVG's text and axes take the colour of what is around them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from fishline.core.files import write_csv, write_figure
from fishline.evaluation.metrics import ClassificationReport

INK = "#123456"  # in an SVG: becomes the page's own colour
FIRST, SECOND = "#3b82c4", "#e08a1e"  # to be seen on white and on black

PLAIN: Any = {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
SVG: Any = {
    **PLAIN,
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"], INK
    ),
    "axes.facecolor": "none",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "fishline",  # the same bytes every time
}


def write_curves(stem: Path, curves: pd.DataFrame, title: str) -> list[Path]:
    """`stem`.csv and `stem`.png from the columns epoch, train_loss, val_loss, val_accuracy."""
    with matplotlib.rc_context(PLAIN):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        figure.suptitle(title)
        loss, accuracy = figure.subplots(1, 2)
        _draw_curves(loss, accuracy, curves)
        return [_csv(stem, curves), _png(stem, figure)]


def write_words(path: Path, words: str) -> None:
    """A picture of one sentence, in place of one that there is nothing to draw of."""
    figure = Figure(figsize=(8, 0.6))
    figure.text(0.5, 0.5, words, ha="center", va="center")
    write_figure(path, figure, 110)


def curves_svg(curves: pd.DataFrame) -> list[str]:
    """The same two panels as SVG: loss, and accuracy on the validation images."""
    with matplotlib.rc_context(SVG):
        loss, accuracy = (Figure(figsize=(3.6, 2.5), layout="constrained") for _ in range(2))
        _draw_curves(loss.subplots(), accuracy.subplots(), curves)
        return [_svg(loss, "Loss by epoch"), _svg(accuracy, "Validation accuracy by epoch")]


def _draw_curves(loss: Axes, accuracy: Axes, curves: pd.DataFrame) -> None:
    loss.plot(curves["epoch"], curves["train_loss"], color=FIRST, label="training")
    loss.plot(curves["epoch"], curves["val_loss"], color=SECOND, label="validation")
    loss.set(xlabel="epoch", ylabel="loss")
    loss.legend()
    accuracy.plot(curves["epoch"], curves["val_accuracy"], color=SECOND)
    accuracy.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1.02))
    for axes in (loss, accuracy):
        axes.grid(alpha=0.25)
        axes.locator_params(axis="x", integer=True)


def reliability_svg(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> str:
    """How often the model is right where it says so many percent, in bins of as many images each.

    Args:
        confidence: (n,), the probability of the predicted species.
        right: (n,), whether that is the species.
    """
    from sklearn.calibration import calibration_curve

    bins = max(1, min(10, len(right) // 20))
    accuracy, predicted = calibration_curve(right, confidence, n_bins=bins, strategy="quantile")
    with matplotlib.rc_context(SVG):
        figure = Figure(figsize=(3.2, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linestyle=":", label="as it should be")
        axes.plot(predicted, accuracy, color=FIRST, marker="o", label="test images")
        axes.set(xlabel="probability given", ylabel="share that is right")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="upper left")
        axes.grid(alpha=0.25)
        return _svg(figure, "Share of right answers by the probability that was given")


def write_confusion(stem: Path, report: ClassificationReport, title: str) -> list[Path]:
    """`stem`.csv (actual, predicted: a row per image) and `stem`.png (the matrix)."""
    names = list(report.species["species"])
    edge = 2.5 + 0.65 * len(names)
    figure = Figure(figsize=(edge + 0.8, edge), layout="constrained")
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(report.matrix, display_labels=names)
    display.plot(ax=axes, cmap="Blues", colorbar=False, xticks_rotation=45)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
    axes.set(title=f"{title}\naccuracy {report.accuracy:.3f}, {report.matrix.sum()} images")
    axes.set(xlabel="predicted", ylabel="actual")
    return [_csv(stem, report.pairs), _png(stem, figure)]


def write_one_vs_rest(stem: Path, report: ClassificationReport, title: str) -> list[Path]:
    """`stem`.csv and `stem`.png: for each species, that species against all others."""
    names = list(report.species["species"])
    figure = Figure(figsize=(2.4 * len(names), 2.9), layout="constrained")
    figure.suptitle(f"{title}: one against the rest")
    columns = list(report.one_vs_rest.columns[1:])
    cells = report.one_vs_rest[columns].to_numpy().reshape(-1, 2, 2)
    for axes, name, matrix in zip(figure.subplots(1, len(names)), names, cells, strict=True):
        _small_matrix(axes, matrix, name)
    return [_csv(stem, report.one_vs_rest), _png(stem, figure)]


def _small_matrix(axes: Axes, matrix: npt.NDArray[np.int64], name: str) -> None:
    labels: Sequence[str] = ("rest", "this")
    display = ConfusionMatrixDisplay(matrix, display_labels=labels)
    display.plot(ax=axes, cmap="Blues", colorbar=False)
    display.ax_.set(title=name, xlabel="predicted", ylabel="actual")


def _csv(stem: Path, table: pd.DataFrame) -> Path:
    path = stem.with_suffix(".csv")
    write_csv(path, table)
    return path


def _png(stem: Path, figure: Figure) -> Path:
    path = stem.with_suffix(".png")
    write_figure(path, figure, 110)
    return path


def _svg(figure: Figure, title: str) -> str:
    out = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Title": title}
    figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    text = out.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
