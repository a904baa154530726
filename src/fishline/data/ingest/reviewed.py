"""`fishline ingest --reviewed`: make data/raw as its reviewers decided, and version it.

What is to be done follows from the decisions and from where the files lie, so a run that was cut
off is finished by the next one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fishline.core.errors import UserError
from fishline.core.params import load_params
from fishline.core.paths import CACHE
from fishline.core.text import many
from fishline.data.decisions import DECISIONS, Decision, read_decisions, standing
from fishline.data.ingest.ingest import (
    RAW,
    RECORD,
    add_version,
    one_ingest,
    print_table,
    require_checkout,
    require_project,
)
from fishline.data.ingest.moves import REMOVED, Files, Move, carry_out
from fishline.data.prepare.manifest import photographs_by_digest

SHOWN = 40  # photographs that are listed
UNSEEN = f"{CACHE} does not know it; `dvc repro preprocess` first finds them"


@dataclass(frozen=True)
class Change:
    """What is to be done for a photograph.

    file:    as the decision names it
    species: that it is; "" for none
    moves:   of the files that show it
    """

    file: str
    species: str
    moves: list[Move]


@dataclass
class Plan:
    """What is to be done, and in words what is left as it is."""

    changes: list[Change] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def ingest_reviewed(dry_run: bool = False, as_json: bool = False) -> None:
    """Make data/raw as the decisions say; print what was done.

    Args:
        as_json: print what a dry run found as JSON.

    Raises:
        UserError: there are no decisions, data.dir is another folder, a file could not be moved,
            or `dvc add` failed: the same again goes on from there.
    """
    require_project()
    data_dir = load_params().data.dir
    if Path(data_dir) != RAW:
        raise UserError(f"data.dir is {data_dir}, and only {RAW} can be changed: set data.dir")
    log = read_decisions()
    if not log:
        raise UserError(f"no decisions in {DECISIONS}: they are made in `fishline app`, on Review")
    with one_ingest() as staging:
        require_checkout()
        plan = make_plan(log, photographs_by_digest(CACHE), Files())
        if dry_run and as_json:
            print(json.dumps(_facts(plan), indent=2, ensure_ascii=False))
            return
        _show(plan)
        if dry_run:
            print("Dry run: nothing was changed.")
            return
        carry_out([move for change in plan.changes for move in change.moves], staging)
        add_version()  # also when nothing is to be moved: `dvc add` may have failed the last time
    _show_next()


def make_plan(log: Sequence[Decision], photographs: Mapping[str, str], files: Files) -> Plan:
    """What makes data/raw as `log` says.

    All files that show a photograph go where its latest decision says. Where that was taken back,
    they go back to where the log found it.

    Args:
        photographs: as of `photographs_by_digest`.
    """
    removed = {copy: photographs.get(first, first) for copy, first in files.copies.items()}
    photographs = removed | dict(photographs)
    plan, counts = Plan(), standing(log, photographs)
    rows, members = _by_photograph(log, photographs)
    for key, own in rows.items():
        decided = counts.get(key)
        goal = decided.after if decided else own[0].before
        name = (decided or own[-1]).file
        lies = {_species(path) for row in own for path in files.raw.get(row.sha256, ())}
        if lies and not lies & {place for row in own for place in (row.before, row.after)}:
            where = " and ".join(sorted(lies))
            plan.left.append(f"{name} lies under {where}, where no reviewer saw it")
        elif decided or lies != ({goal} - {""}):
            moves = _moves(sorted(members[key]), goal, own[0].sha256, files)
            if moves:
                plan.changes.append(Change(name, goal, moves))
                if lies and not members[key] & photographs.keys():
                    plan.left.append(f"copies of {name}, if any: {UNSEEN}")
            elif goal and not lies:
                plan.left.append(f"{name} is not here any more")
    return plan


def _by_photograph(
    log: Iterable[Decision], photographs: Mapping[str, str]
) -> tuple[dict[str, list[Decision]], dict[str, set[str]]]:
    """The rows of each photograph, and the SHA-256 of each file that shows it."""
    rows: dict[str, list[Decision]] = defaultdict(list)
    members: dict[str, set[str]] = defaultdict(set)
    for row in log:
        key = photographs.get(row.sha256, row.sha256)
        rows[key].append(row)
        members[key].add(row.sha256)
    for digest, key in photographs.items():
        if key in rows:
            members[key].add(digest)
    return rows, members


def _moves(digests: Iterable[str], goal: str, photograph: str, files: Files) -> list[Move]:
    """What brings all files of these contents to a species, or out of data/raw."""
    wrong = []
    for digest in digests:
        here = files.raw.get(digest, [])
        wrong += [path for path in here if _species(path) != goal]
        if goal and not here and digest in files.beside:
            wrong.append(files.beside[digest])
    return [files.move(path, goal, photograph) for path in wrong]


def _species(path: Path) -> str:
    return path.relative_to(RAW).parts[0]


def _facts(plan: Plan) -> dict[str, object]:
    """What `_show` prints, for programs."""
    moves = [
        {"from": move.source.as_posix(), "to": move.target.as_posix(), "species": change.species}
        for change in plan.changes
        for move in change.moves
    ]
    return {"moves": moves, "left": plan.left}


def _show(plan: Plan) -> None:
    """Print what is to be done."""
    rows = [
        (change.file, f"{len(change.moves):,}", f"{_goal(change.species)}")
        for change in plan.changes
    ]
    if rows:
        print_table([("photograph", "files", "goes to"), *rows[:SHOWN]])
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN:,} photographs more")
    for words in plan.left[:SHOWN]:
        print(f"Left as it is: {words}")
    if len(plan.left) > SHOWN:
        print(f"… and {len(plan.left) - SHOWN:,} more")
    if rows:
        files = sum(len(change.moves) for change in plan.changes)
        print(f"{many(files, 'file')} of {many(len(rows), 'photograph')} to move")
    else:
        print(f"Nothing to do: {RAW} is as {DECISIONS} says")


def _goal(species: str) -> Path:
    return RAW / species if species else REMOVED


def _show_next() -> None:
    print(f"Record this version: git add {RECORD} {RAW.parent}/.gitignore {DECISIONS}")
    print(f"Or take it back: git checkout {RECORD} && dvc checkout {RAW}")
    print("Next: dvc repro")
