"""`fishline compare A B`: two registered models on the same photographs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click
import pandas as pd
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline import registry, retest
from fishline.errors import UserError
from fishline.gate import PARAMETERS
from fishline.markdown import many
from fishline.paired import Difference, difference
from fishline.registry import Version

CODE = ("git.commit", "git.dirty", "git.dirty.files", "git.snapshot")
DATA = ("data.hash", "split.strategy")
MEASURES = ("accuracy", "macro_f1", "worst_recall")


@dataclass(frozen=True)
class Paired:
    """Predictions of two models of the same images in the same order.

    a, b: columns sha256, original, species and predicted
    note: where they come from, a sentence
    """

    a: pd.DataFrame
    b: pd.DataFrame
    note: str


def on_same_photographs(a: Version, b: Version) -> Paired:
    """The recorded predictions, if they are of the same images; else both models', made now.

    Then both are tested on the newer one's test images, without photographs that either was
    trained or chosen on.

    Raises:
        UserError: the models know different species, no photograph is left, or the images are
            not in the present cache.
    """
    recorded = [retest.recorded(version, retest.PREDICTIONS) for version in (a, b)]
    of_a, of_b = recorded
    if of_a is not None and of_b is not None and set(of_a["sha256"]) == set(of_b["sha256"]):
        _require_same_species(a, set(of_a["species"]), b, set(of_b["species"]))
        return _aligned(of_a, of_b, "as recorded: both were tested on the same images")
    tables = [retest.required(version, retest.SPLIT) for version in (a, b)]
    _require_same_species(a, set(tables[0]["species"]), b, set(tables[1]["species"]))
    newer, table = max(zip((a, b), tables, strict=True), key=lambda each: each[0].created)
    test = table[table["part"] == "test"]
    seen = retest.left_out(test, tables)
    both = of_a is not None and of_b is not None
    why = "they were tested on different images" if both else "one was not tested"
    out = many(test.loc[seen, "original"].nunique(), "photograph")
    note = (
        f"{why}; both tested now on the test images of {newer}, without {out} that one of them "
        "was trained or chosen on"
    )
    if seen.all():
        raise UserError(f"{a} and {b} cannot be compared: {note}, and none is left")
    left = test[~seen]
    of_a, of_b = (retest.predictions(version, left, newer) for version in (a, b))
    return _aligned(of_a, of_b, note)


def _require_same_species(a: Version, of_a: set[str], b: Version, of_b: set[str]) -> None:
    alone = [(a, sorted(of_a - of_b)), (b, sorted(of_b - of_a))]
    known = "; ".join(f"{v} alone: {', '.join(names)}" for v, names in alone if names)
    if known:
        raise UserError(f"{a} and {b} cannot be compared: they are of different species ({known})")


def _aligned(a: pd.DataFrame, b: pd.DataFrame, note: str) -> Paired:
    """Both by image; which files show one photograph and their species are as `b` has them."""
    a, b = (table.drop_duplicates("sha256").set_index("sha256") for table in (a, b))
    b = b[["original", "species", "predicted"]]
    first = b.assign(predicted=a["predicted"])
    return Paired(first.reset_index(), b.reset_index(), note)


def compare(first: str, second: str, as_json: bool) -> None:
    """Print what parts the versions that `first` and `second` name."""
    a, b = registry.find(first), registry.find(second)
    paired = on_same_photographs(a, b)
    found = difference(paired.a, paired.b)
    facts = {
        "a": str(a),
        "b": str(b),
        "photographs": found.photographs,
        "images": found.images,
        "note": paired.note,
        "metrics": {"a": scores(paired.a), "b": scores(paired.b)},
        "species": [asdict(recall) for recall in found.recalls],
        "mcnemar": {"only_a": found.only_a, "only_b": found.only_b, "p": found.p},
        "difference": {"accuracy": found.change, "interval": list(found.interval)},
        "real": found.is_real,
        "verdict": verdict(found, str(a), str(b)),
        "params": changes(a.params, b.params),
        "data": changes(_of(a, DATA), _of(b, DATA)),
        "code": changes(_code(a), _code(b)),
    }
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else _page(facts))


def scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Accuracy, macro F1 and worst recall, as `evaluate` has them."""
    from fishline.metrics import headline, report

    names = sorted(set(predictions["species"]) | set(predictions["predicted"]))
    codes = {name: i for i, name in enumerate(names)}
    truth, answer = (predictions[c].map(codes).to_numpy() for c in ("species", "predicted"))
    found = headline(report(truth, answer, names))
    return {name: found[name] for name in MEASURES}


def changes(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, list[str | None]]:
    """The keys whose values differ, with both values; None where there is none."""
    names = sorted(set(a) | set(b))
    return {name: [a.get(name), b.get(name)] for name in names if a.get(name) != b.get(name)}


def _of(version: Version, keys: tuple[str, ...]) -> dict[str, str]:
    return {key: version.tags[key] for key in keys if key in version.tags}


def _code(version: Version) -> dict[str, str]:
    """Changed parameters are no other code: the commit then says it all."""
    changed = set(version.tags.get("git.dirty.files", "").split())
    return _of(version, CODE[:1] if changed <= PARAMETERS else CODE)


def verdict(found: Difference, a: str, b: str) -> str:
    """Whether the difference is real, in a sentence."""
    if not found.only_a + found.only_b:
        return "No photograph parts them: either has the same ones right."
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    better = b if found.only_b > found.only_a else a
    judged = f"is real: {better} is better" if found.is_real else "may be chance"
    return (
        f"The difference {judged} (McNemar, exact: {p}): {a} alone has "
        f"{many(found.only_a, 'photograph')} right, {b} alone {found.only_b}."
    )


def _page(facts: Mapping[str, Any]) -> str:
    a, b, measured = facts["a"], facts["b"], facts["metrics"]
    metrics = [[name, *_three(measured["a"][name], measured["b"][name])] for name in MEASURES]
    species = [
        [each["species"], *_three(each["a"], each["b"]), str(each["images"])]
        for each in facts["species"]
    ]
    low, high = facts["difference"]["interval"]
    return "\n\n".join(
        [
            f"{many(facts['photographs'], 'photograph')}, {many(facts['images'], 'image')}, "
            f"{facts['note']}.",
            _columns(["metric", a, b, "difference"], metrics),
            _columns(["recall of", a, b, "difference", "images"], species),
            *(_changed(what, facts[what]) for what in ("params", "data", "code")),
            f"accuracy: difference {facts['difference']['accuracy']:+.3f}, 95 % interval "
            f"{low:+.3f} … {high:+.3f} (bootstrap over photographs)\n{facts['verdict']}",
        ]
    )


def _three(a: float, b: float) -> list[str]:
    return [f"{a:.3f}", f"{b:.3f}", f"{b - a:+.3f}"]


def _columns(head: list[str], rows: list[list[str]]) -> str:
    align = ["left"] + ["right"] * (len(head) - 1)
    return str(tabulate(rows, head, "simple", disable_numparse=True, colalign=align))


def _changed(what: str, changed: Mapping[str, list[str | None]]) -> str:
    lines = [f"  {key}: {_text(old)} → {_text(new)}" for key, (old, new) in changed.items()]
    return "\n".join([f"{what}: {'different' if lines else 'the same'}", *lines])


def _text(value: str | None) -> str:
    return "none" if value is None else value
