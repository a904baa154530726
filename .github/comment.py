"""The comment that experiment.yml writes below a pull request.

python .github/comment.py origin/main COMMIT LINK > comment.md
"""

from __future__ import annotations

import subprocess
import sys

import pandas as pd

from fishline.core.files import read_json
from fishline.core.paths import METRICS, PLOTS
from fishline.core.text import table, text

SPECIES = 30  # a larger matrix is no longer read, and GitHub takes 65,536 characters


def body(base: str, commit: str, link: str) -> str:
    """The comment: what changed against the revision `base`, and how good the models are."""
    sections = [
        f"### Models of {commit[:7]} against {text(base.removeprefix('origin/'))}",
        _diff("metrics", base) or "No metric changed.",
        _diff("params", base) or "No parameter changed.",
        _scores(),
        *(_matrix(model) for model in read_json(METRICS / "evaluate.json")),
        f"[Report, curves and pictures]({link}) of this run.",
    ]
    return "\n\n".join(sections) + "\n"


def _diff(what: str, base: str) -> str:
    precision = ["--precision", "3"] if what == "metrics" else []
    command = ["dvc", what, "diff", "--md", *precision, base]
    diff = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return diff if diff.count("\n") > 1 else ""  # a table's head alone


def _scores() -> str:
    """A row for each model: what it does on its test images."""
    head = ["model", "test accuracy", "95 % interval", "worst species", "images", "photographs"]
    rows = [
        [
            model,
            f"**{scores['accuracy']:.3f}**",
            f"{scores['accuracy_low']:.3f}–{scores['accuracy_high']:.3f}",
            f"{scores['worst_recall']:.3f}",
            f"{scores['images']:,}",
            f"{scores['photographs']:,}",
        ]
        for model, scores in read_json(METRICS / "evaluate.json").items()
    ]
    return table(head, rows)


def _matrix(model: str) -> str:
    """How often each species was taken for which, folded up."""
    answers = pd.read_csv(PLOTS / f"{model}-confusion.csv", dtype=str, keep_default_na=False)
    names = sorted({*answers["actual"], *answers["predicted"]})
    if len(names) > SPECIES:
        return f"The confusion matrix of the {model} model, {len(names)} species, is in the report."
    counts = pd.crosstab(answers["actual"], answers["predicted"])
    counts = counts.reindex(index=names, columns=names, fill_value=0)
    rows = [
        [f"**{text(name)}**", *(str(n) if n else "·" for n in row)]
        for name, row in zip(names, counts.to_numpy(), strict=True)
    ]
    matrix = table(["actual \\ predicted", *map(text, names)], rows)
    title = f"Confusion matrix, {model} model: test images"
    return f"<details><summary>{title}</summary>\n\n{matrix}\n\n</details>"


if __name__ == "__main__":
    match sys.argv[1:]:
        case [base, commit, link]:
            print(body(base, commit, link), end="")
        case _:
            sys.exit(__doc__)
