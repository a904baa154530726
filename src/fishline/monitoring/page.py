"""What `fishline watch` found: as text, as JSON and as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.core.files import write_text
from fishline.core.paths import PLOTS
from fishline.core.text import many, templates
from fishline.evaluation.report import TEMPLATES as REPORT
from fishline.monitoring.advice import advice, title
from fishline.monitoring.drift import LOOKS, RATE
from fishline.monitoring.in_use import InUse
from fishline.monitoring.weeks import FEWEST, PlaceWeek

PAGE = PLOTS / "watch.html"
TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 3  # species of a mix, in a table


@dataclass(frozen=True)
class Findings:
    """Of one model.

    reference: photographs of the project to compare with
    others:    answers in the log that are by other models
    """

    model: str
    log: str
    reference: int
    others: int
    weeks: Sequence[PlaceWeek]
    in_use: Sequence[InUse]

    @property
    def to_do(self) -> list[tuple[PlaceWeek, list[str]]]:
        """Advice by place and week; of weeks together what the last of them does not say, too."""
        alone = {(row.place, row.week): row.alarms for row in self.weeks}
        texts = [
            advice(row, alone.get((row.place, row.last_week), ()) if row.is_several else ())
            for row in self.weeks
        ]
        return [(row, said) for row, said in zip(self.weeks, texts, strict=True) if said]


def as_json(findings: Findings) -> str:
    whole: dict[str, Any] = asdict(findings)
    for facts, row in zip(whole["weeks"], findings.weeks, strict=True):
        facts |= {"verdict": verdict(row), "alarms": row.alarms, "advice": advice(row)}
    for facts, model in zip(whole["in_use"], findings.in_use, strict=True):
        facts["kinds"] = [
            asdict(kind) | ({"interval": kind.interval} if kind.reviewed else {})
            for kind in model.kinds
        ]
        if model.is_known:
            facts |= {"accuracy": model.accuracy, "interval": model.interval}
    whole["alarm_below_p"] = RATE / LOOKS
    return json.dumps(whole, indent=2, ensure_ascii=False)


def as_text(findings: Findings) -> str:
    head = "place week verdict photographs unknown unsure confidence species".split()
    rows = [
        [row.place or "no place", row.week, verdict(row), *numbers(row), species(row)]
        for row in findings.weeks
    ]
    align = [*["left"] * 3, *["right"] * 4, "left"]
    parts = [
        about(findings),
        str(tabulate(rows, head, "simple", disable_numparse=True, colalign=align)),
        *(f"{title(row)}: {text}" for row, texts in findings.to_do for text in texts),
        *("\n".join([heading(model), *lines(model)]) for model in findings.in_use),
    ]
    return "\n\n".join(parts)


def as_html(findings: Findings) -> str:
    environment = templates(TEMPLATES, autoescape=True)
    said = [about, heading, lines, numbers, species, title, verdict]
    environment.filters |= {function.__name__: function for function in said} | {"code": _code}
    style = Markup((REPORT / "report.css").read_text(encoding="utf-8"))
    page = environment.get_template("watch.html.j2")
    return page.render(f=findings, style=style, rate=RATE, looks=LOOKS, fewest=FEWEST) + "\n"


def _code(text: str) -> Markup:
    """`text`, with what stands between backticks in a monospaced font."""
    return Markup(re.sub("`(.*?)`", r"<code>\1</code>", str(escape(text))))


def write(findings: Findings) -> None:
    write_text(PAGE, as_html(findings))


def about(findings: Findings) -> str:
    others = f"; left out are {many(findings.others, 'answer')} by other models"
    return (
        f"{findings.model}, compared with {many(findings.reference, 'photograph')} of its project; "
        f"answers of {findings.log}{others if findings.others else ''}"
    )


def numbers(row: PlaceWeek) -> list[str]:
    unread = f" (+ {row.unread:,} unread)" if row.unread else ""
    if not row.photographs:
        return [f"0{unread}", "", "", ""]
    shares = [f"{row.unknown:.0%}", f"{row.unsure:.0%}"]
    return [f"{row.photographs:,}{unread}", *shares, f"{row.confidence:.3f}"]


def species(row: PlaceWeek) -> str:
    named = [f"{name} {share:.0%}" for name, share in row.mix.items()]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return ", ".join(named[:SHOWN]) + more


def verdict(row: PlaceWeek) -> str:
    """In a few words."""
    if row.alarms:
        return "ALARM: " + ", ".join(
            f"{name} (p {row.p[name]:.4f})"
            if name in row.p
            else f"{name} ({sum(row.new.values())})"
            for name in row.alarms
        )
    if row.is_accepted:
        return "accepted"
    return f"like the {row.reference}" if row.p else f"too few to tell, below {FEWEST}"


def heading(model: InUse) -> str:
    if not model.is_known:
        return f"{model.model}, by reviewers:"
    low, high = model.interval
    return (
        f"{model.model}, by reviewers: {model.accuracy:.3f} ({low:.3f}–{high:.3f}) right, each "
        "kind of answer as often as it was given:"
    )


def lines(model: InUse) -> list[str]:
    said = []
    for kind in model.kinds:
        text = f"  {kind.kind}: {kind.reviewed:,} of {kind.answered:,} reviewed"
        if kind.reviewed:
            low, high = kind.interval
            text += f", {kind.accuracy:.3f} ({low:.3f}–{high:.3f}) right"
        if kind.tested is not None:
            text += f"; tested: {kind.tested:.3f}"
        said.append(text)
    return said
