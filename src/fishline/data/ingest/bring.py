"""New photographs brought into the data folder: each whole or not at all, and none overwritten.

A file is copied to a staging folder on the same disk, and renamed into place once it is whole.
So a run may be stopped anywhere: the next one takes what is there for there, and brings the rest.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from fishline.core.errors import UserError
from fishline.core.files import sync
from fishline.data.ingest.archives import quoted
from fishline.data.ingest.plan import Link, Plan
from fishline.data.ingest.sources import Member


def bring(plan: Plan, raw: Path, staging: Path, link: Link) -> None:
    """Make the new files of `plan` part of the folder `raw`.

    Raises:
        UserError: the disk has no room, or a file cannot be read, written or linked. All files in
            `raw` are whole, and those that were there are as they were.
    """
    _require_room(plan, raw, staging, link)
    try:
        for path, member in tqdm(plan.new.items(), "ingest", unit="file", disable=None):
            _place(member, raw / path, staging, link)
        for folder in {parent for path in plan.new for parent in (raw / path).parents}:
            if folder.is_relative_to(raw):
                sync(folder)
    except OSError as error:
        raise UserError(
            f"{error.filename or raw}: {error.strerror}. What {raw} holds is whole; run the same "
            "again to bring the rest"
        ) from None
    if link == "move":
        _remove(plan.new.values())


def _require_room(plan: Plan, raw: Path, staging: Path, link: Link) -> None:
    disk = staging.stat().st_dev
    copied = [m for m in plan.new.values() if link == "copy" or m.file.stat().st_dev != disk]
    needed = sum(member.size for member in copied if not member.archives)
    free = shutil.disk_usage(staging).free
    if needed > free:
        raise UserError(
            f"the {len(plan.new)} new files need {needed:,} bytes, and the disk of {raw} has "
            f"{free:,} free; nothing was changed"
        )
    if needed + plan.size > free:  # DVC keeps a copy, unless the file system can clone files
        missing = needed + plan.size - free
        print(f"Note: `dvc add` may need {missing:,} bytes more than are free.", file=sys.stderr)


def _place(member: Member, target: Path, staging: Path, link: Link) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link != "copy" and _linked(member, target, link):
        return
    whole = member.file if member.archives else staging / "copy"
    if whole != member.file:
        shutil.copyfile(member.file, whole)
    sync(whole)
    if os.path.lexists(target):
        raise UserError(f"{target} has come meanwhile, and is not overwritten; try again")
    whole.rename(target)


def _linked(member: Member, target: Path, link: Link) -> bool:
    """Whether `target` is now another name of the file; for a move, it may have to be copied."""
    if link == "move" and member.file.is_symlink():
        return False
    try:
        os.link(member.file.resolve(), target)
    except FileExistsError:
        raise
    except OSError as error:  # another file system, or one without links
        if link == "hardlink":
            raise UserError(
                f"--link hardlink: {quoted(str(member.file))} and {target.parent} cannot share a "
                f"file ({error.strerror}): use --link copy"
            ) from None
        return False
    return True


def _remove(members: Iterable[Member]) -> None:
    """Take files out of the source; where that cannot be, say so: they have been copied."""
    failures = []
    for member in members:
        try:
            member.file.unlink()
        except OSError as error:
            failures.append(f"{quoted(str(member.file))} ({error.strerror})")
    if failures:
        print(
            f"Note: {len(failures)} of the files could not be taken out of the source and are "
            f"now in both places, such as {failures[0]}.",
            file=sys.stderr,
        )
