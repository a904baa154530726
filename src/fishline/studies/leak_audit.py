"""`fishline audit`: does the split leak? A control with labels that cannot be learnt.

Every photograph is given a species by lot, the same for all its copies (the labels are permuted in
Zhang et al., "Understanding deep learning requires rethinking generalization", ICLR 2017; here a
photograph at a time). Nothing about a photograph tells its lot, so on an honest split any
classifier is right by chance, once in as many times as there are species. It is right more often
only by recognising a copy that it was trained on.

The classifier here is the simplest that can (colour_baseline.py). The lots are drawn `DRAWS`
times; being independent, they give a confidence interval for the mean accuracy.

Beside it stands what test images share with training in the split at hand: a trip, a day, a camera.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from fishline.core.errors import UserError
from fishline.core.files import read_csv, require
from fishline.core.params import Params, Strategy, load_params
from fishline.core.paths import CACHE, PLOTS, SPLIT
from fishline.core.roles import active
from fishline.data.cache import Cache
from fishline.data.prepare.colour_baseline import Features, colours, nearest
from fishline.data.prepare.groups import images_to_split
from fishline.data.prepare.leaks import leaked
from fishline.data.prepare.originals import read_record
from fishline.data.prepare.splitting import PHOTOGRAPH, split
from fishline.evaluation.shared import Shared, shared_with_training
from fishline.studies.intervals import student_interval

DRAWS = 200
CONFIDENCE = 0.99  # of the interval: one honest split in a hundred is called leaky


@dataclass(frozen=True)
class Control:
    """Accuracy on random labels: mean over the draws, its confidence interval, and chance."""

    accuracy: float
    low: float
    high: float
    chance: float

    @property
    def verdict(self) -> str:
        return "leaks" if self.low > self.chance else "honest"


def control(table: pd.DataFrame, features: Features, classes: int, seed: int) -> Control:
    """Train and test on labels drawn by lot, `DRAWS` times.

    Args:
        table: columns original and part, a row per image.
        features: (n, d), what the classifier sees of each image.
        classes: how many labels there are.
    """
    alike = nearest(table["part"].to_numpy(), features)
    photograph, _ = pd.factorize(table["original"])
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=(DRAWS, photograph.max() + 1))[:, photograph]
    test = np.flatnonzero(table["part"] == "test")
    scores = (labels[:, test] == labels[:, alike]).mean(axis=1)  # (draws,)
    low, high = student_interval(scores, CONFIDENCE)
    return Control(float(scores.mean()), low, high, 1 / classes)


def report(params: Params, record: Path | None = None) -> pd.DataFrame:
    """The control on each task's images, split by each strategy; a row for each.

    Args:
        params: everything but the strategy is taken from here.
        record: says which photograph a file shows, to draw the labels by, in place of what was
            found from the pixels: a check of that, too.
    """
    manifest = read_csv(require(CACHE / "manifest.csv", "preprocess"), all_text=True)
    images = images_to_split(manifest, params.split.burst_seconds)
    cache = Cache(CACHE)
    known = manifest["original"] if record is None else manifest["file"].map(read_record(record))
    if known.isna().any():
        raise UserError(f"{record} has no original for {manifest['file'][known.isna()].iloc[0]}")
    rows = []
    for task in (role.task for role in active(params)):
        species = getattr(params, task).species
        mine = manifest["species"].isin(species)
        features = colours(cache, manifest.loc[mine, "index"].to_numpy(np.int64))
        for strategy in _strategies(params):
            settings = params.split.model_copy(
                update={"strategy": strategy, "given_leaks": "report", "by": (PHOTOGRAPH,)}
            )
            table = split(images[mine], settings)
            table["original"] = (manifest["species"] + "/" + known)[mine].to_numpy()
            labels = max(2, len(species))  # one new species beside others: any number will do
            result = control(table, features, labels, params.seed)
            rows.append(_row(task, strategy, table, result))
    return pd.DataFrame(rows)


def _strategies(params: Params) -> list[str]:
    """All that can be tried; a given split only where it is in use."""
    own = params.split.strategy
    return [name for name in get_args(Strategy) if name != "given" or own == "given"]


def report_shared(params: Params) -> pd.DataFrame:
    """What test images share with training images: a row for each model and column.

    `accuracy` is on images that share it, `of others` on the rest, by the last `evaluate` of these
    very images; empty where there was none.
    """
    rows = []
    for role in active(params):
        paths = [SPLIT / f"{task}.csv" for task in role.tasks(params)]
        if not all(path.is_file() for path in paths):
            continue
        table = pd.concat([read_csv(path, all_text=True) for path in paths], ignore_index=True)
        right = _right(PLOTS / f"{role.folder}-predictions.csv", table)
        rows += [_shared_row(role.task, shared) for shared in shared_with_training(right, table)]
    return pd.DataFrame(rows)


def _right(path: Path, table: pd.DataFrame) -> pd.Series[bool] | None:
    """Whether each test image was answered rightly, by file; None without such a table."""
    if not path.is_file():
        return None
    predictions = read_csv(path).set_index("file")
    test = table.loc[table["part"] == "test", "file"]
    if not set(test) <= set(predictions.index):
        return None
    return (predictions["species"] == predictions["predicted"]).loc[test]


def _shared_row(task: str, shared: Shared) -> dict[str, object]:
    return {
        "task": task,
        "shared": shared.column,
        "test images": shared.images + shared.others,
        "share it": shared.images,
        "accuracy": shared.accuracy,
        "of others": shared.accuracy_of_others,
    }


def _row(task: str, strategy: str, table: pd.DataFrame, result: Control) -> dict[str, object]:
    test = table[table["part"] == "test"]
    return {
        "task": task,
        "split": strategy,
        "test images": len(test),
        "test photographs": test["original"].nunique(),
        "copy in training": leaked(table),
        "accuracy": result.accuracy,
        "low": result.low,
        "high": result.high,
        "chance": result.chance,
        "verdict": result.verdict,
    }


def main(record: Path | None, as_json: bool = False) -> None:
    """Print the report; as JSON, an object of two lists: random labels, and what is shared."""
    params = load_params()
    table, sharing = report(params, record), report_shared(params)
    if as_json:
        print(json.dumps({"random_labels": _rows(table), "shared": _rows(sharing)}, indent=2))
        return
    interval = [f"{row.low:.3f}–{row.high:.3f}" for row in table.itertuples()]
    table["low"] = interval
    table = table.drop(columns="high").rename(columns={"low": f"{CONFIDENCE:.0%} interval"})
    print(f"Random labels, drawn by photograph, {DRAWS} times; nearest training image by colour:")
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(f"split.strategy in params.yaml is {params.split.strategy}.")
    if len(sharing):
        print("\nWhat test images share with training, in data/split, and the accuracy on them:")
        print(sharing.to_string(index=False, na_rep="", float_format="{:.3f}".format))


def _rows(table: pd.DataFrame) -> list[dict[str, object]]:
    named = table.rename(columns=lambda name: name.replace(" ", "_"))
    rows: list[dict[str, object]] = json.loads(named.to_json(orient="records"))
    return rows
