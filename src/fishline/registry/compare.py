"""`fishline compare A B`: two registered models on the same photographs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click
import pandas as pd
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.core.text import many
from fishline.evaluation.comparison import on_same_photographs, verdict
from fishline.evaluation.statistics import MEASURES, difference
from fishline.tracking import versions
from fishline.tracking.provenance import PARAMETERS
from fishline.tracking.versions import Version

CODE = ("git.commit", "git.dirty", "git.dirty.files", "git.snapshot")
DATA = ("data.hash", "split.strategy")


def compare(first: str, second: str, as_json: bool) -> None:
    """Print what parts the versions that `first` and `second` name."""
    a, b = versions.find(first), versions.find(second)
    paired = on_same_photographs(a, b)
    measured = difference(paired.a, paired.b)
    facts = {
        "a": str(a),
        "b": str(b),
        "photographs": measured.photographs,
        "groups": measured.groups,
        "unit": measured.unit,
        "images": measured.images,
        "note": paired.note,
        "metrics": {"a": scores(paired.a), "b": scores(paired.b)},
        "species": [asdict(recall) for recall in measured.recalls],
        "mcnemar": {"only_a": measured.only_a, "only_b": measured.only_b, "p": measured.p},
        "difference": {"accuracy": measured.change, "interval": list(measured.interval)},
        "real": measured.is_real,
        "verdict": verdict(measured, str(a), str(b)),
        "params": changes(a.params, b.params),
        "data": changes(_of(a, DATA), _of(b, DATA)),
        "code": changes(_code(a), _code(b)),
    }
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else _page(facts))


def scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Accuracy, macro F1 and worst recall, as `evaluate` has them."""
    from fishline.evaluation.metrics import classification_report, headline

    names = sorted(set(predictions["species"]) | set(predictions["predicted"]))
    codes = {name: i for i, name in enumerate(names)}
    truth, answer = (predictions[c].map(codes).to_numpy() for c in ("species", "predicted"))
    scored = headline(classification_report(truth, answer, names))
    return {name: scored[name] for name in MEASURES}


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


def _page(facts: Mapping[str, Any]) -> str:
    a, b, measured = facts["a"], facts["b"], facts["metrics"]
    metrics = [[name, *_three(measured["a"][name], measured["b"][name])] for name in MEASURES]
    species = [
        [recall["species"], *_three(recall["a"], recall["b"]), str(recall["images"])]
        for recall in facts["species"]
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
            f"{low:+.3f} … {high:+.3f} (bootstrap over {facts['unit']}s)\n{facts['verdict']}",
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
