"""`fishline labels`: which photographs are likely to lie under a wrong species?

Reads the cache and the features that `embed` made, writes to `plots/`:
    labels.csv    file, species, suggested, probability (of its own species), suggested_probability,
                  reason (duplicate, look-alike or label): a row per photograph, the likeliest wrong
                  label first
    labels.png    the first of them, as pictures; missing where there is nothing to show
"""

from __future__ import annotations

import json

import pandas as pd

from fishline.core.errors import UserError
from fishline.core.files import read_csv, require, write_csv
from fishline.core.params import Params, load_params
from fishline.core.paths import CACHE, FEATURES, PLOTS
from fishline.core.text import many
from fishline.data.cache import Cache
from fishline.data.contact_sheet import write_sheet
from fishline.data.explore.label_errors import COLUMNS, Labels, check_labels
from fishline.data.explore.sheets import doubtful_labels
from fishline.data.features import MADE_BY, Features

TABLE, SHEET = PLOTS / "labels.csv", PLOTS / "labels.png"
PICTURES = 60  # on the sheet, at most


def find(params: Params, cache: Cache) -> Labels:
    """What there is to say of the labels of the photographs in `cache`.

    Raises:
        UserError: cache or features are missing or not those of `params`, or too few photographs.
    """
    manifest = read_csv(require(CACHE / "manifest.csv", "preprocess"))
    rejected = read_csv(CACHE / "rejected.csv")
    if set(manifest["species"]) != set(params.species) or "index" not in rejected:
        raise UserError(
            f"{CACHE} is of other species than params.yaml lists, or of an earlier version; "
            "`dvc repro embed` brings it up to date"
        )
    if not params.model.is_pretrained:
        raise UserError(
            f"{params.model.name} starts from nothing, so there are no features to tell species "
            "by; in params.yaml set model.weights to default, and model.name to a network that "
            "comes pretrained, such as efficientnet_lite0; then run `dvc repro embed`"
        )
    require(FEATURES / MADE_BY, "embed")
    features = Features.open(FEATURES, cache)
    if features is None:
        raise UserError(f"{FEATURES} has no features; `dvc repro embed` makes them")
    return check_labels(manifest, rejected, features.plain, params.species)


def main(top: int, as_json: bool = False) -> None:
    """Write the table and its pictures, and print the first `top` rows."""
    params, cache = load_params(), Cache(CACHE)
    labels = find(params, cache)
    table = labels.doubtful[COLUMNS].round(4)
    write_csv(TABLE, table)
    if sheet := doubtful_labels(labels.doubtful.head(min(top, PICTURES)), cache):
        write_sheet(SHEET, sheet)
    else:
        SHEET.unlink(missing_ok=True)
    if as_json:
        rows = json.loads(table.head(top).to_json(orient="records"))
        found = {
            "photographs": labels.photographs,
            "thought_wrong": labels.wrong,
            "not_judged": labels.unjudged,
            "doubtful": len(table),
            "labels": rows,
        }
        return print(json.dumps(found, indent=2, ensure_ascii=False))
    _print(labels, table.head(top))


def _print(labels: Labels, shown: pd.DataFrame) -> None:
    print(
        f"labels: {labels.wrong:,} of {many(labels.photographs, 'photograph')} lie under a wrong "
        "species, as cleanlab estimates"
    )
    if labels.unjudged:
        print(f"Not judged, as there is one photograph of each: {', '.join(labels.unjudged)}")
    if shown.empty:
        return print("For none is another species likelier than its own.")
    print(f"For {len(labels.doubtful):,} something speaks against it. The likeliest first:")
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(
        f"All of them: {TABLE}; as pictures: {SHEET}. This is a ranking to look at, not a verdict: "
        "move what does lie wrong, with its copies, to the folder of its species."
    )
