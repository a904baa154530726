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


@main.command()
@click.argument(
    "photographs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO..."
)
@click.option(
    "--model",
    default="fish-finetuned@champion",
    show_default=True,
    help="fish-base/3, fish-base@champion, a run id, or a folder such as models/finetuned.",
)
@click.option("--json", "form", flag_value="json", help="A JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="A table, with each species' probability.")
@click.option("--text", "form", flag_value="text", default="text", hidden=True)
def predict(
    photographs: tuple[Path, ...], model: str, form: Literal["text", "json", "csv"]
) -> None:
    """Say which species is on each photograph.

    PHOTO is a file, or a folder that is searched at any depth. A photograph unlike all that the
    model was trained on is `unknown`. Exits with 1 if one could not be read.

    \b
    fishline predict catch.jpg
    fishline predict --csv ~/Photographs > species.csv
    """
    from fishline.predict import predict

    sys.exit(1 if predict(photographs, model, form) else 0)


@main.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="All that is known, as JSON.")
def models(model: str | None, as_json: bool) -> None:
    """List the registered models: where each comes from and how good it is.

    \b
    fishline models
    fishline models fish-finetuned --json
    """
    from fishline.listing import models

    models(model, as_json)


@main.command()
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def compare(a: str, b: str, as_json: bool) -> None:
    """Compare two models on the same test photographs, and say whether they really differ.

    A and B are versions, aliases or ids of MLflow runs.

    \b
    fishline compare fish-finetuned@champion fish-finetuned/4
    """
    from fishline.compare import compare

    compare(a, b, as_json)


@main.command()
@click.argument("model")
@click.option("--version", "number", type=click.IntRange(min=1), help="Its number.")
@click.option("--run", help="Id of the MLflow run that trained it, or how that begins.")
@click.option("--experiment", help="Name of the DVC experiment that trained it.")
@click.option("--force", is_flag=True, help="Promote even if the gate refuses.")
@click.option("--reason", default="", help="Why it is forced; stands in the history.")
def promote(
    model: str,
    number: int | None,
    run: str | None,
    experiment: str | None,
    force: bool,
    reason: str,
) -> None:
    """Make a version of MODEL the champion, the newest by default, if the gate lets it.

    The rules stand in params.yaml under gate. A refusal names the rule and moves nothing.

    \b
    fishline promote fish-finetuned
    fishline promote fish-finetuned --experiment keen-roach
    fishline promote fish-finetuned --version 4 --force --reason "new camera"
    """
    from fishline.promote import promote

    promote(model, number, run, experiment, force, reason)


@main.command()
@click.argument("model")
def rollback(model: str) -> None:
    """Make the previous champion of MODEL the champion again.

    \b
    fishline rollback fish-finetuned
    """
    from fishline.promote import rollback

    rollback(model)


@main.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, with all verdicts.")
def history(model: str, as_json: bool) -> None:
    """Show every move of the champion of MODEL: from, to, who, when and why.

    \b
    fishline history fish-finetuned
    """
    from fishline.history import history

    history(model, as_json)


@main.command()
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def provenance(version: str, as_json: bool) -> None:
    """Show where a registered version or a run comes from.

    Code, data, parameters, environment, experiment, and the same of its base model:

    fishline provenance fish-finetuned@champion
    """
    from fishline.origin import main

    main(version, as_json)


@main.command()
@click.argument("experiment")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(experiment: str, as_json: bool) -> None:
    """List the MLflow runs of a DVC experiment.

    Of one that DVC restored instead of computing it, the runs that computed it:

    fishline runs wintry-cods
    """
    from fishline.runs import main

    main(experiment, as_json)


@main.command()
@click.argument("version")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="Leave the clone in this folder, which must not be there yet.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what the stages say, to stderr.")
def reproduce(version: str, keep: Path | None, as_json: bool) -> None:
    """Train a registered version again, and say whether the same comes out.

    In a temporary clone, from the code, parameters and data of then; nothing here changes:

    fishline reproduce fish-finetuned/3

    Exit code 0: the model's bytes and its test metrics are the same. 1: they are not.
    """
    from fishline.reproduce import main

    main(version, keep, as_json)


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
