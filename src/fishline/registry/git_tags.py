"""Keep for good what a version needs, by git tags that DVC's and GTO's own words understand.

A kept version has the tag `fish-finetuned@v3.0.0` on a commit with its code, its parameters and,
where there is one, the dvc.lock that holds its outputs. `dvc exp remove`, `git gc` and `dvc gc
--all-tags` leave what a tag names, and `dvc artifacts get . fish-finetuned --rev v3.0.0` brings the
model back. The tag `fish-finetuned#champion#2` says the same of the champion: `--stage champion`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from fishline.core.errors import UserError
from fishline.core.git import GitError, commit_of, git, identity
from fishline.registry.experiment_runs import experiments, trained_by
from fishline.tracking import versions
from fishline.tracking.provenance import project_root
from fishline.tracking.snapshot import REF
from fishline.tracking.versions import CHAMPION, Version

SEARCHED = 100  # commits that changed dvc.lock, the newest, among which a model's is looked for


def keep(version: Version) -> str:
    """Keep what `version` needs; the tag's name, or "" with a remark on stderr if git cannot.

    Asked twice, it is done once. A number that an earlier store gave to another run gets the run's
    id behind it: `@v3.0.0+0123abcd`.
    """
    if tag := kept(version):
        return tag
    tag = _name(version)
    try:
        if commit_of(f"refs/tags/{tag}", project_root()):
            tag += f"+{version.run_id[:8]}"
        _tag(tag, _commit(version), _subject(version))
    except GitError as error:
        click.echo(f"{version} is not kept in git: {error}", err=True)
        return ""
    return tag


def kept(version: Version) -> str:
    """The tag that keeps `version`, or ""."""
    for tag, subject in _tags(f"{_name(version)}*"):
        if subject == _subject(version):
            return tag
    return ""


def follow(name: str) -> str:
    """Have the tags say who is champion of `name`; the newest such tag, or "".

    To be called after each move of the alias. Whoever comes last finds the alias where it is, so
    that of several at once the last tag is right.
    """
    try:
        champion = versions.find(f"{name}@{CHAMPION}")
    except UserError:
        return ""
    counted = [
        (int(tag.rpartition("#")[2]), tag, subject) for tag, subject in _tags(f"{name}#*#[0-9]*")
    ]
    _, newest, subject = max(
        (entry for entry in counted if CHAMPION in entry[1]), default=(0, "", "")
    )
    if subject == _subject(champion):
        return newest
    holder = kept(champion)
    if not holder:
        return ""
    tag = f"{name}#{CHAMPION}#{max(counted, default=(0,))[0] + 1}"
    try:
        _tag(tag, commit_of(f"refs/tags/{holder}", project_root()), _subject(champion))
    except GitError as error:
        click.echo(f"no git tag says that {champion} is champion: {error}", err=True)
        return ""
    return tag


def _name(version: Version) -> str:
    return f"{version.name}@v{version.number}.0.0"


def _subject(version: Version) -> str:
    return f"{version}, trained by run {version.run_id}"


def _tags(pattern: str) -> Iterator[tuple[str, str]]:
    """Names and subjects of the tags that match."""
    form = "--format=%(refname:strip=2) %(contents:subject)"
    try:
        listed = git("for-each-ref", form, f"refs/tags/{pattern}", cwd=project_root())
    except GitError:
        return
    for line in listed.splitlines():
        tag, _, subject = line.partition(" ")
        yield tag, subject


def _tag(name: str, commit: str, subject: str) -> None:
    """An annotated tag, as GTO wants them; a second apart from the others, as it sorts by time."""
    newest = git("for-each-ref", "--sort=-taggerdate", "--count=1", "--format=%(taggerdate:unix)",
                 "refs/tags", cwd=project_root())  # fmt: skip
    seconds = max(int(time.time()), int(newest or 0) + 1)
    git("tag", "--annotate", "--no-sign", "--message", subject, name, commit,
        cwd=project_root(), environment=_tagger(seconds))  # fmt: skip


def _tagger(seconds: int) -> dict[str, str]:
    """The user, or fishline if git knows no name."""
    whoever = identity(seconds)
    try:
        git("var", "GIT_COMMITTER_IDENT", cwd=project_root())
    except GitError:
        return whoever
    return {key: value for key, value in whoever.items() if key.endswith("_DATE")}


def _commit(version: Version) -> str:
    """The commit to keep: one whose dvc.lock has the model, else the state of the training."""
    for commit in _committed(version):
        if trained_by(version.model, commit) == version.run_id:
            return commit
    state = commit_of(f"{REF}/{version.run_id}", project_root())
    if not state:
        raise GitError(
            f"this repository does not have the state that its run began with. Promote where it "
            f"was trained, or `git fetch THERE '{REF}/*:{REF}/*'` first"
        )
    with_lock = _with_present_lock(state)
    return with_lock if trained_by(version.model, with_lock) == version.run_id else state


def _committed(version: Version) -> Iterator[str]:
    """Commits that may hold the model: of its experiment, HEAD, those that changed dvc.lock."""
    here = experiments()
    yield from (e.commit for e in here if e.name == version.tags.get("dvc.exp"))
    yield commit_of("HEAD", project_root())
    yield from git(
        "log", f"--max-count={SEARCHED}", "--format=%H", "--branches", "--tags", "--remotes",
        *(e.commit for e in here), "--", "dvc.lock", cwd=project_root(),
    ).split()  # fmt: skip


def _with_present_lock(state: str) -> str:
    """A commit on top of `state` that differs by the dvc.lock of the working tree."""
    root = project_root()
    if not (root / "dvc.lock").is_file():
        return state
    seconds = int(git("show", "--no-patch", "--format=%ct", state, cwd=root))
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git("read-tree", state, cwd=root, environment=index)
        git("update-index", "--add", "--", "dvc.lock", cwd=root, environment=index)
        tree = git("write-tree", cwd=root, environment=index)
    return git(
        "commit-tree", "--no-gpg-sign", tree, "-p", state, "-m", "With what it made (fishline)",
        cwd=root, environment=identity(seconds),
    )  # fmt: skip
