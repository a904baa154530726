"""Curves as SVG to stand within a page: text and axes take the colour of what is around them."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

INK = "#123456"  # becomes the page's own colour
FIRST, SECOND = "#3b82c4", "#e08a1e"  # to be seen on white and on black
STYLE: Any = {
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"], INK
    ),
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "fishline",  # the same bytes every time
}


def curves(table: pd.DataFrame) -> list[str]:
    """Two pictures: loss, and accuracy on the validation images, by epoch.

    Args:
        table: columns epoch, train_loss, val_loss and val_accuracy.
    """
    with matplotlib.rc_context(STYLE):
        loss, accuracy = (Figure(figsize=(3.6, 2.5), layout="constrained") for _ in range(2))
        axes = loss.subplots()
        axes.plot(table["epoch"], table["train_loss"], color=FIRST, label="training")
        axes.plot(table["epoch"], table["val_loss"], color=SECOND, label="validation")
        axes.set(xlabel="epoch", ylabel="loss")
        axes.legend()
        other = accuracy.subplots()
        other.plot(table["epoch"], table["val_accuracy"], color=SECOND)
        other.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1.02))
        for each in (axes, other):
            each.grid(alpha=0.25)
            each.locator_params(axis="x", integer=True)
        return [_svg(loss, "Loss by epoch"), _svg(accuracy, "Validation accuracy by epoch")]


def reliability(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> str:
    """How often the model is right where it says so many percent, in bins of as many images each.

    Args:
        confidence: (n,), the probability of the predicted species.
        right: (n,), whether that is the species.
    """
    from sklearn.calibration import calibration_curve

    bins = max(1, min(10, len(right) // 20))
    share, said = calibration_curve(right, confidence, n_bins=bins, strategy="quantile")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linestyle=":", label="as it should be")
        axes.plot(said, share, color=FIRST, marker="o", label="test images")
        axes.set(xlabel="probability given", ylabel="share that is right")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="upper left")
        axes.grid(alpha=0.25)
        return _svg(figure, "Share of right answers by the probability that was given")


def _svg(figure: Figure, title: str) -> str:
    out = io.StringIO()
    figure.savefig(
        out,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Title": title},
    )
    text = out.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
