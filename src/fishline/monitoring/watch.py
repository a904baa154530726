"""`fishline watch`: does what comes in look like the project's photographs, and is it still right?

Reads the log of answers and the model's reference; prints a table, and what each alarm asks for;
writes `plots/watch.html` in a project, and logs one MLflow run.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pandas as pd

from fishline.core.errors import UserError
from fishline.core.text import many
from fishline.data.decisions import read_decisions, standing
from fishline.monitoring import page
from fishline.monitoring.accepted import accept, read_accepted
from fishline.monitoring.answers import WEEK, monday, read_answers, week_of, with_truth
from fishline.monitoring.in_use import in_use
from fishline.monitoring.page import Findings
from fishline.monitoring.reference import read_reference
from fishline.monitoring.track import track
from fishline.monitoring.weeks import FEWEST, judge
from fishline.serving.answer_log.schema import LOG
from fishline.serving.default_model import default_model
from fishline.tracking import versions
from fishline.tracking.versions import Version


def watch(
    model: str | None,
    log: str | None,
    since: timedelta,
    places: Collection[str],
    as_json: bool,
    is_tracked: bool,
) -> bool:
    """Look at the weeks that `since` reaches into, each as a whole.

    Args:
        places: the only ones to look at; all if empty.

    Returns:
        Whether there is an alarm.

    Raises:
        UserError: model, reference or log cannot be had, or the model has answered nothing.
    """
    version, log = _version(model), _log(log)
    reference = read_reference(version)
    first = monday(week_of(datetime.now(UTC) - since))
    answers = _of_places(read_answers(log, first, datetime.now(UTC) + WEEK), places)
    answers = with_truth(answers, standing(read_decisions()))
    mine = _by(answers, reference)
    if mine.empty:
        others = ", ".join(sorted(set(answers["model"]))) or "nobody"
        where = f" at {', '.join(places)}" * bool(places)
        raise UserError(
            f"{version} has answered nothing{where} since {first:%F}, by {log}; answers there are "
            f"by: {others}. --since looks further back, --model names another one"
        )
    findings = Findings(
        model=str(version),
        log=log,
        reference=len(reference),
        others=len(answers) - len(mine),
        weeks=judge(mine, reference, _accepted(log, reference)),
        in_use=in_use(answers, reference),
    )
    click.echo(page.as_json(findings) if as_json else page.as_text(findings))
    if Path("params.yaml").is_file():
        page.write(findings)
    if is_tracked:
        with contextlib.redirect_stdout(sys.stderr):  # where MLflow says a run's address
            track(findings)
    return any(row.alarms for row in findings.weeks)


def accept_week(model: str | None, log: str | None, week: str, places: Collection[str]) -> None:
    """Make `week` what is usual at `places`; at all that have answers enough, if none is named.

    Raises:
        UserError: as of `watch`; or a place that is named has fewer than `FEWEST` in that week.
    """
    version, log = _version(model), _log(log)
    answers = _by(_week(log, week), read_reference(version))
    counts = answers["place"].value_counts()
    enough = [str(place) for place in counts.index[counts >= FEWEST]]
    few = [place for place in places if place not in enough]
    if few or not enough:
        raise UserError(
            f"{', '.join(few) or 'every place'}: fewer than {FEWEST} photographs of {week} that "
            f"{version} answered; {log} has so many of: {', '.join(enough) or 'no place'}"
        )
    accept(log, week, places or enough)
    for place in places or enough:
        click.echo(f"{place or 'no place'}: {many(counts[place], 'photograph')} of {week} accepted")


def _version(model: str | None) -> Version:
    if model and Path(model).exists():
        raise UserError(
            f"{model} is no registered model: what to compare with is kept with the registered "
            "version that it was made of; name that by --model, such as fish-base/3"
        )
    return versions.find(model or default_model())


def _log(log: str | None) -> str:
    place = log or os.environ.get(LOG)
    if not place:
        raise UserError(
            f"no log of answers: set {LOG}, as for whoever answers, or name one by --log"
        )
    return place


def _week(log: str, week: str) -> pd.DataFrame:
    """The photographs that were answered in a week."""
    first = monday(week)
    rows = read_answers(log, first, first + WEEK)
    return rows[rows["error"].isna()]


def _by(answers: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Those by the model of `reference`; unread photographs say by which they were to be."""
    return answers[answers["model_sha256"].isin(reference["model_sha256"])]


def _of_places(answers: pd.DataFrame, places: Collection[str]) -> pd.DataFrame:
    return answers[answers["place"].isin(list(places))] if places else answers


def _accepted(log: str, reference: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """The photographs of each place's accepted weeks, where this very model answered enough."""
    accepted = read_accepted(log)
    weeks = {week for own in accepted.values() for week in own}
    rows = {week: _by(_week(log, week), reference) for week in sorted(weeks)}
    found = {}
    for place, own in accepted.items():
        mine = _of_places(pd.concat([rows[week] for week in own]), [place])
        if len(mine) >= FEWEST:
            found[place] = mine
    return found
