"""`fishline predict`, `serve` and `app`: for who asks models.

Thin: each command imports its module when it is called.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

import click

from fishline.cli.help import WithStore, require_store

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


COMMANDS = [predict, serve, app]
