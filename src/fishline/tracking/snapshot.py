"""The state of code and parameters that a training runs with, kept as a commit of its own.

A run is often made from files that no commit has: DVC changes params.yaml for an experiment, and a
user trains before committing. What lies there when a training starts becomes a commit below
`refs/fishline/runs`, named by the run: on top of HEAD, without a change to index, branch or files.
Git keeps what a ref names, so neither `dvc exp remove` nor `git gc` takes it away.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from fishline.core.git import GitError, git, identity
from fishline.tracking.provenance import CODE, project_root

REF = "refs/fishline/runs"
NONE = "none"
STATE = ("*.dvc", "dvc.lock", ".dvc/config")  # what DVC keeps in git


def snapshot(run_id: str) -> str:
    """Keep the present state for a run: its commit, HEAD itself if nothing differs from it.

    Untracked files count where results depend on them (`provenance.CODE`) and where DVC writes
    them; the same state on the same HEAD is the same commit. Returns "none" where there can be no
    commit: no repository, no commit in it yet, a read-only one.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            commit = _commit({"GIT_INDEX_FILE": f"{folder}/index"})
        _keep(commit, f"{REF}/{run_id}")
    except GitError:
        return NONE
    return commit


def _commit(index: dict[str, str]) -> str:
    head, tree, seconds = git("show", "--no-patch", "--format=%H %T %ct", "HEAD").split()
    git("read-tree", head, environment=index)
    git("add", "--update", ":/", environment=index)
    new = git("ls-files", "-z", "--others", "--exclude-standard", "--", *CODE, *STATE,
              environment=index)  # fmt: skip
    git("update-index", "--add", "-z", "--stdin", environment=index, stdin=new)
    written = git("write-tree", environment=index)
    if written == tree:
        return head
    return git(
        "commit-tree", "--no-gpg-sign", written, "-p", head, "-m", "State of a training (fishline)",
        environment=identity(int(seconds)),
    )  # fmt: skip


def _keep(commit: str, ref: str) -> None:
    """Name `commit` in the main checkout.

    A queued experiment runs in a repository of its own, which DVC deletes afterwards.
    """
    root = project_root()
    if _repository(Path.cwd()) == _repository(root):
        git("update-ref", ref, commit)
    else:
        git("push", "--quiet", "--no-verify", str(root), f"+{commit}:{ref}")


def _repository(folder: Path) -> str:
    return git("rev-parse", "--path-format=absolute", "--git-common-dir", cwd=folder)
