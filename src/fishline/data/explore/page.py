"""What is in the data, in words and tables: the page of `explore`, in Markdown.

What it says stands in templates/, what it says it of is gathered here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from fishline.core.text import code, many, share, shares, table, templates, text
from fishline.data.explore import statistics
from fishline.data.explore.charts import NAMES, few
from fishline.data.explore.label_errors import Labels
from fishline.data.prepare.leaks import leaked

ROWS = 10  # of a list of files
SPECIES = 40  # of a table of species


@dataclass(frozen=True)
class Task:
    """A training: its name in words, its species, and the value of `balance` that it is set to."""

    name: str
    species: tuple[str, ...]
    balance: str


def page(
    images: pd.DataFrame,
    rejected: pd.DataFrame,
    tasks: Mapping[str, Task],
    labels: Labels | None,
    shown: Sequence[str],
) -> str:
    """The whole page.

    Args:
        images: of `statistics.measure`, with task and part.
        rejected: columns file and reason.
        tasks: by the names in the column task.
        labels: what there is to say of them, if there are features to tell it by.
        shown: the names of the pictures that lie beside the page.
    """
    environment = templates(Path(__file__).parent / "templates")
    environment.filters |= {"share": share, "shares": shares, "text": text}
    environment.filters["number"] = "{:,}".format
    environment.globals |= {"even": statistics.EVEN, "unevenness": statistics.unevenness}
    environment.globals |= {"many": many, "table": table, "rows": ROWS}
    markdown = environment.get_template("explore.md.j2").render(
        images=images,
        rejected=[[code(row["file"]), text(row["reason"])] for row in rejected.to_dict("records")],
        shown=shown,
        subsets=list(NAMES.values()),
        species=[name for task in tasks.values() for name in task.species],
        counts=[row for task in tasks.values() for row in _counts(images, task)],
        training=[(task, _train(images, task)) for task in tasks.values()],
        remedies=[row for task in tasks.values() for row in _remedies(images, task)],
        **_processing(images),
        **_certainty(images),
        labels=labels,
        doubtful=_doubtful(labels) if labels else [],
    )
    return re.sub(r"\n{3,}", "\n\n", markdown).strip() + "\n"


def _train(images: pd.DataFrame, task: Task) -> pd.DataFrame:
    return statistics.counts(images, task.species, "train")


def _counts(images: pd.DataFrame, task: Task) -> list[list[str]]:
    """Of each species all images and photographs, and those of each subset."""
    whole = statistics.counts(images, task.species)
    columns = [whole, *(statistics.counts(images, task.species, subset) for subset in NAMES)]
    rows = []
    for name in few(task.species, whole["images"], SPECIES):
        numbers = [column.loc[name] for column in columns]
        cells = [f"{n['images']:,} ({n['photographs']:,})" for n in numbers]
        rows.append([text(name), task.name, *cells])
    return rows


def _remedies(images: pd.DataFrame, task: Task) -> list[list[str]]:
    """What each value of `balance` makes of each species, and of an epoch."""
    train = _train(images, task)["images"]
    choices = statistics.remedies(train)
    drawn = ["none", "oversample", "undersample"]
    rows = []
    for name in few(task.species, train, SPECIES):
        choice = choices.loc[name]
        images_shown = [f"{choice[remedy]:,.0f}" for remedy in drawn]
        rows.append([text(name), *images_shown, f"{choice['class_weights']:.3f}"])
    total = [f"**{n:,}**" for n in choices[drawn].sum()]
    return [*rows, [f"**{task.name}, an epoch**", *total, f"**{train.sum():,} images**"]]


def _processing(images: pd.DataFrame) -> dict[str, Any]:
    """Whether the images were pre-processed, and how."""
    sizes = images["width"].astype(str) + " × " + images["height"].astype(str)
    files = images.groupby("original").size()
    copies = images[images["file"] != images["original"]]
    turned = copies.dropna(subset=["angle"])
    black = images[images["corners"] >= 2]
    signs = {
        "one size for all": sizes.nunique() == 1,
        "copies": files.max() > 1,
        "black corners": len(black) > 0.05 * len(images),
    }
    return {
        "signs": [sign for sign, seen in signs.items() if seen],
        "sizes": sizes,
        "aspects": images["width"] / images["height"],
        "endings": images["file"].map(lambda file: PurePosixPath(file).suffix.lower().lstrip(".")),
        "black": black,
        "copied": files[files > 1],
        "repeated": int(images["sha256"].duplicated().sum()),
        "copies": len(copies),
        "turned": turned,
        "mirrors": statistics.plain_mirrors(turned),
        "step": statistics.angle_step(turned["angle"].to_numpy()),
        "tens": ((turned["angle"] + 5) % 360 // 10 * 10).astype(int).value_counts(),
    }


def _certainty(images: pd.DataFrame) -> dict[str, Any]:
    """What leaks through the split, and how sure it is what shows one photograph."""
    pairs = statistics.look_alikes(images)
    across = pairs[pairs["part"] != pairs["other_part"]].to_dict("records")
    doubts = statistics.doubtful(images).to_dict("records")
    return {
        "leaked": leaked(images),
        "tested": int((images["part"] == "test").sum()),
        "expected_leak": statistics.expected_leak(images),
        "pairs": len(pairs),
        "across": [
            [
                f"{pair['confidence']:.2f}",
                f"{code(pair['original'])} ({NAMES[pair['part']]})",
                f"{code(pair['alike'])} ({NAMES[pair['other_part']]})",
            ]
            for pair in across
        ],
        "doubts": [
            [f"{image['confidence']:.2f}", code(image["file"])]
            + [code(image[other]) if image[other] else "" for other in ("joined", "alike")]
            for image in doubts
        ],
    }


def _doubtful(labels: Labels) -> list[list[str]]:
    """The first photographs whose labels are likely wrong, and what they may be instead."""
    return [
        [
            code(one["file"]),
            f"{text(one['species'])} ({one['probability']:.2f})",
            f"{text(one['suggested'])} ({one['suggested_probability']:.2f})",
            one["reason"],
        ]
        for one in labels.doubtful.head(ROWS).to_dict("records")
    ]
