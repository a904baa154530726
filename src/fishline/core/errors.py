"""What a user can cause and can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


class UserError(click.ClickException):
    """Shown as one message without a traceback; the process ends with exit code 1.

    The message says what is wrong, where (file, key, species) and what to do.
    """


def how_to_install(extra: str) -> str:
    """Of the project's optional dependencies, in words."""
    return (
        f"pip install 'fishline[{extra}]', or in a checkout `make env` and `source "
        ".venv/bin/activate`"
    )


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """For imports: where a library is missing, a UserError says that `what` needs this extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what} needs fishline[{extra}]: {how_to_install(extra)} ({error} in {sys.executable})"
        ) from None
