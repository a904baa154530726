"""What experiments on a cluster need: remotes of git and of DVC, and a tracking server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from fishline.cluster.experiment import Origin
from fishline.core.dvc import Settings, exp_git_remote, remotes
from fishline.core.errors import UserError
from fishline.core.git import GitError, git

SERVERS = {"http": 80, "https": 443, "databricks": 0}  # and their ports, if one has to be known


def origin(root: Path) -> Origin:
    """Where workers get the project of `root` from.

    Raises:
        UserError: something is missing; the message names all of it.
    """
    remote, settings = exp_git_remote(root), remotes(root)
    missing = [*_git_remote(root, remote), *_dvc_remote(settings), *_tracking_server()]
    if missing:
        raise UserError("experiments on a cluster need:\n" + "\n".join(f"- {m}" for m in missing))
    inside = git("rev-parse", "--show-prefix", cwd=root)
    return Origin(_url(root, remote), inside, settings, tuple(_identity(root)))


def _git_remote(root: Path, name: str) -> Iterator[str]:
    try:
        url = _url(root, name)
    except GitError:
        yield f"a git remote {name}, where all may read and write: `git remote add {name} URL`"
        return
    try:
        git("ls-remote", url, "HEAD")
    except GitError as error:
        yield f"a git remote that answers: {name}, {url}, does not ({str(error).splitlines()[0]})"


def _dvc_remote(settings: Settings) -> Iterator[str]:
    if "remote" not in settings["core"]:
        yield "a DVC remote, for data and models: `dvc remote add --default storage URL`"


def _tracking_server() -> Iterator[str]:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    scheme, address = uri.partition(":")[0], urlsplit(uri)
    if scheme not in SERVERS:
        yield (
            "an MLflow server that all reach (docs/server.md): `export MLFLOW_TRACKING_URI=http://…`"
            + (f"; it is {uri} now" if uri else "")
        )
    elif port := address.port or SERVERS[scheme]:
        try:
            socket.create_connection((address.hostname or "", port), timeout=10).close()
        except OSError as error:
            yield f"an MLflow server that answers: MLFLOW_TRACKING_URI={uri} does not ({error})"


def _url(root: Path, remote: str) -> str:
    """A remote's address; a folder's from the root of the file system."""
    url = git("remote", "get-url", remote, cwd=root)
    top = Path(git("rev-parse", "--show-toplevel", cwd=root))
    return str((top / url).resolve()) if (top / url).exists() else url


def _identity(root: Path) -> Iterator[str]:
    """Who git says has made a commit here; fishline, where it knows nobody."""
    for key, otherwise in (("user.name", "fishline"), ("user.email", "fishline@localhost")):
        try:
            yield f"{key}={git('config', key, cwd=root)}"
        except GitError:
            yield f"{key}={otherwise}"
