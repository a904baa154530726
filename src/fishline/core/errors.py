"""What a user can cause and can mend."""

import click


class UserError(click.ClickException):
    """Shown as one message without a traceback; the process ends with exit code 1.

    The message says what is wrong, where (file, key, species) and what to do.
    """
