"""Git's own commands, the plumbing ones: nothing here moves a branch or touches the index."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class GitError(Exception):
    """Git is not installed, or refused; what it said."""


def git(
    *arguments: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """What a git command prints, without the last newline.

    Args:
        environment: set beside that of this process.
        stdin: its standard input.

    Raises:
        GitError: see there.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            input=stdin if stdin is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise GitError(error.stderr.strip() or f"git {arguments[0]} failed") from None
    except OSError as error:
        raise GitError(str(error)) from None
    return done.stdout.removesuffix("\n")


def identity(seconds: int) -> dict[str, str]:
    """An author for commits and tags that fishline makes; git may know no name of the user's.

    Args:
        seconds: their date, since 1970.
    """
    return {
        f"GIT_{who}_{key}": value
        for who in ("AUTHOR", "COMMITTER")
        for key, value in (
            ("NAME", "fishline"),
            ("EMAIL", "fishline@localhost"),
            ("DATE", f"@{seconds} +0000"),
        )
    }


def changed_files(*paths: str) -> list[str]:
    """What differs from HEAD below `paths`, new files too: names from the working folder.

    None where git cannot tell. Git itself names them from the repository's root.
    """
    try:
        above = git("rev-parse", "--show-prefix")
        listed = git("status", "--porcelain", "--no-renames", "-z", "--", *paths)
    except GitError:
        return []
    return [entry[3:].removeprefix(above) for entry in listed.split("\0") if entry]


def commit_of(revision: str, cwd: Path | None = None) -> str:
    """The commit that `revision` names here, or "" if there is none."""
    try:
        return git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", cwd=cwd)
    except GitError:
        return ""
