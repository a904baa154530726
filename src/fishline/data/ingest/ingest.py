"""`fishline ingest SOURCE`: bring photographs into data/raw and put them under version control."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from fishline.core.dvc import dvc
from fishline.core.errors import UserError
from fishline.core.files import one_at_a_time
from fishline.core.params import PATH, Params, load_params
from fishline.core.text import many
from fishline.data.ingest.archives import quoted
from fishline.data.ingest.bring import bring
from fishline.data.ingest.buckets import fetch
from fishline.data.ingest.plan import Link, Plan, make_plan
from fishline.data.ingest.sources import members
from fishline.data.ingest.table import match_source, merge
from fishline.data.photograph_table import NAME
from fishline.data.remote_files import is_url

RAW = Path("data/raw")
RECORD = Path("data/raw.dvc")
STAGING = RAW.with_name(".raw-staging")
LOCK = Path(".dvc/tmp/fishline-ingest.lock")


def ingest(
    source: Path | str,
    dry_run: bool = False,
    link: Link = "copy",
    as_json: bool = False,
    table: Path | None = None,
) -> None:
    """Bring the photographs of `source` into data/raw; print what was done.

    Args:
        source: a folder or archive, here or behind a URL; from there it is downloaded first.
        as_json: print what a dry run found as JSON.
        table: what is known of the photographs, as photographs.csv in data/raw has it.

    Raises:
        UserError: the source cannot be taken as it is, or a file is there already with other
            content; data/raw is as it was. Or a file could not be brought, or `dvc add` failed:
            what is in data/raw is whole, and the same again goes on from there.
    """
    url = str(source) if is_url(str(source)) else ""
    require_project()
    if not url:
        _require_source(Path(source))
    elif link != "copy":
        raise UserError(f"--link {link} needs a folder on this machine: use --link copy")
    params = load_params() if PATH.exists() else None
    with one_ingest() as staging:
        require_checkout()
        path, left_out = fetch(url, staging) if url else (Path(source), [])
        files = chain(left_out, members(path, staging, shutil.disk_usage(staging).free, url))
        plan = make_plan(path, files, RAW, params.species if params else (), link)
        known = match_source(table, plan.names) if table else None
        if dry_run and as_json:
            print(json.dumps(_facts(plan), indent=2, ensure_ascii=False))
        else:
            _show(plan)
        if known is not None and not as_json:
            columns = ", ".join(map(str, known.columns))
            print(f"{table} says of {many(len(known), 'file')}: {columns}")
        if dry_run and not as_json:
            print("Dry run: nothing was changed.")
        if not plan.species:
            raise UserError(f"{source} holds no photographs to take; nothing was changed")
        if dry_run:
            return
        bring(plan, RAW, staging, link)
        if known is not None:
            merge(known, RAW)
        add_version()  # also when nothing is new: `dvc add` may have failed the last time
    _show_next(plan, params, table)


def require_project() -> None:
    """See that this is the root of a DVC project, in which data/raw can be a folder.

    Raises:
        UserError: it is not.
    """
    if not Path(".dvc").is_dir():
        raise UserError("no DVC project here: run this in its root folder, or run `dvc init` first")
    if RAW.is_symlink() or (RAW.exists() and not RAW.is_dir()):
        raise UserError(f"{RAW} must be a folder, not a link or a file")


def _require_source(path: Path) -> None:
    if not path.is_dir() and not path.is_file():
        raise UserError(f"there is no folder or archive {path}")
    here, raw = path.resolve(), RAW.resolve()
    if here.is_relative_to(raw) or raw.is_relative_to(here):
        raise UserError(f"{path} and {RAW} lie in each other: name a folder outside")


def require_checkout() -> None:
    """See that the version of data/raw that is recorded is here.

    Raises:
        UserError: there is nothing of it.
    """
    if RECORD.exists() and not RAW.exists():
        raise UserError(
            f"{RECORD} records photographs that are not here, and the next version would lack "
            f"them: run `dvc checkout {RAW}` (or `dvc pull {RAW}`) first"
        )


@contextmanager
def one_ingest() -> Iterator[Path]:
    """A folder for unfinished work on the disk of data/raw; one ingest at a time has it."""
    with one_at_a_time(LOCK, "another ingest is running in this project: wait for its end"):
        if STAGING.exists():
            note = f"An ingest was cut off; what it brought into {RAW} is whole and stays."
            print(note, file=sys.stderr)
            shutil.rmtree(STAGING)
        STAGING.mkdir(parents=True)
        try:
            yield STAGING
        finally:
            shutil.rmtree(STAGING, ignore_errors=True)
            with suppress(OSError):
                STAGING.parent.rmdir()  # if it is empty


def add_version() -> None:
    """`dvc add data/raw`.

    Raises:
        UserError: it failed.
    """
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
    parts = dict(sorted(plan.parts.items()))
    return {"species": species, "new_bytes": plan.size, "left_out": left_out, "parts": parts}


def _show(plan: Plan) -> None:
    """Print what was found."""
    rows = [(name, f"{n['new']:,}", f"{n['there']:,}") for name, n in sorted(plan.species.items())]
    if rows:
        print_table([("species", "new", "already there"), *rows])
    left_out = [(why, f"{n:,}", _short(plan.examples[why])) for why, n in plan.left_out.items()]
    if left_out:
        print_table([("left out", "files", "for example"), *sorted(left_out)])
    if plan.parts:
        parts = ", ".join(f"{part} ({n:,} files)" for part, n in sorted(plan.parts.items()))
        print(f"The source is split: {parts}. split.strategy: given in {PATH} uses that.")


def _short(name: str) -> str:
    return quoted(name if len(name) <= 60 else f"…{name[-59:]}")


def print_table(rows: list[tuple[str, str, str]]) -> None:
    """Print three columns, the middle one of numbers, and an empty line."""
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for first, second, third in rows:
        print(f"{first:<{widths[0]}}  {second:>{widths[1]}}  {third}")
    print()


def _show_next(plan: Plan, params: Params | None, table: Path | None) -> None:
    if params:
        if unnamed := sorted(set(plan.species) - set(params.species)):
            print(f"Not yet named in {PATH}: {', '.join(unnamed)}. This names them:")
            dashes = ["--"] if any(name[0] == "-" for name in unnamed) else []
            print(f"  fishline species add {shlex.join([*dashes, *unnamed])}")
        if Path(params.data.dir) != RAW:
            print(f"{PATH} still says data.dir: {params.data.dir}; to use these photographs, set")
            print(f"  data.dir: {RAW}")
    if (RAW / NAME).is_file() and not table:
        print(f"New photographs need a row in {RAW / NAME}: `--table` adds a table of them.")
    print(f"Record this version: git add {RECORD} {RAW.parent}/.gitignore")
    print("Next: dvc repro")
