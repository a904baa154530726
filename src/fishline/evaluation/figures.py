"""Curves and matrices as pictures; the data behind them goes to DVC as CSV beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from fishline.core.files import write_csv, write_figure
from fishline.evaluation.metrics import ClassificationReport


def write_curves(stem: Path, curves: pd.DataFrame, title: str) -> list[Path]:
    """`stem`.csv and `stem`.png from the columns epoch, train_loss, val_loss, val_accuracy."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    loss.plot(curves["epoch"], curves["train_loss"], label="training")
    loss.plot(curves["epoch"], curves["val_loss"], label="validation")
    loss.set(xlabel="epoch", ylabel="loss", title=f"{title}: loss")
    loss.legend()
    accuracy.plot(curves["epoch"], curves["val_accuracy"], color="C1")
    accuracy.set(xlabel="epoch", ylabel="accuracy", title=f"{title}: validation accuracy")
    accuracy.set_ylim(0, 1.02)
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return [_csv(stem, curves), _png(stem, figure)]


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


def _small_matrix(axes: object, matrix: npt.NDArray[np.int64], name: str) -> None:
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
