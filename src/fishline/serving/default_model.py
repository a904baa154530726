"""Which model is asked where nobody names one."""

from __future__ import annotations

import click

from fishline.core.errors import UserError
from fishline.core.params import PATH, Params, load_params
from fishline.core.roles import ROLES, Role, active
from fishline.tracking import versions
from fishline.tracking.provenance import project_root
from fishline.tracking.store import tracking_uri
from fishline.tracking.versions import CHAMPION


def roles_by_use() -> list[Role]:
    """All roles, the one that is asked first first: of those that the project trains, the last."""
    params = _params()
    trained = active(params) if params else ROLES.values()
    return sorted(reversed(ROLES.values()), key=lambda role: role not in trained)


def _params() -> Params | None:
    try:
        return load_params(project_root() / PATH)
    except UserError:  # a store without a project, or a file that is being edited
        return None


def default_model() -> str:
    """The champion of the first registered model; its newest version, if it has none yet.

    Raises:
        UserError: nothing is registered, or the store cannot be reached.
    """
    for name in (role.registered for role in roles_by_use()):
        registered = versions.versions(name)
        if any(CHAMPION in version.aliases for version in registered):
            return f"{name}@{CHAMPION}"
        if registered:
            click.echo(
                f"{name} has no champion yet, so its newest version is asked; "
                f"`fishline promote {name}` makes it the champion if it is good enough",
                err=True,
            )
            return str(registered[0])
    raise UserError(f"{tracking_uri()} has no registered model; `dvc repro` trains and registers")
