"""`fishline STAGE`: the command line. Thin: each command imports its module when it is called."""

from __future__ import annotations

import importlib
import sys
from functools import partial

import click

from fishline import __version__
from fishline.errors import UserError

STAGES = {
    "sample": "Draw the built-in data set into data/sample.",
    "preprocess": "Decode and resize every photograph once, into data/cache.",
    "split": "Choose training, validation and test images.",
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
