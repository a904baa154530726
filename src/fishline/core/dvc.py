"""What is asked of DVC: each function is one of its commands or looks at what it keeps.

DVC is loaded by the first call: that takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo

Settings = dict[str, dict[str, Any]]  # sections of a configuration


def dvc_command(*arguments: str) -> list[str]:
    """A command of DVC's, in this Python's environment."""
    return [sys.executable, "-m", "dvc", *arguments]


def dvc(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of DVC's to its end, successful or not."""
    return subprocess.run(
        dvc_command(*arguments),
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@contextmanager
def repository(folder: Path | None = None) -> Iterator[Repo | None]:
    """The DVC repository of `folder`, by default the working folder; None if it is in none."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        repo = Repo(str(folder) if folder else None)
    except NotDvcRepoError:
        yield None
        return
    with repo:
        yield repo


def stage_param_keys(stage: str) -> set[str] | None:
    """The keys of params.yaml that `stage` and those before it depend on; None outside DVC."""
    with repository() as repo:
        if repo is None:
            return None
        stages = repo.stage.collect(stage, with_deps=True)
    return {key for stage in stages for dependency in stage.params for key in dependency.params}


def data_files(project: Path, stage: str) -> list[str]:
    """The *.dvc files that `stage` and those before it read from, relative to `project`."""
    with repository(project) as repo:
        stages = repo.stage.collect(f"{project}/dvc.yaml:{stage}", with_deps=True) if repo else []
    files = {Path(stage.path) for stage in stages if stage.path.endswith(".dvc")}
    return sorted(file.relative_to(project.resolve()).as_posix() for file in files)


def read_at(path: Path, project: Path, commit: str) -> str | None:
    """An output as `commit` of `project` has it, from the cache; None if it cannot be had."""
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        return str(dvc.api.read(path.as_posix(), repo=str(project), rev=commit))
    except (DvcException, OSError, ValueError):
        return None


def missing_from_cache(project: Path) -> list[str]:
    """Files that *.dvc files and dvc.lock name and the cache does not have."""
    status = dvc("data", "status", "--granular", "--json", cwd=project)
    return list(json.loads(status.stdout).get("not_in_cache", [])) if not status.returncode else []


def share_cache(root: Path, clone: Path) -> None:
    """Have `clone` use the cache and the remotes of `root`, whose paths may be relative to it."""
    with repository(root) as repo:
        if repo is None:
            return
        links = repo.config["cache"].get("type", [])
        cache = {"dir": repo.cache.local_cache_dir} | ({"type": ",".join(links)} if links else {})
    configure(clone, cache, remotes(root))


def remotes(root: Path) -> Settings:
    """What the configuration of `root` says of its remotes, with absolute paths; keys, too."""
    with repository(root) as repo:
        used = repo.config if repo else {"core": {}, "remote": {}}
    default = {key: name for key, name in used["core"].items() if key == "remote"}
    return {"core": default} | {f'remote "{name}"': dict(r) for name, r in used["remote"].items()}


def exp_git_remote(root: Path) -> str:
    """The git remote that experiments go to: DVC_EXP_GIT_REMOTE, exp.git_remote, or origin."""
    with repository(root) as repo:
        configured = repo.config["exp"].get("git_remote") if repo else None
    return os.environ.get("DVC_EXP_GIT_REMOTE") or configured or "origin"


def configure(clone: Path, cache: Mapping[str, str], remotes: Settings) -> None:
    """Have `clone` use this cache and these remotes, and keep what else DVC notes to itself."""
    core = remotes["core"] | {"site_cache_dir": str(clone / ".dvc/tmp/site")}
    _write_config(clone / ".dvc/config.local", {**remotes, "cache": cache, "core": core})


def _write_config(path: Path, settings: Mapping[str, Any]) -> None:
    """As DVC does, but for any letters: DVC itself writes ASCII alone, and reads UTF-8."""
    from configobj import ConfigObj  # type: ignore[import-untyped]

    config = ConfigObj(settings)
    config.encoding = "utf-8"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        config.write(file)
