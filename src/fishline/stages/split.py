"""Stage `split`: which image serves for training, validation or test.

Reads the manifest, writes `data/split/base.csv` and, if there are new species, `finetune.csv`: a
row per image with file, species, original, alike and part; to `plots/`, how many there are; to
`metrics/`, an audit of what leaks. data/prepare/splitting.py has the strategies.
"""

from __future__ import annotations

import pandas as pd

from fishline.core.files import read_csv, require, write_csv, write_json
from fishline.core.folders import remaking
from fishline.core.params import load_params
from fishline.core.paths import CACHE, METRICS, PLOTS, SPLIT
from fishline.core.roles import active
from fishline.data.prepare.splitting import audit, split
from fishline.tracking.provenance import data_hash


def main() -> None:
    params = load_params()
    manifest = read_csv(require(CACHE / "manifest.csv", "preprocess"))
    images = manifest[["file", "species", "original", "alike"]]
    tables = {
        task: split(images[images["species"].isin(getattr(params, task).species)], params.split)
        for task in (role.task for role in active(params))
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
    write_json(METRICS / "split.json", audits)
    both = pd.concat(tables.values())
    counts = both.groupby(["species", "part"]).size().rename("images").reset_index()
    write_csv(PLOTS / "split.csv", counts)
    print(f"split: {params.split.strategy}, images per species and part:")
    print(counts.pivot(index="species", columns="part", values="images").to_string())
    for task, leaks in audits.items():
        print(
            f"{task}: {leaks['photographs']} photographs; "
            f"{leaks['test_images_with_a_copy_in_train']} of {leaks['test']} test images have a "
            f"copy in training (with a random split, "
            f"{leaks['random']['test_images_with_a_copy_in_train']} of {leaks['random']['test']})"
        )
