"""`fishline ingest`, `species`, `labels`, `audit`, `curve`: for a user's photographs.

Thin: each command imports its module when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from fishline.cli.help import InProject, require_params


@click.command()
@click.argument("source", type=click.Path(), required=False)
@click.option(
    "--reviewed",
    is_flag=True,
    help="Instead of SOURCE: put right what was decided on the page Review of `fishline app`.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the tables as JSON.")
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="CSV that says of each file (or folder) what is known: trip, vessel, camera, day, part …",
)
@click.option(
    "--link",
    type=click.Choice(["copy", "hardlink", "move"]),
    default="copy",
    show_default=True,
    help="hardlink: share the files with SOURCE; change them in neither. "
    "move: take them out of SOURCE once all are here.",
)
def ingest(
    source: str | None,
    reviewed: bool,
    dry_run: bool,
    as_json: bool,
    table: Path | None,
    link: Literal["copy", "hardlink", "move"],
) -> None:
    """Bring photographs into data/raw, versioned by DVC.

    SOURCE is a folder, a bucket or an archive (zip, tar) with a folder for each species, at any
    depth. What is in a bucket is downloaded first.

    \b
    fishline ingest ~/Photographs --dry-run
    fishline ingest photographs.zip
    fishline ingest s3://bucket/photographs
    fishline ingest ~/Photographs --table trips.csv
    fishline ingest --reviewed --dry-run
    """
    if as_json and not dry_run:
        raise click.UsageError("--json is for --dry-run")
    if reviewed == (source is not None):
        raise click.UsageError("name either a SOURCE or --reviewed")
    if source is None:
        if link != "copy" or table:
            raise click.UsageError("--link and --table are for a SOURCE")
        from fishline.data.ingest.reviewed import ingest_reviewed

        ingest_reviewed(dry_run, as_json)
        return
    from fishline.data.ingest.ingest import ingest

    ingest(source, dry_run, link, as_json, table)


@click.command(cls=InProject)
@click.option(
    "--top",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many to print, and to show as pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def labels(top: int, as_json: bool) -> None:
    """Find photographs that are likely under a wrong species.

    A classifier is asked about each photograph without having learnt from it. Writes all that are
    doubtful, the likeliest wrong label first, to plots/labels.csv, and pictures of the first to
    plots/labels.png.

    \b
    fishline labels
    fishline labels --top 50
    """
    from fishline.studies.labels import main

    main(top, as_json)


@click.command(cls=InProject)
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


@click.command(cls=InProject)
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


@click.group(invoke_without_command=True)
@click.pass_context
def species(ctx: click.Context) -> None:
    """List the species of params.yaml, or add to them.

    With the number of images of each, and folders of data.dir that are not named yet.

    \b
    fishline species
    fishline species add "Atlantic Cod"
    """
    if ctx.invoked_subcommand is None:
        from fishline.data.species import show

        require_params()
        show()


@species.command(cls=InProject)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--to",
    type=click.Choice(["base", "finetune"]),
    help="The list that is added to. [default: finetune if it names any, else base]",
)
def add(names: tuple[str, ...], to: str | None) -> None:
    """Add species to params.yaml.

    NAME is that of a folder in data.dir. All else in the file stays as it is written.

    \b
    fishline species add "Atlantic Cod"
    fishline species add Whiting Pollack --to base
    """
    from fishline.data.species import add

    add(names, to)


COMMANDS = [ingest, species, labels, audit, curve]
