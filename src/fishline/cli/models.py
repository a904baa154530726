"""`fishline models`, `compare`, `promote` …: the commands for registered models and their runs.

Thin: each command imports its module when it is called.
"""

from __future__ import annotations

from pathlib import Path

import click

from fishline.cli.help import InProject, WithStore, require_params, require_store


@click.command(cls=WithStore)
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="All that is known, as JSON.")
def models(model: str | None, as_json: bool) -> None:
    """List the registered models: where from, how good.

    \b
    fishline models
    fishline models fish-finetuned --json
    """
    from fishline.registry.listing import models

    models(model, as_json)


@click.command(cls=WithStore)
@click.argument("a")
@click.argument("b", required=False)
@click.option("--over", metavar="PARAM", help="Compare A's recipes over the values of PARAM.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def compare(a: str, b: str | None, over: str | None, as_json: bool) -> None:
    """Say whether two models, or recipes, differ.

    Models on the same test photographs: A and B are versions, aliases or ids of MLflow runs.

    Recipes by the trainings of A, fish-base or fish-finetuned, that differ in PARAM alone: mean
    and standard deviation over them, and each recipe against the best. Logs one MLflow run.

    \b
    fishline compare fish-finetuned@champion fish-finetuned/4
    fishline compare --over split.seed fish-finetuned
    """
    if over is not None and b is None:
        from fishline.studies.recipe_comparison import main

        return main(a, over, as_json)
    if over is not None or b is None:
        raise click.UsageError("name two models to compare, or one with --over PARAM")
    from fishline.registry.compare import compare

    compare(a, b, as_json)


@click.command(cls=InProject)
@click.argument("model")
@click.option("--version", "number", type=click.IntRange(min=1), help="Its number.")
@click.option("--run", help="Id of the MLflow run that trained it, or how that begins.")
@click.option("--experiment", help="Name of the DVC experiment that trained it.")
@click.option("--force", is_flag=True, help="Promote even if the gate refuses.")
@click.option("--reason", default="", help="Why it is forced; stands in the history.")
@click.option("--json", "as_json", is_flag=True, help="What was done, and all verdicts, as JSON.")
def promote(
    model: str,
    number: int | None,
    run: str | None,
    experiment: str | None,
    force: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Make a version the champion, if the gate lets it.

    The newest version of MODEL by default. The rules stand in params.yaml under gate. A refusal
    names the rule, moves nothing and exits with 1.

    \b
    fishline promote fish-finetuned
    fishline promote fish-finetuned --experiment keen-roach
    fishline promote fish-finetuned --version 4 --force --reason "new camera"
    """
    from fishline.registry.promote import promote

    promote(model, number, run, experiment, force, reason, as_json)


@click.command(cls=WithStore)
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON.")
def rollback(model: str, as_json: bool) -> None:
    """Make the previous champion the champion again.

    \b
    fishline rollback fish-finetuned
    """
    from fishline.registry.promote import rollback

    rollback(model, as_json)


@click.command(cls=WithStore)
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, with all verdicts.")
def history(model: str, as_json: bool) -> None:
    """Show every move of the champion: who, when and why.

    \b
    fishline history fish-finetuned
    """
    from fishline.registry.history import history

    history(model, as_json)


@click.command(cls=WithStore)
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def provenance(version: str, as_json: bool) -> None:
    """Show where a version or a run comes from.

    Code, data, parameters, environment, experiment, and the same of its base model.

    \b
    fishline provenance fish-finetuned@champion
    """
    from fishline.registry.lineage import main

    main(version, as_json)


@click.command(cls=WithStore)
@click.argument("experiment")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(experiment: str, as_json: bool) -> None:
    """List the MLflow runs of a DVC experiment.

    Of one that DVC restored instead of computing it, the runs that computed it.

    \b
    fishline runs wintry-cods
    """
    from fishline.registry.experiment_runs import main

    main(experiment, as_json)


@click.command(cls=WithStore)
@click.argument("version")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="Leave the clone in this folder, which must not be there yet.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what the stages say, to stderr.")
def reproduce(version: str, keep: Path | None, as_json: bool) -> None:
    """Train a version again: does the same come out?

    In a temporary clone, from the code, parameters and data of then; nothing here changes.
    Exits with 0 if the model's bytes and its test metrics are the same, with 1 if not.

    \b
    fishline reproduce fish-finetuned/3
    """
    from fishline.registry.reproduce import main

    main(version, keep, as_json)


@click.command()
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.onnx")
@click.option("--to", type=click.Choice(["onnx"]), default="onnx", help="The format.")
@click.option("--int8", is_flag=True, help="In 8-bit integers, tested: smaller and quicker.")
def export(model: str, out: Path, to: str, int8: bool) -> None:
    """Write a model as one file for devices without Python.

    Everything from the resized photograph to probabilities and `unknown` is in it: docs/edge.md.
    MODEL is a registered version, in which the file's SHA-256 is noted, or a folder. --int8 needs
    the photographs of the project: some calibrate it, and it is refused where the test photographs
    tell that it is less accurate by more than gate.accuracy_margin.

    \b
    fishline export fish-finetuned@champion fish.onnx
    fishline export fish-finetuned/3 fish.onnx --int8
    """
    if out.suffix != f".{to}":
        raise click.UsageError(f"{out}: name a file that ends in .{to}")
    if int8:
        require_params()
    if not Path(model).is_dir():
        require_store()
    from fishline.edge.export import main

    main(model, out, int8)


COMMANDS = [models, compare, promote, rollback, history, provenance, runs, reproduce, export]
