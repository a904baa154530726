"""Stage `explore`: what is in the data, as pictures and one page.

Reads the cache, the features and the split, writes `plots/explore/`:
    explore.md         the page: what there is, whether it is balanced, how it was pre-processed,
                       and what that means for the split
    species.png        images and photographs per species and part
    samples.png        a training image of each species
    processing.png     sizes, black pixels, and angles between copies
    copies.png         a photograph of each species, with copies of it in a row
    doubts.png         the least certain decisions on what is a copy
    labels.png         photographs whose labels are likely wrong
The last three are missing where there is nothing to show.
"""

from __future__ import annotations

from fishline.core.files import read_csv, require
from fishline.core.params import load_params
from fishline.core.paths import CACHE, FEATURES, PLOTS, SPLIT
from fishline.core.roles import BASE, FINETUNED, active
from fishline.data.cache import Cache
from fishline.data.explore import statistics
from fishline.data.explore.label_errors import check_labels
from fishline.data.explore.page import Task
from fishline.data.explore.sheets import explore
from fishline.data.features import Features


def main() -> None:
    params = load_params()
    tasks = {BASE.task: Task("base model", params.base.species, params.balance)}
    if FINETUNED in active(params):
        new = params.finetune
        tasks[FINETUNED.task] = Task("fine-tuned model", new.species, new.balance)
    manifest = read_csv(require(CACHE / "manifest.csv", "split"))
    splits = {task: read_csv(require(SPLIT / f"{task}.csv", "split")) for task in tasks}
    images = statistics.join(manifest, splits)
    rejected, cache, out = read_csv(CACHE / "rejected.csv"), Cache(CACHE), PLOTS / "explore"
    features = Features.open(FEATURES, cache)
    labels = None
    if features:
        labels = check_labels(manifest, rejected, features.plain, params.species)
    explore(images, rejected, cache, tasks, labels, out)
    print(f"explore: {out / 'explore.md'}")
