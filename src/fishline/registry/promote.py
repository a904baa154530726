"""`fishline promote` and `fishline rollback`: which version is the champion."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

import click
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.core.errors import UserError
from fishline.core.git import GitError, git
from fishline.core.params import Gate, load_params
from fishline.registry import champion as registry_champion
from fishline.registry import gate, git_tags
from fishline.registry.champion import HistoryEntry
from fishline.registry.gate import Verdict
from fishline.tracking import versions as tracking_versions
from fishline.tracking.aliases import RegisteredModel, needs_registry
from fishline.tracking.store import store_lock
from fishline.tracking.versions import CHAMPION, Version


def promote(
    name: str,
    number: int | None,
    run: str | None,
    experiment: str | None,
    force: bool,
    reason: str,
    as_json: bool = False,
) -> None:
    """Make a version of `name` the champion, if the gate lets it; by default the newest.

    Args:
        as_json: print one object in place of words, also if the gate refuses.

    Raises:
        UserError: the gate refuses, which moves nothing, or there is no such version.
    """
    if force and not reason.strip():
        raise UserError('--force needs --reason "…": whoever reads the history will ask why')
    candidate = find_candidate(name, number, run, experiment)
    settings = load_params().gate
    store = RegisteredModel(name)
    moved = False
    while not moved:  # judged again if the champion, which it is judged against, has changed
        champion = _version(name, store.aliases().get(CHAMPION))
        if champion and champion.number == candidate.number:
            return _say(f"{candidate} is the champion already", as_json, candidate, champion)
        verdicts = _judge(store, candidate, champion, settings)
        if not as_json:
            _show(verdicts, candidate, champion)
        refused = [verdict for verdict in verdicts if not verdict.passed]
        if refused and not force:
            if as_json:
                _say("", True, candidate, champion, verdicts)
            why = "\n".join(f"  {verdict.rule}: {verdict.figures}" for verdict in refused)
            raise UserError(
                f"{candidate} is not promoted; {champion or 'no version'} stays champion\n{why}\n"
                '`--force --reason "…"` promotes it nevertheless.'
            )
        entry = HistoryEntry(
            "promote",
            champion.number if champion else None,
            candidate.number,
            whoever(),
            reason,
            {verdict.rule: str(verdict) for verdict in verdicts},
        )
        moved = _move(store, entry, candidate)
    done = f"{candidate} is the champion now" + f", in place of {champion}" * bool(champion)
    _say(done, as_json, candidate, champion, verdicts, moved=True)


def rollback(name: str, as_json: bool = False) -> None:
    """Make the version champion again that the champion replaced.

    Raises:
        UserError: there is no previous champion.
    """
    tracking_versions.require_versions(name)
    store = RegisteredModel(name)
    with needs_registry():
        champion, previous = store.aliases().get(CHAMPION), registry_champion.before(store)
    if champion is None or previous is None:
        raise UserError(
            f"{name} has no previous champion to go back to; `fishline promote {name} --version N` "
            f"makes version N the champion, `fishline models {name}` lists them"
        )
    back = tracking_versions.find(f"{name}/{previous}")
    if not _move(store, HistoryEntry("rollback", champion, previous, whoever()), back):
        raise UserError(f"somebody else moved the champion of {name} meanwhile; look, then decide")
    done = f"{name}/{previous} is the champion again, in place of {name}/{champion}"
    _say(done, as_json, back, _version(name, champion), moved=True)


def _say(
    text: str,
    as_json: bool,
    candidate: Version,
    former: Version | None,
    verdicts: Sequence[Verdict] = (),
    moved: bool = False,
) -> None:
    """Print what was done; as JSON, `champion` is the one of now, `former` the one of before."""
    champion = candidate if moved else former
    facts = {
        "candidate": str(candidate),
        "moved": moved,
        "champion": str(champion) if champion else None,
        "former": str(former) if former else None,
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else text)


def _show(verdicts: Sequence[Verdict], candidate: Version, champion: Version | None) -> None:
    click.echo(f"{candidate} against {champion or 'no champion'}:")
    rows = [[v.rule, "pass" if v.passed else "FAIL", v.figures] for v in verdicts]
    click.echo(tabulate(rows, tablefmt="plain", disable_numparse=True))


def _judge(
    store: RegisteredModel, candidate: Version, champion: Version | None, settings: Gate
) -> Sequence[Verdict]:
    """What the gate says, kept as tags of the candidate."""
    from fishline.registry.gate_facts import facts  # loads torch

    verdicts = gate.judge(facts(candidate, champion), settings)
    passed = all(verdict.passed for verdict in verdicts)
    tags = {verdict.rule: str(verdict) for verdict in verdicts} | {
        "verdict": "pass" if passed else "FAIL",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "against": str(champion or "none"),
    }
    with needs_registry():
        for key, text in tags.items():
            store.tag_version(candidate.number, f"gate.{key}", text)
    return verdicts


def _move(store: RegisteredModel, entry: HistoryEntry, version: Version) -> bool:
    """Keep what `version` needs, then move; False if the champion is not what `entry` says."""
    kept = git_tags.keep(version)
    with needs_registry(), store_lock():
        if store.aliases().get(CHAMPION) != entry.replaced:
            return False
        if kept:
            store.tag_version(version.number, "git.kept", kept)
        registry_champion.move(store, entry)
    git_tags.follow(version.name)
    return True


def find_candidate(
    name: str, number: int | None, run: str | None, experiment: str | None
) -> Version:
    """The version of `name` that is meant; without a choice the newest.

    Raises:
        UserError: there is none, or more than one choice was made.
    """
    if sum(choice is not None for choice in (number, run, experiment)) > 1:
        raise UserError("--version, --run and --experiment exclude each other")
    versions = tracking_versions.require_versions(name)
    if number is not None:
        candidates = [v for v in versions if v.number == number]
        have = ", ".join(str(v.number) for v in reversed(versions))
    elif run is not None:
        candidates = [v for v in versions if run and v.run_id.startswith(run)]
        if (runs := len({v.run_id for v in candidates})) > 1:
            raise UserError(f"{runs} runs of {name} begin with {run}; write more of the id")
        have = ", ".join(f"{v.run_id[:8]} (version {v.number})" for v in versions)
    elif experiment is not None:
        candidates = [v for v in versions if v.tags.get("dvc.exp") == experiment]
        have = ", ".join(dict.fromkeys(e for v in versions if (e := v.tags.get("dvc.exp"))))
    else:
        return versions[0]
    if not candidates:
        choice = f"version {number}" if number is not None else f"version of {run or experiment}"
        raise UserError(f"{name} has no {choice}. There are: {have or 'no experiments'}")
    return candidates[0]


def _version(name: str, number: int | None) -> Version | None:
    return None if number is None else tracking_versions.find(f"{name}/{number}")


def whoever() -> str:
    """git's user, else login@host."""
    with suppress(GitError):
        if name := git("config", "user.name").strip():
            return name
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError, ImportError):  # a user without a name, as in some containers
        return f"somebody@{socket.gethostname()}"
