"""What an ingest would do, found by reading alone: what is new, there already, left out."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from fishline.core.errors import UserError
from fishline.data.ingest.archives import quoted
from fishline.data.ingest.layout import Photo, lay_out, locate
from fishline.data.ingest.sources import Member, Source, set_aside

Link = Literal["copy", "hardlink", "move"]


@dataclass
class Plan:
    """What an ingest would do; names are relative to the source, paths to the data folder."""

    new: dict[str, str] = field(default_factory=dict)  # name -> path
    size: int = 0  # of the new files, in bytes
    species: dict[str, Counter[str]] = field(default_factory=dict)  # species -> "new", "there"
    left_out: Counter[str] = field(default_factory=Counter)  # reason -> files
    examples: dict[str, str] = field(default_factory=dict)  # reason -> name

    def leave_out(self, why: str, name: str) -> None:
        self.left_out[why] += 1
        self.examples.setdefault(why, name)


def make_plan(source: Source, raw: Path, known: Collection[str], link: Link) -> Plan:
    """Compare the photographs of `source` with those in the folder `raw`.

    Args:
        known: names that are species wherever they stand on a path.

    Raises:
        UserError: the source cannot be read or is refused, or two different files, of the source
            or one of them in `raw`, would get the same name.
    """
    plan = Plan()
    photos = list(_find_photos(source, known, link, plan))
    placed, copies = lay_out(photos, lambda names: _digests(source, names))
    for photo in copies:
        plan.leave_out("copy of a file taken under the same name", photo.name)
    there = _already_there(source, raw, placed)
    for path, photo in placed.items():
        is_new = photo.name not in there
        plan.species.setdefault(photo.species, Counter())["new" if is_new else "there"] += 1
        if is_new:
            plan.new[photo.name] = path
            plan.size += photo.size
    return plan


def _find_photos(source: Source, known: Collection[str], link: Link, plan: Plan) -> Iterator[Photo]:
    is_folder = source.path.is_dir()
    own = source.path.resolve().name
    for member in tqdm(source.members(), "names", unit="file", leave=False, disable=None):
        path, why = member.path, member.left_out
        if is_folder and own and not why and (len(path) == 1 or own in known):
            path = (own, *path)  # the source is the species folder, or may be
            why = set_aside(path)
        photo = None if why else locate(member.name, path, member.size, known)
        if photo is None:
            plan.leave_out(why or "in no species folder", member.name)
            continue
        if link != "copy" and member.file is None:
            raise UserError(
                f"--link {link} needs a folder of photographs, and {quoted(member.name)} is in an "
                "archive: use --link copy"
            )
        yield photo


def _digests(source: Source, names: Collection[str]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for member in source.members():
        if member.name in names:
            digest = hashlib.sha256()
            for chunk in member.chunks():
                digest.update(chunk)
            digests[member.name] = digest.hexdigest()
    return digests


def _already_there(source: Source, raw: Path, placed: dict[str, Photo]) -> set[str]:
    """The names of the photos that `raw` has under the same path, with the same content."""
    compare: dict[str, Path] = {}
    other: list[Path] = []
    for path, photo in placed.items():
        there = raw / path
        if os.path.lexists(there):
            same_size = there.is_file() and there.stat().st_size == photo.size
            if same_size:
                compare[photo.name] = there
            else:
                other.append(there)
    if compare:
        with tqdm(total=len(compare), desc="compare", unit="file", disable=None) as bar:
            for member in source.members():
                if member.name in compare:
                    if not _is_same(member, compare[member.name]):
                        other.append(compare[member.name])
                    bar.update()
    if other:
        names = [f"  {path}" for path in sorted(other)[:20]]
        more = [f"  … and {len(other) - 20} more"] if len(other) > 20 else []
        raise UserError(
            f"already there with other content: {len(other)} of the files; nothing was changed. "
            "Rename them in the source, or remove the old ones:\n" + "\n".join(names + more)
        )
    return set(compare)


def _is_same(member: Member, path: Path) -> bool:
    with path.open("rb") as file:
        return all(file.read(len(chunk)) == chunk for chunk in member.chunks())
