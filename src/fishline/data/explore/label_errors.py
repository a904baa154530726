"""Which labels are likely wrong: photographs that a classifier takes for another species.

It is asked only about photographs that it did not learn from (out_of_sample.py). What it says of
the given labels ranks the photographs, and tells how many labels are wrong (confident learning;
Northcutt, Jiang & Chuang, J. Artif. Intell. Res. 70, 2021, https://arxiv.org/abs/1911.00068); both
by cleanlab. All copies of a photograph are one here. benchmarks/labels.py measures what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fishline.core.errors import UserError
from fishline.data.explore.out_of_sample import (
    Floats,
    Numbers,
    Take,
    ask,
    mean_features,
    out_of_sample,
)

COLUMNS = "file species suggested probability suggested_probability reason".split()
METHOD = "self_confidence"  # of cleanlab's scores
Doubt = dict[Hashable, Any]  # a row of the table of doubtful labels


@dataclass(frozen=True)
class Labels:
    """What there is to say of the labels of a data set.

    doubtful:    a row for each photograph whose label is likely wrong, the likeliest first: file
                 (the first that shows it), species, suggested (another one), probability and
                 suggested_probability of the two, reason, index (row in the cache). The reason is
                 `duplicate` (it lies under both species), `look-alike` (a photograph of the other
                 species looks like it) or `label` (the classifier alone); look-alikes that the
                 classifier finds right come last
    photographs: how many the classifier was asked about
    wrong:       how many of their labels are wrong, as cleanlab estimates
    unjudged:    species of which there is one photograph: nothing else tells what they look like
    """

    doubtful: pd.DataFrame
    photographs: int
    wrong: int
    unjudged: list[str]


def check_labels(
    manifest: pd.DataFrame, rejected: pd.DataFrame, take: Take, species: Sequence[str]
) -> Labels:
    """Find the photographs whose labels are likely wrong.

    Args:
        manifest, rejected: as `preprocess` writes them.
        take: gives the features at some rows of the cache, (b, d).
        species: those of the manifest.

    Raises:
        UserError: there are no two species of two photographs each.
    """
    first = manifest[manifest["file"] == manifest["original"]]
    photographs = first[["file", "species", "index"]].reset_index(drop=True)
    number = manifest["original"].map(pd.Series(photographs.index, photographs["file"]))
    features = mean_features(manifest["index"].to_numpy(), number.to_numpy(), take)
    labels = photographs["species"].map({name: i for i, name in enumerate(species)}).to_numpy()
    enough = np.bincount(labels, minlength=len(species)) > 1
    if enough.sum() < 2:
        raise UserError("labels are compared between species; two need two photographs each")
    judged = enough[labels]
    probabilities = out_of_sample(features, labels)[judged]
    said = pd.DataFrame(probabilities, photographs.loc[judged, "file"], [*species])
    ranked = rank(photographs[judged], labels[judged], probabilities, species)
    alike = _look_alikes(manifest, photographs, said)
    doubts = [
        *_duplicates(rejected, take, lambda some: ask(some, features, labels), species),
        *(doubt for doubt in alike if _margin(doubt) < 0),
        *ranked[ranked["suggested_probability"] > ranked["probability"]].to_dict("records"),
        *alike,
    ]
    doubtful = pd.DataFrame(doubts, columns=[*COLUMNS, "index"]).drop_duplicates("file")
    return Labels(
        doubtful.reset_index(drop=True),
        len(said),
        count_wrong(labels[judged], probabilities),
        [name for name, known in zip(species, enough, strict=True) if not known],
    )


def rank(
    photographs: pd.DataFrame,
    labels: Numbers,
    probabilities: Floats,
    species: Sequence[str],
) -> pd.DataFrame:
    """All `photographs` with what speaks against their labels, the likeliest wrong first.

    Args:
        labels: (n,), positions in `species`.
        probabilities: (n, classes), out of sample.
    """
    from cleanlab.rank import get_label_quality_scores

    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -1
    table = photographs.assign(
        suggested=np.array(species, object)[others.argmax(1)],
        probability=probabilities[rows, labels],
        suggested_probability=others.max(1),
        reason="label",
    )
    quality = get_label_quality_scores(labels, probabilities, method=METHOD)
    return table.iloc[np.argsort(quality, kind="stable")]


def count_wrong(labels: Numbers, probabilities: Floats) -> int:
    """How many of `labels` (n,) are wrong, as cleanlab estimates from (n, classes)."""
    from cleanlab.count import num_label_issues

    return int(num_label_issues(labels, probabilities))


def _duplicates(
    rejected: pd.DataFrame, take: Take, say: Callable[[Floats], Floats], species: Sequence[str]
) -> list[Doubt]:
    """Of each photograph under several species its first file under each, but for the likeliest."""
    files = rejected[rejected["index"].astype(int) >= 0]
    if files.empty:
        return []
    number, _ = pd.factorize(files["reason"])  # the same for all files of a photograph
    probabilities = say(mean_features(files["index"].to_numpy(), number, take))
    rows = []
    for photograph, values in enumerate(probabilities):
        under = files[number == photograph].drop_duplicates("species").to_dict("records")
        said = pd.Series(values, [*species])
        likeliest = max((str(one["species"]) for one in under), key=said.__getitem__)
        losing = [one for one in under if one["species"] != likeliest]
        rows += [_doubt(one, likeliest, said, "duplicate") for one in losing]
    return sorted(rows, key=_margin)


def _look_alikes(
    manifest: pd.DataFrame, photographs: pd.DataFrame, said: pd.DataFrame
) -> list[Doubt]:
    """Of each two photographs of different species that look alike, the one that fits its own less.

    Args:
        said: probabilities by file and species, of those that were asked about.
    """
    alike = manifest.loc[manifest["alike"] != "", ["original", "alike"]].to_numpy().tolist()
    by_file = {one["file"]: one for one in photographs.to_dict("records")}
    rows = []
    for pair in sorted({tuple(sorted(names)) for names in alike}):
        one, other = (by_file[name] for name in pair)
        if one["species"] != other["species"]:
            sides = [
                _doubt(this, that["species"], said.loc[this["file"]], "look-alike")
                for this, that in ((one, other), (other, one))
                if this["file"] in said.index
            ]
            rows += sorted(sides, key=_margin)[:1]
    return sorted(rows, key=_margin)


def _doubt(photograph: Doubt, suggested: str, said: pd.Series[float], reason: str) -> Doubt:
    return {
        **photograph,
        "suggested": suggested,
        "probability": said[photograph["species"]],
        "suggested_probability": said[suggested],
        "reason": reason,
    }


def _margin(doubt: Doubt) -> float:
    return float(doubt["probability"] - doubt["suggested_probability"])
