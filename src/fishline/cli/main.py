"""`fishline COMMAND`: the command line. Thin: each command imports its module when it is called.

Commands for photographs are in data.py, the stages of the graph in stages.py, commands for
registered models in models.py, for asking them in use.py and watch.py, and for training many in
queue.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fishline import __version__
from fishline.cli import data, models, stages, use
from fishline.cli.help import InProject, Sections
from fishline.cli.queue import queue
from fishline.cli.watch import watch

SHELLS = ("bash", "zsh", "fish")
SECTIONS = {
    "Start": ["doctor", "check"],
    "Data": ["ingest", "species", "labels", "audit"],
    "Stages": [*stages.STAGES],
    "Models": [str(command.name) for command in models.COMMANDS],
    "Use": ["predict", "serve", "app", "watch"],
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


for _command in (*data.COMMANDS, *stages.commands(), *models.COMMANDS, *use.COMMANDS, watch, queue):
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
