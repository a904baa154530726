"""`fishline predict`, `serve`, `app`, `watch` and `queue`: for who asks models, and trains many.

Thin: each command imports its module when it is called.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Literal

import click

from fishline.cli.help import InProject, WithStore, require_store
from fishline.core.errors import UserError

PLACE = click.option(
    "--place",
    help="For the log of answers: where this is, such as a vessel. [default: $FISHLINE_PLACE]",
)


def set_place(place: str | None) -> None:
    """Have answers logged with `place`; by the environment, which workers have, too."""
    if place is None:
        return
    if not os.environ.get("FISHLINE_LOG"):
        raise click.UsageError("--place is for the log of answers: set FISHLINE_LOG")
    os.environ["FISHLINE_PLACE"] = place


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(), metavar="SOURCE...")
@click.option(
    "--model",
    help="fish-base/3, fish-base@champion, a run id, a file as model.onnx, or a folder. "
    "[default: the champion of fish-finetuned, or of fish-base if it is the only one]",
)
@click.option(
    "--only",
    multiple=True,
    metavar="SPECIES,...",
    help='What there can be: answers are among these alone. In quotes: --only "Trout,Sea Bass". '
    "Once or several times.",
)
@click.option("--json", "form", flag_value="json", help="A JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="A table, with each species' probability.")
@click.option("--text", "form", flag_value="text", default="text", hidden=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="TABLE.parquet",
    help="Write a table instead, a folder of Parquet files, and go on where it was broken off.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    help="What computes the table: this machine, or Ray's cluster at $RAY_ADDRESS. "
    "[default: $FISHLINE_ENGINE, else local]",
)
@PLACE
def predict(
    sources: tuple[str, ...],
    model: str | None,
    only: tuple[str, ...],
    form: Literal["text", "json", "csv"],
    out: Path | None,
    engine: Literal["local", "ray"] | None,
    place: str | None,
) -> None:
    """Say which species is on each photograph.

    SOURCE is a photograph, a folder or bucket that is searched at any depth, or a list: a .txt file
    with a path or URL a line. Where no species is sure enough, the answer is the genus or family,
    or else `unknown`, as for a photograph unlike all that the model was trained on. Exits with 1 if
    one could not be read.

    \b
    fishline predict catch.jpg
    fishline predict --csv ~/Photographs > species.csv
    fishline predict s3://bucket/2024 --out answers.parquet --engine ray
    """
    if engine and not out:
        raise click.UsageError("--engine is for --out")
    if out and form != "text":
        raise click.UsageError(f"--{form} is for what is printed, --out writes Parquet")
    if out and out.suffix != ".parquet":
        raise click.UsageError(f"--out {out}: name a table that ends in .parquet")
    set_place(place)
    if model is None or not (model.endswith(".onnx") or Path(model).is_dir()):
        require_store()
    if model is None:
        from fishline.serving.default_model import default_model

        model = default_model()
    if out is None:
        from fishline.serving.predict import predict

        sys.exit(1 if predict(sources, model, form, only) else 0)
    from fishline.core.engine import engine_name
    from fishline.serving.predict_table import predict_table

    sys.exit(1 if predict_table(sources, model, out, engine or engine_name(), only) else 0)


@click.command()
@click.argument("model", type=click.Path(path_type=Path), metavar="FILE.onnx")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=5001, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--max-body-mb",
    default=32,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="The largest request that is taken.",
)
def serve(model: Path, host: str, port: int, max_body_mb: int) -> None:
    """Answer over HTTP by a model in a file.

    Requests and answers are those of `mlflow models serve`, without MLflow: POST {"inputs":
    [photograph in base64, ...]} to /invocations. GET /ping and /health say that it is there.
    Ctrl-C ends it.

    \b
    fishline serve model.onnx
    fishline serve model.onnx --port 5002
    """
    from fishline.serving.http_server import serve

    serve(model, host, port, max_body_mb)


@click.command(cls=WithStore)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--max-upload-mb",
    default=25,
    show_default=True,
    type=click.IntRange(1, 256),
    help="The largest photograph that is taken.",
)
@PLACE
def app(host: str, port: int, max_upload_mb: int, place: str | None) -> None:
    """Open a page to drop photographs on.

    It says what is on them, with each species' probability and what the model looked at. In a
    project a second page, Review, puts labels and unsure answers right. Ctrl-C ends it.

    \b
    fishline app
    fishline app --port 8502
    """
    set_place(place)
    from fishline.serving.app.launch import app

    app(host, port, max_upload_mb)


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
        from fishline.monitoring.watch import accept_week
        from fishline.monitoring.watch import watch as look

        if week is not None:
            return accept_week(model, log, week, places)
        alarm = look(model, log, since, places, as_json, not no_track)
    except UserError as error:
        error.show()
        sys.exit(2)  # 1 is an alarm
    sys.exit(1 if alarm else 0)


@click.group()
def queue() -> None:
    """Run queued experiments on a cluster.

    \b
    dvc exp run --queue -S 'lr=0.001,0.003'
    fishline queue start --ray
    """


@queue.command(cls=InProject)
@click.option(
    "--ray", is_flag=True, help="On the Ray cluster of RAY_ADDRESS, or Ray on this machine."
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="How many at once. By default as many as the cluster has room for.",
)
@click.option(
    "--cpus",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processors of each experiment, and its threads.",
)
@click.option(
    "--gpus",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="GPUs of each experiment; 0.5 shares one between two.",
)
def start(ray: bool, jobs: int | None, cpus: int, gpus: float) -> None:
    """Run what `dvc exp run --queue` has queued.

    Each experiment in a clone of its own, on whatever machine has room. Needs a git remote, a DVC
    remote and an MLflow server. Results come back, as if `dvc queue start` had run them here; what
    failed stays queued, and the exit code is 1.

    \b
    fishline queue start --ray -j 8
    fishline queue start --ray --cpus 4 --gpus 1
    """
    if not ray:
        raise click.UsageError("--ray runs them on a cluster; here, `dvc queue start` does")
    from fishline.cluster.start import main

    sys.exit(1 if main(jobs, cpus, gpus) else 0)


COMMANDS = [predict, serve, app, watch, queue]
