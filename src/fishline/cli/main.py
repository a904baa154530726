"""`fishline COMMAND`: the command line. Thin: each command imports its module when it is called.

The stages of the graph are in stages.py, the commands for registered models in models.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

import click

from fishline import __version__
from fishline.cli import models, stages
from fishline.cli.help import InProject, Sections, WithStore, require_store

SHELLS = ("bash", "zsh", "fish")
SECTIONS = {
    "Start": ["doctor", "check"],
    "Data": ["ingest", "audit"],
    "Stages": [*stages.STAGES],
    "Models": [str(command.name) for command in models.COMMANDS],
    "Use": ["predict", "app"],
    "More": ["queue", "curve", "completion"],
}


@click.group(
    cls=Sections,
    sections=SECTIONS,
    in_a_row=("Stages", "(dvc repro)"),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 usage. Examples: COMMAND -h",
)
@click.version_option(__version__)
def main() -> None:
    """Which fish is on the photograph? Train a classifier, compare, use it."""


for _command in (*stages.commands(), *models.COMMANDS):
    main.add_command(_command)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def doctor(as_json: bool) -> None:
    """Look for what is missing, and say what to do.

    Environment, device, git, DVC, remote, tracking store, data, disks. Changes nothing. Exits with
    1 if a check fails; a warning is none.

    \b
    fishline doctor
    fishline doctor --json
    """
    from fishline.cli.doctor.doctor import main

    sys.exit(main(as_json))


@main.command(cls=InProject)
def check() -> None:
    """Check params.yaml.

    All of it, whatever stage its keys belong to. Says nothing if it is right.

    \b
    fishline check
    """
    from fishline.core.params import load_params

    load_params()


@main.command()
@click.argument("source", type=click.Path())
@click.option("--dry-run", is_flag=True, help="Show what would be taken; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the tables as JSON.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hardlink", "move"]),
    default="copy",
    show_default=True,
    help="hardlink: share the files with SOURCE; change them in neither. "
    "move: take them out of SOURCE once all are here.",
)
def ingest(
    source: str, dry_run: bool, as_json: bool, link: Literal["copy", "hardlink", "move"]
) -> None:
    """Bring photographs into data/raw, versioned by DVC.

    SOURCE is a folder, a bucket or an archive (zip, tar) with a folder for each species, at any
    depth. What is in a bucket is downloaded first.

    \b
    fishline ingest ~/Photographs --dry-run
    fishline ingest photographs.zip
    fishline ingest s3://bucket/photographs
    """
    from fishline.data.ingest.ingest import ingest

    if as_json and not dry_run:
        raise click.UsageError("--json is for --dry-run")
    ingest(source, dry_run, link, as_json)


@main.command(cls=InProject)
@click.option(
    "--originals",
    "record",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV (file, original) that says which photograph each file shows, instead of the pixels.",
)
@click.option("--json", "as_json", is_flag=True, help="The table as JSON.")
def audit(record: Path | None, as_json: bool) -> None:
    """Test whether a split leaks copies into the test set.

    Nothing can be learnt from labels drawn by lot, so a test accuracy above chance is memory.

    \b
    fishline audit
    fishline audit --originals originals.csv
    """
    from fishline.studies.leak_audit import main

    main(record, as_json)


@main.group()
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


@main.command(cls=InProject)
@click.option(
    "--photographs",
    default="1,2,5,10,all",
    show_default=True,
    help="Numbers of photographs of each new species to fine-tune with.",
)
@click.option(
    "--draws",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often each number is drawn and trained with.",
)
def curve(photographs: str, draws: int) -> None:
    """Test how many photographs of a species are enough.

    Fine-tunes the base model with few of the training photographs, drawn at random, and tests on
    the test images. Writes plots/curve.png and .csv, and one MLflow run.

    \b
    fishline curve
    fishline curve --photographs 3,20,all --draws 2
    """
    from fishline.studies.learning_curve import main

    main(photographs, draws)


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(), metavar="SOURCE...")
@click.option(
    "--model",
    default="fish-finetuned@champion",
    show_default=True,
    help="fish-base/3, fish-base@champion, a run id, or a folder such as models/finetuned.",
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
def predict(
    sources: tuple[str, ...],
    model: str,
    form: Literal["text", "json", "csv"],
    out: Path | None,
    engine: Literal["local", "ray"] | None,
) -> None:
    """Say which species is on each photograph.

    SOURCE is a photograph, a folder or bucket that is searched at any depth, or a list: a .txt file
    with a path or URL a line. A photograph unlike all that the model was trained on is `unknown`.
    Exits with 1 if one could not be read.

    \b
    fishline predict catch.jpg
    fishline predict --csv ~/Photographs > species.csv
    fishline predict s3://bucket/2024 --out answers.parquet --engine ray
    """
    if not Path(model).is_dir():
        require_store()
    if out is None:
        from fishline.serving.predict import predict

        if engine:
            raise click.UsageError("--engine is for --out")
        sys.exit(1 if predict(sources, model, form) else 0)
    if form != "text":
        raise click.UsageError(f"--{form} is for what is printed, --out writes Parquet")
    if out.suffix != ".parquet":
        raise click.UsageError(f"--out {out}: name a table that ends in .parquet")
    from fishline.core.engine import engine_name
    from fishline.serving.predict_table import predict_table

    sys.exit(1 if predict_table(sources, model, out, engine or engine_name()) else 0)


@main.command(cls=WithStore)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--max-upload-mb",
    default=25,
    show_default=True,
    type=click.IntRange(1, 256),
    help="The largest photograph that is taken.",
)
def app(host: str, port: int, max_upload_mb: int) -> None:
    """Open a page to drop photographs on.

    It says what is on them, with each species' probability and what the model looked at.
    Ctrl-C ends it.

    \b
    fishline app
    fishline app --port 8502
    """
    from fishline.serving.app.launch import app

    app(host, port, max_upload_mb)


@main.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print what makes the shell complete with Tab.

    SHELL is that of $SHELL by default. Put the line for yours where the shell reads it:

    \b
    ~/.bashrc:  eval "$(fishline completion bash)"
    ~/.zshrc:   eval "$(fishline completion zsh)"
    fish:       fishline completion fish > ~/.config/fish/completions/fishline.fish
    """
    from click.shell_completion import get_completion_class

    shell = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise click.UsageError(f"name your shell: {', '.join(SHELLS)}")
    click.echo(kind(main, {}, "fishline", "_FISHLINE_COMPLETE").source())
