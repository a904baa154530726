"""What was found as an MLflow run: a metric of each place, in which a step is a week."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fishline.core.errors import UserError
from fishline.monitoring import page
from fishline.monitoring.page import Findings
from fishline.tracking import run, store
from fishline.tracking.metric_buffer import LOST
from fishline.tracking.provenance import dvc_tags, git_tags


def track(findings: Findings) -> None:
    """Log a run named `watch`.

    Raises:
        UserError: the store does not take it.
    """
    tags = git_tags() | dvc_tags("watch")
    params = {"watch.model": findings.model, "watch.log": findings.log}
    with run.stage_run("watch", params, {}, tags) as log:
        try:
            for step, metrics in _metrics(findings):
                log.add(metrics, step)
            log.finish()
            run.log_text(page.as_html(findings), "watch.html")
            run.log_text(page.as_json(findings), "watch.json")
        except LOST as error:
            raise UserError(
                f"{store.tracking_uri()} does not take what was found: {error}"
            ) from None


def _metrics(findings: Findings) -> Iterator[tuple[int, dict[str, float | None]]]:
    for row in findings.weeks:
        # MLflow takes a metric's name for a path, of at most 250 characters.
        place = re.sub(r"[^\w -]", "_", row.place)[:200].strip() or "no place"
        values = {
            "photographs": row.photographs,
            "unknown": row.unknown,
            "unsure": row.unsure,
            "confidence": row.confidence,
            "alarms": len(row.alarms),
        }
        place += " together" * row.is_several
        values |= {f"p_{name}": p for name, p in row.p.items()}
        step = int(row.last_week.replace("-W", ""))  # 2026-W40: 202640
        yield step, {f"{name}/{place}": value for name, value in values.items()}
    for model in findings.in_use:
        for kind in model.kinds:
            if kind.reviewed:
                name = f"in_use/{model.model.replace('/', ' ')}/{kind.kind}"
                yield 0, {f"{name} accuracy": kind.accuracy, f"{name} reviewed": kind.reviewed}
