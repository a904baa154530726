"""`fishline STAGE`: the command line. Thin: each command imports its module when it is called."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Literal

import click

from fishline import __version__
from fishline.errors import UserError

STAGES = {
    "sample": "Draw the built-in data set into data/sample.",
    "preprocess": "Decode and resize every photograph once, into data/cache.",
    "split": "Choose training, validation and test images.",
    "explore": "Show what is in the data, as pictures and one page.",
    "train-base": "Train the base model.",
    "finetune": "Adapt the base model to the new species.",
    "evaluate": "Test both models.",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Fish species classification as an experiment-tracked workflow.

    `dvc repro` runs the stages below in their order, and only those whose code, data or
    parameters (params.yaml) changed. `fishline STAGE` runs one by hand.
    """


@main.command()
def check() -> None:
    """Check params.yaml, whatever stage its keys belong to."""
    from fishline.params import load_params

    load_params()


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be taken; change nothing.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hardlink", "move"]),
    default="copy",
    show_default=True,
    help="hardlink: share the files with SOURCE; change them in neither. "
    "move: take them out of SOURCE once all are here.",
)
def ingest(source: Path, dry_run: bool, link: Literal["copy", "hardlink", "move"]) -> None:
    """Bring photographs into data/raw and version them with DVC.

    SOURCE is a folder or an archive (zip, tar) with a folder for each species, at any depth.
    """
    from fishline.ingest import ingest

    ingest(source, dry_run, link)


@main.command()
@click.option(
    "--originals",
    "record",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV (file, original) that says which photograph each file shows, instead of the pixels.",
)
def audit(record: Path | None) -> None:
    """Test by random labels whether a split leaks copies into the test set.

    Nothing can be learnt from labels drawn by lot, so a test accuracy above chance is memory.
    """
    from fishline.audit import main

    main(record)


@main.command()
@click.option(
    "--photographs",
    default="1,2,5,10,all",
    show_default=True,
    help="Numbers of photographs of each new species to fine-tune with.",
)
@click.option(
    "--draws",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often each number is drawn and trained with.",
)
def curve(photographs: str, draws: int) -> None:
    """Test how many photographs of a new species are enough.

    Fine-tunes the base model with few of the training photographs, drawn at random, and tests on
    the test images. Writes plots/curve.png and .csv, and one MLflow run.
    """
    from fishline.curve import main

    main(photographs, draws)


@main.group()
def track() -> None:
    """Look after what goes to MLflow."""


@track.command()
def sync() -> None:
    """Send what the tracking store did not take while a model was trained."""
    from fishline.track import sync

    sync()


def _run(stage: str) -> None:
    try:
        module = importlib.import_module(f"fishline.{stage.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error}: this Python ({sys.executable}) is not the project's environment; "
            "`make env` makes it, `source .venv/bin/activate` enters it"
        ) from None
    module.main()


for _name, _help in STAGES.items():
    main.add_command(click.Command(_name, callback=partial(_run, _name), help=_help))
