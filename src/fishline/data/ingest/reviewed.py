"""`fishline ingest --reviewed`: make data/raw as its reviewers decided, and version it.

What is to be done follows from the decisions and from where the files lie, so a run that was cut
off is finished by the next one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


@dataclass
class Plan:
    """What is to be done.

    moves: the files of each photograph, under the name of the one that was decided on
    goal:  the species of each, "" for none
    notes: what is left as it is, and why
    """

    moves: dict[str, list[Move]] = field(default_factory=dict)
    goal: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


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
        carry_out([move for moves in plan.moves.values() for move in moves], staging)
        add_version()  # also when nothing is to be moved: `dvc add` may have failed the last time
    _show_next()


def make_plan(log: Sequence[Decision], photographs: Mapping[str, str], files: Files) -> Plan:
    """What makes data/raw as `log` says.

    All files that show a photograph go where its latest decision says. Where that was taken back,
    they go back to where the log found it.

    Args:
        photographs: as of `photographs_by_digest`.
    """
    plan, counts = Plan(), standing(log, photographs)
    rows: dict[str, list[Decision]] = defaultdict(list)
    for row in log:
        rows[photographs.get(row.sha256, row.sha256)].append(row)
    members: dict[str, set[str]] = {key: {row.sha256 for row in own} for key, own in rows.items()}
    for digest, key in photographs.items():
        if key in members:
            members[key].add(digest)
    for key, own in rows.items():
        decided = counts.get(key)
        goal = decided.after if decided else own[0].before
        name = (decided or own[-1]).file
        lies = {_species(path) for row in own for path in files.raw.get(row.sha256, ())}
        if lies and not lies & {place for row in own for place in (row.before, row.after)}:
            plan.notes.append(f"{name} lies under {_names(lies)}, where no reviewer saw it")
        elif decided or lies != ({goal} - {""}):
            moves = _moves(sorted(members[key]), goal, files)
            if moves:
                plan.moves[name], plan.goal[name] = moves, goal
            elif goal and not lies:
                plan.notes.append(f"{name} is not here any more")
    return plan


def _moves(digests: Iterable[str], goal: str, files: Files) -> list[Move]:
    """What brings all files of these contents to a species, or out of data/raw."""
    wrong = []
    for digest in digests:
        here = files.raw.get(digest, [])
        wrong += [path for path in here if _species(path) != goal]
        if goal and not here and digest in files.beside:
            wrong.append(files.beside[digest])
    return [files.move(path, goal) for path in wrong]


def _species(path: Path) -> str:
    return path.relative_to(RAW).parts[0]


def _names(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def _facts(plan: Plan) -> dict[str, object]:
    """What `_show` prints, for programs."""
    moves = [
        {"from": move.source.as_posix(), "to": move.target.as_posix(), "species": plan.goal[name]}
        for name, own in plan.moves.items()
        for move in own
    ]
    return {"moves": moves, "left": plan.notes}


def _show(plan: Plan) -> None:
    """Print what is to be done."""
    listed = list(_lines(plan))
    if listed:
        print_table([("photograph", "files", "goes to"), *listed[:SHOWN]])
    if len(listed) > SHOWN:
        print(f"… and {len(listed) - SHOWN:,} more")
    for note in plan.notes[:SHOWN]:
        print(f"Left as it is: {note}")
    if len(plan.notes) > SHOWN:
        print(f"… and {len(plan.notes) - SHOWN:,} more are left")
    count = sum(map(len, plan.moves.values()))
    does = f"{many(count, 'file')} of {many(len(listed), 'photograph')} to move"
    print(does if listed else f"Nothing to do: {RAW} is as {DECISIONS} says")


def _lines(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for name, moves in plan.moves.items():
        goal = plan.goal[name]
        yield name, f"{len(moves):,}", f"{RAW / goal}" if goal else f"{REMOVED}"


def _show_next() -> None:
    print(f"Record this version: git add {RECORD} {RAW.parent}/.gitignore {DECISIONS}")
    print(f"Or take it back: git checkout {RECORD} && dvc checkout {RAW}")
    print("Next: dvc repro")
