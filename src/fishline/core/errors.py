"""What a user can cause and can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

TRAIN = "pip install 'fishline[train]', or in a checkout `make env` and `source .venv/bin/activate`"


class UserError(click.ClickException):
    """Shown as one message without a traceback; the process ends with exit code 1.

    The message says what is wrong, where (file, key, species) and what to do.
    """


@contextmanager
def needs_train(what: str) -> Iterator[None]:
    """For imports: where a library is missing, a UserError says what `what` needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what} needs fishline[train]: {TRAIN} ({error} in {sys.executable})"
        ) from None
