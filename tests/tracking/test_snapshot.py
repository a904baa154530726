"""What a training ran with, as a commit that nothing takes away and that nothing else notices."""

import os
import subprocess
from pathlib import Path

import pytest

from fishline.tracking.snapshot import NONE, REF, snapshot

RUN = "0123456789abcdef0123456789abcdef"


def git(*arguments: str, cwd: Path) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=cwd, text=True).strip()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit; git knows no name of the user's."""
    folder = tmp_path / "project"
    write(folder / "params.yaml", "lr: 1\n")
    write(folder / "src/model.py", "old\n")
    write(folder / "docs/page.md", "old\n")
    write(folder / ".gitignore", "*.log\n")
    (folder / ".dvc").mkdir()
    write(folder / ".dvc/config", "")
    git("init", "--quiet", ".", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "first", cwd=folder)
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(folder)
    return folder


def files(commit: str, folder: Path) -> set[str]:
    return set(git("ls-tree", "-r", "--name-only", commit, cwd=folder).splitlines())


def test_what_a_commit_has_is_that_commit(project: Path) -> None:
    (project / "notes.txt").touch()  # no result depends on it
    head = git("rev-parse", "HEAD", cwd=project)
    assert snapshot(RUN) == head
    assert git("rev-parse", f"{REF}/{RUN}", cwd=project) == head


def test_changes_and_new_files_of_code_and_dvc_are_in_it(project: Path) -> None:
    write(project / "params.yaml", "lr: 2\n")
    write(project / "docs/page.md", "new\n")
    (project / "src/model.py").unlink()
    for name in ("src/new name.py", "src/a.log", "data/raw.dvc", "dvc.lock", "notes.txt"):
        write(project / name, "new\n")
    commit = snapshot(RUN)
    tracked = {".dvc/config", ".gitignore", "docs/page.md", "params.yaml"}
    assert files(commit, project) == tracked | {"src/new name.py", "data/raw.dvc", "dvc.lock"}
    assert git("show", f"{commit}:params.yaml", cwd=project) == "lr: 2"
    assert git("show", f"{commit}:docs/page.md", cwd=project) == "new"
    assert git("rev-parse", f"{commit}^", "HEAD", cwd=project).split()[0] == git(
        "rev-parse", "HEAD", cwd=project
    )
    assert snapshot("another") == commit  # the same state is the same commit


def test_index_branch_and_files_stay_as_they_are(project: Path) -> None:
    write(project / "src/staged.py", "staged\n")
    git("add", "src/staged.py", cwd=project)
    write(project / "src/staged.py", "changed since\n")
    write(project / "src/new.py", "new\n")

    def seen() -> list[object]:
        index = (project / ".git/index").read_bytes()
        shown = [git(*words, cwd=project) for words in (["status", "-sb"], ["diff", "--cached"])]
        return [index, *shown, git("for-each-ref", "refs/heads", cwd=project)]

    before = seen()
    commit = snapshot(RUN)
    assert seen() == before
    assert git("show", f"{commit}:src/staged.py", cwd=project) == "changed since"


def test_git_gc_leaves_it(project: Path) -> None:
    write(project / "params.yaml", "lr: 2\n")
    commit = snapshot(RUN)
    git("checkout", "--quiet", "params.yaml", cwd=project)
    git("reflog", "expire", "--expire=now", "--all", cwd=project)
    git("gc", "--quiet", "--prune=now", cwd=project)
    assert git("show", f"{commit}:params.yaml", cwd=project) == "lr: 2"


def test_a_queued_experiment_leaves_it_in_the_main_checkout(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = project / ".dvc/tmp/exps/tmp1"
    workspace.parent.mkdir(parents=True)
    git("clone", "--quiet", ".", str(workspace), cwd=project)
    write(workspace / "params.yaml", "lr: 3\n")
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(project))
    commit = snapshot(RUN)
    assert git("show", f"{REF}/{RUN}:params.yaml", cwd=project) == "lr: 3"
    assert git("rev-parse", f"{REF}/{RUN}", cwd=project) == commit
    assert git("for-each-ref", REF, cwd=workspace) == ""


@pytest.mark.parametrize("case", ["no repository", "no commit", "no git", "main is no repository"])
def test_where_there_can_be_none(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    empty = tmp_path / "empty"
    (empty / ".dvc").mkdir(parents=True)
    if case == "no git":
        monkeypatch.setenv("PATH", str(empty))
    elif case == "main is no repository":
        monkeypatch.setenv("DVC_ROOT", str(empty))
    else:
        monkeypatch.chdir(empty)
    if case == "no commit":
        git("init", "--quiet", ".", cwd=empty)
    assert snapshot(RUN) == NONE


def test_a_shallow_clone_has_one(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project / "params.yaml", "lr: 2\n")
    git("commit", "--quiet", "--all", "--message", "second", cwd=project)
    shallow = tmp_path / "shallow"
    git("clone", "--quiet", "--depth", "1", project.as_uri(), str(shallow), cwd=tmp_path)
    monkeypatch.chdir(shallow)
    write(shallow / "params.yaml", "lr: 4\n")
    assert git("show", f"{snapshot(RUN)}:params.yaml", cwd=shallow) == "lr: 4"
