"""A clone of the project at an earlier state, with its data and without its results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fishline.core.errors import UserError
from fishline.core.git import GitError, git

SHOWN = 5  # missing files that a message names


def clone(root: Path, ref: str, folder: Path) -> Path:
    """Clone the repository of the project in `root` at `ref`; the project's folder in it.

    The clone reads DVC's cache where that of `root` is, and knows the same remotes. Without
    dvc.lock, DVC knows no results there, and every stage runs.

    Raises:
        UserError: git cannot clone.
    """
    try:
        inside, up = git("rev-parse", "--show-prefix", "--show-cdup", cwd=root).split("\n")
        git("clone", "--quiet", "--no-checkout", str(root / up), str(folder))
        git("fetch", "--quiet", "--update-shallow", "origin", ref, cwd=folder)
        git("checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=folder)
    except GitError as error:
        raise UserError(f"git cannot make a clone in {folder}: {error}") from None
    project = folder / inside
    (project / "dvc.lock").unlink(missing_ok=True)
    _share_cache(root, project)
    return project


def _share_cache(root: Path, project: Path) -> None:
    """Have DVC use the cache and the remotes of `root`, whose paths may be relative to it."""
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        used = repo.config
        cache, links = repo.cache.local_cache_dir, used["cache"].get("type", [])
    with Config(str(project / ".dvc"), validate=False).edit("local", validate=False) as settings:
        settings["cache"] = {"dir": cache} | ({"type": ",".join(links)} if links else {})
        settings["remote"] = used["remote"]
        settings["core"] = {"site_cache_dir": str(project / ".dvc/tmp/site")}
        if "remote" in used["core"]:
            settings["core"]["remote"] = used["core"]["remote"]


def fetch_data(project: Path, stage: str) -> None:
    """Bring what `stage` and those before it read and none of them makes: what *.dvc files name.

    Raises:
        UserError: some of it is neither in the cache nor in a remote; the message names it.
    """
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        needed = repo.stage.collect(f"{project}/dvc.yaml:{stage}", with_deps=True)
        names = {Path(each.path) for each in needed if each.path.endswith(".dvc")}
    targets = sorted(path.relative_to(project.resolve()).as_posix() for path in names)
    if not targets:
        return
    pulled = _dvc(project, "pull", *targets)
    if pulled.returncode:
        missing = _missing(project) or [target.removesuffix(".dvc") for target in targets]
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        raise UserError(
            "data of then is neither in DVC's cache nor in a remote: "
            f"{', '.join(missing[:SHOWN])}{more}\n{pulled.stderr.strip()}"
        )


def _missing(project: Path) -> list[str]:
    status = _dvc(project, "data", "status", "--granular", "--json")
    return list(json.loads(status.stdout).get("not_in_cache", [])) if not status.returncode else []


def _dvc(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
