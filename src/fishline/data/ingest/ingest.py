"""`fishline ingest SOURCE`: bring photographs into data/raw and put them under version control.

Up to three looks at the source: the names, what is there already, the copying. None holds a
file's content, and an archive is read from its start each time: nothing is unpacked before.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from fishline.core.dvc import dvc
from fishline.core.errors import UserError
from fishline.core.folders import exchanging, needs_recovery, recover
from fishline.core.params import PATH, Params, load_params
from fishline.data.ingest.archives import quoted
from fishline.data.ingest.plan import Link, Plan, make_plan
from fishline.data.ingest.sources import Member, Source

RAW = Path("data/raw")
RECORD = Path("data/raw.dvc")
LOCK = Path(".dvc/tmp/fishline-ingest.lock")


def ingest(path: Path, dry_run: bool = False, link: Link = "copy", as_json: bool = False) -> None:
    """Bring the photographs of the folder or archive `path` into data/raw; print what was done.

    Args:
        as_json: print what a dry run found as JSON.

    Raises:
        UserError: the source cannot be taken as it is, or a file is there already with other
            content; data/raw is as it was. Or `dvc add` failed; the files are in data/raw.
    """
    _require_project(path)
    params = load_params() if PATH.exists() else None
    species = params.species if params else ()
    spool = RAW.parent if RAW.parent.is_dir() else Path()
    source = Source(path, spool, shutil.disk_usage(spool).free)
    if dry_run:
        if needs_recovery(RAW):
            raise UserError(f"an ingest was cut off: run one without --dry-run to mend {RAW}")
        _require_checkout()
        plan = make_plan(source, RAW, species, link)
        if as_json:
            print(json.dumps(_facts(plan), indent=2, ensure_ascii=False))
        else:
            _show(plan)
            print("Dry run: nothing was changed.")
        return _require_photographs(plan, path)
    with _alone():
        if recover(RAW):
            print(f"{RAW} is back as it was before an ingest that was cut off.")
        _require_checkout()
        plan = make_plan(source, RAW, species, link)
        _show(plan)
        _require_photographs(plan, path)
        if plan.new:
            bring(source, plan, link)
        _version()  # also when nothing is new: `dvc add` may have failed the last time
    _show_next(plan, params)


def _require_project(path: Path) -> None:
    if not Path(".dvc").is_dir():
        raise UserError("no DVC project here: run this in its root folder, or run `dvc init` first")
    if not path.is_dir() and not path.is_file():
        raise UserError(f"there is no folder or archive {path}")
    if RAW.is_symlink() or (RAW.exists() and not RAW.is_dir()):
        raise UserError(f"{RAW} must be a folder, not a link or a file")
    here, raw = path.resolve(), RAW.resolve()
    if here.is_relative_to(raw) or raw.is_relative_to(here):
        raise UserError(f"{path} and {RAW} lie in each other: name a folder outside")


def _require_checkout() -> None:
    if RECORD.exists() and not RAW.exists():
        raise UserError(
            f"{RECORD} records photographs that are not here, and the next version would lack "
            f"them: run `dvc checkout {RAW}` (or `dvc pull {RAW}`) first"
        )


@contextmanager
def _alone() -> Iterator[None]:
    LOCK.parent.mkdir(exist_ok=True)
    try:
        with FileLock(LOCK, timeout=0):
            yield
    except Timeout:
        raise UserError("another ingest is running in this project: wait for its end") from None


def bring(source: Source, plan: Plan, link: Link) -> None:
    """Make the new files of `plan` part of data/raw, all or none."""
    _require_room(source, plan, link)
    try:
        with exchanging(RAW) as tree:
            _write(source, plan, link, tree)
    except OSError as error:
        raise UserError(f"{error.filename or RAW}: {error.strerror}; {RAW} is as it was") from None
    if link == "move":
        for name in plan.new:
            (source.path / name).unlink()


def _require_room(source: Source, plan: Plan, link: Link) -> None:
    elsewhere = source.path.stat().st_dev != source.spool.stat().st_dev
    needed = plan.size if link == "copy" or elsewhere else 0
    free = shutil.disk_usage(source.spool).free
    if needed > free:
        raise UserError(
            f"the {len(plan.new)} new files need {needed:,} bytes, and the disk of {RAW} has "
            f"{free:,} free; nothing was changed"
        )
    if needed + plan.size > free:  # DVC keeps a copy, unless the file system can clone files
        missing = needed + plan.size - free
        print(f"Note: `dvc add` may need {missing:,} bytes more than are free.", file=sys.stderr)


def _write(source: Source, plan: Plan, link: Link, tree: Path) -> None:
    place = {"copy": _copy, "hardlink": _hardlink, "move": _link_or_copy}[link]
    left = dict(plan.new)
    with tqdm(total=len(left), desc="ingest", unit="file", disable=None) as bar:
        for member in source.members():
            if path := left.pop(member.name, None):
                target = tree / path
                target.parent.mkdir(parents=True, exist_ok=True)
                place(member, target)
                bar.update()
    if left:
        raise UserError(f"{source.path} changed while it was read; {RAW} is as it was")


def _copy(member: Member, target: Path) -> None:
    with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o644)) as file:
        for chunk in member.chunks():
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _hardlink(member: Member, target: Path) -> None:
    assert member.file is not None  # make_plan saw to it
    try:
        os.link(member.file.resolve(), target)
    except OSError as error:
        raise UserError(
            f"--link hardlink: {quoted(str(member.file))} and {RAW} cannot share a file "
            f"({error.strerror}): use --link copy"
        ) from None


def _link_or_copy(member: Member, target: Path) -> None:
    assert member.file is not None  # make_plan saw to it
    try:
        if not member.file.is_symlink():
            os.link(member.file, target)
            return
    except OSError:  # another file system, or one without links
        pass
    _copy(member, target)


def _version() -> None:
    command = ["dvc", "add", RAW.as_posix()]
    print(f"{' '.join(command)} …", file=sys.stderr)
    done = dvc(*command[1:])
    if done.returncode:
        raise UserError(
            f"the photographs are in {RAW}, but not under version control: `dvc add` said\n\n"
            f"{(done.stdout + done.stderr).strip()}\n\nMend that and run: {' '.join(command)}"
        )


def _facts(plan: Plan) -> dict[str, object]:
    """What `_show` prints, for programs."""
    none = {"new": 0, "there": 0}
    left_out = [
        {"reason": why, "files": n, "example": plan.examples[why]}
        for why, n in sorted(plan.left_out.items())
    ]
    species = {name: none | counts for name, counts in sorted(plan.species.items())}
    return {"species": species, "new_bytes": plan.size, "left_out": left_out}


def _show(plan: Plan) -> None:
    """Print what was found."""
    rows = [(name, f"{n['new']:,}", f"{n['there']:,}") for name, n in sorted(plan.species.items())]
    if rows:
        _print_table([("species", "new", "already there"), *rows])
    left_out = [(why, f"{n:,}", _short(plan.examples[why])) for why, n in plan.left_out.items()]
    if left_out:
        _print_table([("left out", "files", "for example"), *sorted(left_out)])


def _require_photographs(plan: Plan, source: Path) -> None:
    if not plan.species:
        raise UserError(f"{source} holds no photographs to take; nothing was changed")


def _short(name: str) -> str:
    return quoted(name if len(name) <= 60 else f"…{name[-59:]}")


def _print_table(rows: list[tuple[str, str, str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for first, second, third in rows:
        print(f"{first:<{widths[0]}}  {second:>{widths[1]}}  {third}")
    print()


def _show_next(plan: Plan, params: Params | None) -> None:
    if params:
        if unnamed := sorted(set(plan.species) - set(params.species)):
            print(f"Not yet named in {PATH} (base.species, finetune.species): {', '.join(unnamed)}")
        if Path(params.data.dir) != RAW:
            print(f"{PATH} still says data.dir: {params.data.dir}; to use these photographs, set")
            print(f"  data.dir: {RAW}")
    print(f"Record this version: git add {RECORD} {RAW.parent}/.gitignore")
    print("Next: dvc repro")
