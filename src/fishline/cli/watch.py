"""`fishline watch`: for who uses a model day by day."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from fishline.cli.help import require_store
from fishline.core.errors import UserError, needs


def _days(context: click.Context, option: click.Parameter, text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in ("d", "w") or not 0 < int(number) < 10_000:
        raise click.BadParameter("a number of days or weeks, such as 7d or 12w")
    return timedelta(days=int(number)) * (7 if unit == "w" else 1)


@click.command()
@click.option(
    "--since",
    default="7d",
    show_default=True,
    metavar="7d|12w",
    callback=_days,
    help="How far back; each week that this reaches into is looked at as a whole.",
)
@click.option(
    "--model", help="fish-base/3, fish-base@champion or a run id. [default: as of predict]"
)
@click.option("--log", help="Folder or URL of the log. [default: $FISHLINE_LOG]")
@click.option("--place", "places", multiple=True, help="This place alone. Once or several times.")
@click.option(
    "--accept", "week", metavar="2026-W40", help="Make a week what is usual at its places."
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--no-track", is_flag=True, help="Log no MLflow run.")
def watch(
    since: timedelta,
    model: str | None,
    log: str | None,
    places: tuple[str, ...],
    week: str | None,
    as_json: bool,
    no_track: bool,
) -> None:
    """Say whether a model is still right where it is used.

    Compares what was logged, by place and week, with the project's photographs: how they look, how
    often no species is sure, the species; and looks at what reviewers decided since.
    Exits with 0 if all is calm, 1 with an alarm, 2 if it could not be done.

    \b
    fishline watch
    fishline watch --since 12w --json
    fishline watch --accept 2026-W40 --place "Deck 1"
    """
    try:
        require_store()
        with needs("train", "this command"):
            from fishline.monitoring.watch import accept_week
            from fishline.monitoring.watch import watch as look

        if week is not None:
            return accept_week(model, log, week, places)
        alarm = look(model, log, since, places, as_json, not no_track)
    except UserError as error:
        error.show()
        sys.exit(2)  # 1 is an alarm
    sys.exit(1 if alarm else 0)
