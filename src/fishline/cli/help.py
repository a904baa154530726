"""The group of commands: its help in one screen, and what holds for every command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fishline.core.errors import UserError, needs

PARAMS = Path("params.yaml")


class Sections(click.Group):
    """A group whose help lists its commands by what they are for.

    Args:
        sections: title: names of commands; a name that the group does not have is left out, and a
            command that no section names stands in the last one.
        in_a_row: the section whose commands are named without their help, and what is said instead.
    """

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Sequence[str]],
        in_a_row: tuple[str, str],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.sections, self.in_a_row = sections, in_a_row

    def list_commands(self, ctx: click.Context) -> list[str]:
        named = [name for names in self.sections.values() for name in names]
        return [name for name in dict.fromkeys([*named, *self.commands]) if name in self.commands]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        section_of = {name: title for title, names in self.sections.items() for name in names}
        last, (row, instead) = list(self.sections)[-1], self.in_a_row
        lines: dict[str, list[tuple[str, str]]] = {title: [] for title in self.sections}
        for name in self.list_commands(ctx):
            text = self.commands[name].get_short_help_str(formatter.width)
            lines[section_of.get(name, last)].append((name, text.removesuffix(".")))
        lines[row] = [(instead, ", ".join(name for name, _ in lines[row]))]
        width = max(map(len, lines)) + 2
        with formatter.indentation():
            formatter.write_paragraph()
            formatter.write_dl(
                [
                    (f"{'' if number else title:<{width}}{name}", text)
                    for title, commands in lines.items()
                    for number, (name, text) in enumerate(commands)
                ]
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command: without colour where NO_COLOR says so, and without a traceback where the
        reader of a pipe is gone or a library is missing."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            with needs("train", "this command"):
                return super().invoke(ctx)
        finally:
            sys.stdout.flush()  # here click knows what a broken pipe is; at the end nobody does


class InProject(click.Command):
    """A command that reads params.yaml, which names files relative to itself."""

    def invoke(self, ctx: click.Context) -> Any:
        require_params()
        return super().invoke(ctx)


class WithStore(click.Command):
    """A command that asks the tracking store; one of its own must not come to be just anywhere."""

    def invoke(self, ctx: click.Context) -> Any:
        require_store()
        return super().invoke(ctx)


def require_params() -> None:
    """See that the working folder has params.yaml.

    Raises:
        UserError: this is not the root folder of a project.
    """
    if PARAMS.exists():
        return
    here = Path.cwd()
    root = next((folder for folder in here.parents if (folder / PARAMS).is_file()), None)
    if root is None:
        raise UserError(f"no {PARAMS} in {here} or above it; run this in the project's root folder")
    raise UserError(f"no {PARAMS} in {here}; the project's root folder is {root}: run this there")


def require_store() -> None:
    """See that there is a tracking store to ask, or a project to make one in.

    Raises:
        UserError: there is neither a project here or above, nor a server named.
    """
    here = Path.cwd()
    named = os.environ.get("MLFLOW_TRACKING_URI") or os.environ.get("DVC_ROOT")
    if not named and not any((folder / ".dvc").is_dir() for folder in (here, *here.parents)):
        raise UserError(
            f"no project in {here} or above it, and no tracking store in MLFLOW_TRACKING_URI; "
            "run this in the project, or set that to the server's address"
        )
