"""Stage `split`: which image serves for training, validation or test.

Reads the manifest, writes `data/split/base.csv` and, if there are new species, `finetune.csv`: a
row per image with file, species, original, alike, what else photographs may share (day, camera,
burst, columns of photographs.csv), part and group (what stays together); to `plots/`, how many
there are; to
`metrics/`, an audit of what leaks. data/prepare/splitting.py has the strategies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fishline.core.files import read_csv, remaking, require, write_csv, write_json
from fishline.core.params import Split, load_params
from fishline.core.paths import CACHE, METRICS, PLOTS, SPLIT
from fishline.core.roles import active
from fishline.data.prepare.given_split import copies_across
from fishline.data.prepare.groups import images_to_split
from fishline.data.prepare.splitting import PHOTOGRAPH, audit, split
from fishline.tracking.provenance import data_hash

COPIES = "copies.csv"  # across a given split


def main() -> None:
    params = load_params()
    manifest = read_csv(require(CACHE / "manifest.csv", "preprocess"), all_text=True)
    images = images_to_split(manifest, params.split.burst_seconds)
    task_of = {name: r.task for r in active(params) for name in getattr(params, r.task).species}
    images["task"] = images["species"].map(task_of)
    images = images[images["task"].notna()]
    whole = split(images, params.split)  # together: a trip may have species of both tasks
    tables = {
        role.task: whole[whole["task"] == role.task].drop(columns="task") for role in active(params)
    }
    audits = {
        task: {
            # As in the tag of the MLflow runs: which data a result is of.
            "data.hash": data_hash(manifest[manifest["file"].isin(table["file"])]),
            **audit(table, params.split),
        }
        for task, table in tables.items()
    }
    with remaking(SPLIT) as new:
        for task, table in tables.items():
            write_csv(new / f"{task}.csv", table)
        if params.split.strategy == "given":
            across = copies_across(images)
            write_csv(new / COPIES, across)
    write_json(METRICS / "split.json", audits)
    both = pd.concat(tables.values())
    counts = both.groupby(["species", "part"]).size().rename("images").reset_index()
    write_csv(PLOTS / "split.csv", counts)
    print(f"split: {params.split.strategy}, images per species and part:")
    table = counts.pivot(index="species", columns="part", values="images")
    print(table.fillna(0).astype(int).to_string())
    for task, leaks in audits.items():
        _say_leaks(task, leaks)
    _say_unknown(images, params.split)
    if params.split.strategy == "given":
        _report_given(across, params.split)


def _say_leaks(task: str, leaks: Mapping[str, Any]) -> None:
    print(
        f"{task}: {leaks['photographs']} photographs; "
        f"{leaks['test_images_with_a_copy_in_train']} of {leaks['test']} test images have a "
        f"copy in training (with a random split, "
        f"{leaks['random']['test_images_with_a_copy_in_train']} of {leaks['random']['test']})"
    )
    for name, count in leaks["test_images_that_share_with_train"].items():
        print(f"  {count} of {leaks['test']} share a {name} with training")


def _say_unknown(images: pd.DataFrame, settings: Split) -> None:
    for name in settings.by if settings.strategy == "grouped" else ():
        if name != PHOTOGRAPH and (unknown := int((images[name] == "").sum())):
            print(f"{name} is not known of {unknown} images: they count as sharing it with none")


def _report_given(across: pd.DataFrame, settings: Split) -> None:
    """Say which images of a given split have copies across it."""
    done = "left out" if settings.given_leaks == "drop" else "in use"
    if len(across):
        print(f"{len(across)} images have a copy in another part of the given split ({done}):")
    for row in across.head(20).itertuples():
        print(f"  {row.file} ({row.part}) and {row.copy} ({row.copy_part})")
    if len(across) > 20:
        print(f"  … and {len(across) - 20} more in {SPLIT / COPIES}")
