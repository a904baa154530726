"""What a user can cause and can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


class UserError(click.ClickException):
    """Shown as one message without a traceback; the process ends with exit code 1.

    The message says what is wrong, where (file, key, species) and what to do.
    """


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """For imports: where a library is missing, a UserError says that `what` needs this extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what} needs fishline[{extra}]: pip install 'fishline[{extra}]', or in a checkout "
            f"`make env` and `source .venv/bin/activate` ({error} in {sys.executable})"
        ) from None
