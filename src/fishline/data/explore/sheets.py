"""The page of `explore` with its pictures: training images, copies, doubtful copies and labels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fishline.core.files import write_text
from fishline.data.cache import Cache
from fishline.data.contact_sheet import Picture, write_sheet
from fishline.data.explore import statistics
from fishline.data.explore.charts import NAMES, few, write_counts, write_processing
from fishline.data.explore.label_errors import Labels
from fishline.data.explore.page import Task, page

ROWS = 12  # species on a sheet
COLUMNS = 8  # files of one photograph
DOUBTS = 6
LABELS = 20

Image = Mapping[Hashable, Any]  # a row of the table of images
Show = Callable[[Image, str], Picture]  # a photograph with a caption
Sheet = Sequence[tuple[str, Sequence[Picture]]]


def explore(
    images: pd.DataFrame,
    rejected: pd.DataFrame,
    cache: Cache,
    tasks: Mapping[str, Task],
    labels: Labels | None,
    out: Path,
) -> None:
    """Write the page and its pictures to the folder `out`, as `stages.explore` lists them.

    Args:
        images: the manifest, with task and part.
        rejected: columns file, species and reason.
        tasks: by the names in the column task.
        labels: what there is to say of them; None without features to tell it by.
    """

    def take(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return cache.take(rows, "thumbnail")

    def show(image: Image, caption: str) -> Picture:
        pixels = cache.take(np.array([image["index"]]))[0]
        return Picture(pixels, image["width"] / image["height"], caption)

    images = statistics.measure(images, take)
    species = [name for task in tasks.values() for name in task.species]
    sheets = {
        "samples": samples(images, species, show),
        "copies": copies(images, species, show),
        "doubts": doubts(images, show),
        "labels": doubtful_labels(labels.doubtful.head(LABELS), cache) if labels else [],
    }
    for name, rows in sheets.items():
        if rows:
            write_sheet(out / f"{name}.png", rows)
    write_counts(out / "species.png", images, species)
    write_processing(out / "processing.png", images)
    shown = ["species", "processing", *(name for name, rows in sheets.items() if rows)]
    write_text(out / "explore.md", page(images, rejected, tasks, labels, shown))


def samples(images: pd.DataFrame, species: Sequence[str], show: Show) -> Sheet:
    """The first training image of each species, five in a row."""
    train = images[images["part"] == "train"].drop_duplicates("species")
    first = {image["species"]: image for image in train.to_dict("records")}
    return _five_in_a_row(
        [show(first[name], name) for name in species if name in first][: 5 * ROWS]
    )


def _five_in_a_row(pictures: Sequence[Picture]) -> Sheet:
    return [("", pictures[start : start + 5]) for start in range(0, len(pictures), 5)]


def copies(images: pd.DataFrame, species: Sequence[str], show: Show) -> Sheet:
    """Of each species the photograph with the most files: the first file, then others by angle."""
    sizes = images["original"].value_counts()
    size = images["original"].map(sizes)
    most = size.groupby(images["species"]).idxmax()  # a file of that photograph
    copied = [name for name in species if size[most[name]] > 1]
    rows = []
    for name in few(copied, size[most].set_axis(most.index)[copied], ROWS):
        files = images[images["original"] == images.loc[most[name], "original"]]
        files = files.sort_values(["mirrored", "angle"], kind="stable")
        first = files["file"] == files["original"]
        others = files[~first].to_dict("records")
        places = np.linspace(0, len(others) - 1, min(COLUMNS - 1, len(others)))
        pictures = [show(image, "first file") for image in files[first].to_dict("records")]
        pictures += [show(image, _turn(image)) for image in (others[int(p)] for p in places)]
        rows.append((f"{name}: {len(files)} files of one photograph", pictures))
    return rows


def _turn(image: Image) -> str:
    if np.isnan(image["angle"]):
        return "angle unclear"
    return ("mirrored, " if image["mirrored"] else "") + f"turned {image['angle']:.0f}°"


def doubts(images: pd.DataFrame, show: Show) -> Sheet:
    """The least certain files, each with one of the same photograph and one of another."""
    unclear = statistics.doubtful(images).head(DOUBTS)
    others = images[images["file"].isin([*unclear["joined"], *unclear["alike"]])]
    by_file = {image["file"]: image for image in others.to_dict("records")}
    rows = []
    for image in unclear.to_dict("records"):
        pictures = [show(image, _place(image))]
        for column, relation in (
            ("joined", "counted as one with"),
            ("alike", "told apart from"),
        ):
            other = image[column]
            if other:
                pictures.append(show(by_file[other], f"{relation}\n{_place(by_file[other])}"))
        rows.append((f"confidence {image['confidence']:.2f}", pictures))
    return rows


def _place(image: Image) -> str:
    return f"{image['file']}\n({NAMES[image['part']]})"


def doubtful_labels(table: pd.DataFrame, cache: Cache) -> Sheet:
    """The photographs of `table`, as in `Labels.doubtful`, each with what it may be instead."""
    rows = table["index"].to_numpy(np.int64)
    aspects = (cache.column("width") / cache.column("height"))[rows]
    names = table[["file", "species", "probability", "suggested", "suggested_probability"]]
    captions = [
        f"{species} ({own:.2f})\n{other}? ({likelier:.2f})\n{file}"
        for file, species, own, other, likelier in names.itertuples(index=False)
    ]
    return _five_in_a_row(
        [
            Picture(pixels, float(aspect), caption)
            for pixels, aspect, caption in zip(cache.take(rows), aspects, captions, strict=True)
        ]
    )
