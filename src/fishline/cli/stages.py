"""`fishline STAGE`: the stages of dvc.yaml as commands."""

from __future__ import annotations

import importlib
from functools import partial

import click

from fishline.cli.help import InProject

# name: what it does; what it reads; what it writes
STAGES = {
    "sample": (
        "Draw the built-in data set.",
        "nothing",
        "data/sample/",
    ),
    "preprocess": (
        "Decode and resize every photograph once, and find copies.",
        "data.dir: data/sample/ or your own photographs",
        "data/cache/, metrics/preprocess.json",
    ),
    "embed": (
        "Run the frozen layers of a pretrained network on every photograph, once.",
        "data/cache/, the weights that model.weights names",
        "data/features/",
    ),
    "split": (
        "Choose training, validation and test images.",
        "data/cache/",
        "data/split/, plots/split.csv, metrics/split.json",
    ),
    "explore": (
        "Show what is in the data, as pictures and one page.",
        "data/cache/, data/features/, data/split/",
        "plots/explore/",
    ),
    "train-base": (
        "Train the base model, as an MLflow run.",
        "data/cache/, data/features/, data/split/",
        "models/base/, plots/, metrics/train-base.json",
    ),
    "finetune": (
        "Adapt the base model to the new species, as an MLflow run.",
        "models/base/, data/cache/, data/features/, data/split/",
        "models/finetuned/, plots/, metrics/finetune.json",
    ),
    "evaluate": (
        "Test the models.",
        "the models, data/cache/, data/features/, data/split/",
        "metrics/, plots/, and the test metrics of their runs",
    ),
}


def commands() -> list[click.Command]:
    """A command for each stage, in the graph's order."""
    return [
        InProject(name, callback=partial(_run, name), help=_help(name, *texts))
        for name, texts in STAGES.items()
    ]


def _help(stage: str, does: str, reads: str, writes: str) -> str:
    return f"""{does}

    \b
    Reads   {reads}
    Writes  {writes}

    A stage of the graph in dvc.yaml. `dvc repro` is the usual way: it runs what this needs
    first, runs nothing that is up to date, and keeps the result.

    \b
    dvc repro {stage}
    fishline {stage}      this stage alone, now
    """


def _run(stage: str) -> None:
    importlib.import_module(f"fishline.stages.{stage.replace('-', '_')}").main()
