"""What is in the data, as charts: pictures of `explore`.

Matplotlib's figures without pyplot; the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fishline.core.files import write_figure
from fishline.data.contact_sheet import plain
from fishline.data.explore.statistics import counts

COLOURS = {"train": "#31688e", "validation": "#35b779", "test": "#f0a202"}
NAMES = {"train": "training", "validation": "validation", "test": "test"}

_DPI = 100
_SPECIES = 40  # bars that a chart can hold


def write_counts(path: Path, images: pd.DataFrame, species: Sequence[str]) -> None:
    """Bars: images and photographs per species and subset (of many species, the extremes)."""
    shown = few(species, counts(images, species)["images"], _SPECIES)
    figure = Figure(figsize=(10, 1.3 + 0.32 * len(shown)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, what in zip(panels, ("images", "photographs"), strict=True):
        left = np.zeros(len(shown))
        for subset, colour in COLOURS.items():
            numbers = counts(images, shown, subset)[what].to_numpy()
            label = NAMES[subset]
            bars = axes.barh(range(len(shown)), numbers, left=left, color=colour, label=label)
            if numbers.min() > 0.05 * (left + numbers).max():
                axes.bar_label(bars, label_type="center", color="white", fontsize=8)
            left += numbers
        axes.set(title=f"{what} per species", xlabel=what)
        axes.set_yticks(range(len(shown)), [plain(name) for name in shown])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    write_figure(path, figure, _DPI)


def write_processing(path: Path, images: pd.DataFrame) -> None:
    """Three panels: sizes, black pixels, and the angles between copies."""
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    sizes, black, angles = figure.subplots(1, 3)
    _sizes(sizes, images)
    share = images["black"].to_numpy()
    black.hist(share, bins=np.linspace(0, max(0.1, share.max()), 31), color="#444444")
    black.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    black.set(title="black part of a picture", xlabel="black pixels", ylabel="images")
    _angles(angles, images.dropna(subset=["angle"]))
    for axes in (sizes, black, angles):
        axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure, _DPI)


def _sizes(axes: Axes, images: pd.DataFrame) -> None:
    sizes = images.groupby(["width", "height"]).size().reset_index(name="images")
    area = 20 + 280 * sizes["images"] / sizes["images"].max()
    axes.scatter(sizes["width"], sizes["height"], s=area, color="#31688e", alpha=0.6)
    single = f"one size: {sizes['width'][0]} × {sizes['height'][0]}"
    many = f"{len(sizes):,} sizes (large dots: many images)"
    axes.set(title=single if len(sizes) == 1 else many, xlabel="width, pixels")
    axes.set(xlim=(0, 1.2 * sizes["width"].max()), ylim=(0, 1.2 * sizes["height"].max()))
    axes.set(ylabel="height, pixels")


def _angles(axes: Axes, turned: pd.DataFrame) -> None:
    # The bins lie around the multiples of 10°, so that an angle just below one falls to it.
    values = [
        (turned.loc[turned["mirrored"] == mirrored, "angle"] + 5) % 360 - 5
        for mirrored in (False, True)
    ]
    labels = ("turned only", "mirrored and turned")
    bins = list(range(-5, 356, 10))
    axes.hist(values, bins, stacked=True, label=labels, color=["#31688e", "#f0a202"])
    axes.set(title="copies: angle to the first file", xlabel="degrees, clockwise", ylabel="images")
    axes.set_xticks(range(0, 360, 45))
    if len(turned):
        axes.margins(y=0.25)
        axes.legend(ncols=2, fontsize=8, loc="upper center", frameon=False)
    else:
        axes.text(0.5, 0.5, "no copies", transform=axes.transAxes, ha="center")


def few(species: Sequence[str], numbers: pd.Series[int], most: int) -> list[str]:
    """At most so many species, in order: those with the largest and the smallest numbers."""
    if len(species) <= most:
        return list(species)
    ordered = numbers.sort_values(ascending=False, kind="stable").index
    kept = {*ordered[: most // 2], *ordered[-(most // 2) :]}
    return [name for name in species if name in kept]
