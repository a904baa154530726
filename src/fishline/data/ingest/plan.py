"""What an ingest would do, seen by reading alone: what is new, there already, left out."""

from __future__ import annotations

import filecmp
import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from tqdm import tqdm

from fishline.core.errors import UserError
from fishline.data.ingest.archives import quoted
from fishline.data.ingest.layout import Photo, is_divided, lay_out, locate, part_of
from fishline.data.ingest.sources import Member, set_aside
from fishline.data.photo_files import folder_part

Link = Literal["copy", "hardlink", "move"]


@dataclass
class Plan:
    """What an ingest would do; names are relative to the source, paths to the data folder."""

    new: dict[str, Member] = field(default_factory=dict)  # by path
    names: dict[str, str] = field(default_factory=dict)  # by path, also of what is there
    parts: Counter[str] = field(default_factory=Counter)  # of a split that the source has
    species: dict[str, Counter[str]] = field(default_factory=dict)  # species -> "new", "there"
    left_out: Counter[str] = field(default_factory=Counter)  # reason -> files
    examples: dict[str, str] = field(default_factory=dict)  # reason -> name

    @property
    def size(self) -> int:
        """Of the new files, in bytes."""
        return sum(member.size for member in self.new.values())

    def leave_out(self, why: str, name: str) -> None:
        self.left_out[why] += 1
        self.examples.setdefault(why, name)


def make_plan(
    source: Path, members: Iterable[Member], raw: Path, known: Collection[str], link: Link
) -> Plan:
    """Compare the photographs of `source`, whose files are `members`, with the folder `raw`.

    Args:
        known: names that are species wherever they stand on a path.

    Raises:
        UserError: the source cannot be read or is refused, or two different files, of the source
            or one of them in `raw`, would get the same name, or one that the other has for a
            folder.
    """
    plan = Plan()
    photos, files = [], {}
    for photo, member in _find_photos(source, members, known, link, plan):
        photos.append(photo)
        files[photo.name] = member
    placed, copies = lay_out(photos, lambda names: {n: _digest(files[n].file) for n in names})
    for photo in copies:
        plan.leave_out("copy of a file taken under the same name", photo.name)
    _require_folders(placed, raw)
    there = _already_there(files, raw, placed)
    for path, photo in placed.items():
        is_new = path not in there
        plan.names[path] = photo.name
        if part := folder_part(path, photo.species):
            plan.parts[part] += 1
        plan.species.setdefault(photo.species, Counter())["new" if is_new else "there"] += 1
        if is_new:
            plan.new[path] = files[photo.name]
    return plan


def _find_photos(
    source: Path, members: Iterable[Member], known: Collection[str], link: Link, plan: Plan
) -> Iterator[tuple[Photo, Member]]:
    own = source.resolve().name if source.is_dir() else ""
    everything = list(tqdm(members, "names", unit="file", leave=False, disable=None))
    divided = is_divided(member.path for member in everything if not member.left_out)
    for member in everything:
        path, why = member.path, member.left_out
        folders = set(path[:-1]) - ({part_of(path[:-1])} if divided else set())
        if own and not why and (not folders or own in known):
            path = (own, *path)  # the source is the species folder, or may be
            why = set_aside(path)
        photo = None if why else locate(member.name, path, member.size, known, divided)
        if photo is None:
            plan.leave_out(why or "in no species folder", member.name)
            continue
        if link != "copy" and member.archives:
            raise UserError(
                f"--link {link} needs a folder of photographs, and {quoted(member.name)} is in an "
                "archive: use --link copy"
            )
        yield photo, member


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_folders(placed: dict[str, Photo], raw: Path) -> None:
    for folder in {parent for path in placed for parent in PurePosixPath(path).parents}:
        there = raw / folder
        if str(folder) in placed or (os.path.lexists(there) and not there.is_dir()):
            raise UserError(
                f"{there} would have to be both a file and a folder; nothing was changed. "
                "Rename one of them"
            )


def _already_there(files: dict[str, Member], raw: Path, placed: dict[str, Photo]) -> set[str]:
    """The paths under which `raw` has a file, which has the same content."""
    there = {path for path in placed if os.path.lexists(raw / path)}
    other = []
    for path in tqdm(sorted(there), "compare", unit="file", leave=False, disable=None):
        if not (raw / path).is_file() or not _same(files[placed[path].name].file, raw / path):
            other.append(raw / path)
    if other:
        names = [f"  {path}" for path in other[:20]]
        more = [f"  … and {len(other) - 20} more"] if len(other) > 20 else []
        raise UserError(
            f"already there with other content: {len(other)} of the files; nothing was changed. "
            "Rename them in the source, or remove the old ones:\n" + "\n".join(names + more)
        )
    return there


def _same(file: Path, other: Path) -> bool:
    filecmp.clear_cache()  # its entries go by times of change, and would all be kept
    return filecmp.cmp(file, other, shallow=False)
