"""Photographs on a sheet, each with its caption, as one picture.

Matplotlib's figures without pyplot; the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fishline.core.files import write_figure

_DPI = 100
_CELL = 1.45  # inches: the height of a picture on a sheet
_WIDE = 4 / 3  # a cell's width over its height
_LINE = 0.1  # of a cell's height: a line of text below a picture
_LENGTH = 34  # letters of such a line


@dataclass(frozen=True)
class Picture:
    """A photograph on a sheet: pixels uint8 (h, w, 3), squashed from width / height `aspect`.

    frame: the colour of a line around it; "" for none
    """

    pixels: npt.NDArray[np.uint8]
    aspect: float
    caption: str
    frame: str = ""


Rows = Sequence[tuple[str, Sequence[Picture]]]  # each below its title, "" for none


def write_sheet(path: Path, rows: Rows) -> None:
    """Write rows of photographs in their true proportions as a PNG."""
    write_figure(path, _figure(rows), _DPI)


def draw_sheet(rows: Rows) -> npt.NDArray[np.uint8]:
    """The same as pixels, uint8 (h, w, 3)."""
    canvas = FigureCanvasAgg(_figure(rows))
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return drawn[..., :3]


def _figure(rows: Rows) -> Figure:
    columns = max(len(pictures) for _, pictures in rows)
    labels = [_LINE * (0.9 + max(p.caption.count("\n") + 1 for p in row)) for _, row in rows]
    titles = [0.22 if title else 0.0 for title, _ in rows]
    heights = [0.04 + title + 1 + label for title, label in zip(titles, labels, strict=True)]
    width, height = columns * (_WIDE + 0.06), sum(heights)
    figure = Figure(figsize=(width * _CELL, height * _CELL), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    middles = np.cumsum(heights) - labels - 0.5
    for (title, pictures), middle in zip(rows, middles.tolist(), strict=True):
        if title:
            axes.text(0.03, middle - 0.54, plain(title), fontsize=10, weight="bold", va="bottom")
        for column, picture in enumerate(pictures):
            _place(axes, picture, (column + 0.5) * (_WIDE + 0.06), middle)
    axes.set(xlim=(0, width), ylim=(height, 0))  # `imshow` moves them
    return figure


def _place(axes: Axes, picture: Picture, x: float, y: float) -> None:
    """One picture in the middle of its cell, as large as fits, its caption below."""
    caption = "\n".join(_short(line) for line in picture.caption.split("\n"))
    tall = min(1.0, _WIDE / picture.aspect)
    half = tall * picture.aspect / 2
    extent = (x - half, x + half, y + tall / 2, y - tall / 2)
    axes.imshow(picture.pixels, extent=extent, aspect="auto", interpolation="bicubic")
    if picture.frame:
        corner, size = (x - half, y - tall / 2), (2 * half, tall)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=picture.frame, linewidth=4))
    axes.text(x, y + 0.53, plain(caption), fontsize=8, ha="center", va="top")


def _short(line: str) -> str:
    """At most `_LENGTH` letters: those of the end count, in names of files."""
    return line if len(line) <= _LENGTH else f"{line[: _LENGTH // 3]}…{line[-_LENGTH // 2 :]}"


def plain(text: str) -> str:
    """`text` for a figure: Matplotlib would read dollar signs as mathematics."""
    return text.replace("$", r"\$")
