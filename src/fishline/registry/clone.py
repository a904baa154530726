"""A clone of the project at an earlier state, with its data and without its results."""

from __future__ import annotations

from pathlib import Path

from fishline.core.dvc import data_files, dvc, missing_from_cache, share_cache
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
    share_cache(root, project)
    return project


def fetch_data(project: Path, stage: str) -> None:
    """Bring what `stage` and those before it read and none of them makes: what *.dvc files name.

    Raises:
        UserError: some of it is neither in the cache nor in a remote; the message names it.
    """
    targets = data_files(project, stage)
    if not targets:
        return
    pulled = dvc("pull", *targets, cwd=project)
    if pulled.returncode:
        missing = missing_from_cache(project) or [target.removesuffix(".dvc") for target in targets]
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        raise UserError(
            "data of then is neither in DVC's cache nor in a remote: "
            f"{', '.join(missing[:SHOWN])}{more}\n{pulled.stderr.strip()}"
        )
