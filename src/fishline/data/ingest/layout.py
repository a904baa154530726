"""Where each file of a source goes below data/raw: `<Species>/<folders below it>/<name>`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from fishline.core.errors import UserError
from fishline.core.paths import PART_NAMES
from fishline.data.ingest.archives import quoted

TOP = "top"  # names the tree without a folder above its species, if it cannot be laid flat

Digests = Callable[[Collection[str]], dict[str, str]]


class Photo(NamedTuple):
    """An image file of a source, its name taken apart.

    Several trees of species folders may come in one source; `tree` is the folders above the
    species: ("Fish_Dataset", "Fish_Dataset") of Fish_Dataset/Fish_Dataset/Trout/Trout/1.png.
    """

    name: str
    size: int
    tree: tuple[str, ...]
    species: str
    rest: str  # below the species folder

    @property
    def flat(self) -> str:
        return f"{self.species}/{self.rest}"

    @property
    def aside(self) -> str:
        return f"{self.species}/{'-'.join(self.tree) or TOP}/{self.rest}"


def is_divided(paths: Iterable[Sequence[str]]) -> bool:
    """Whether folders on `paths` divide a source for training and for validation or test."""
    folders = {folder for *above, _ in paths for folder in above}
    parts = {PART_NAMES.get(folder.lower()) for folder in folders}
    return "train" in parts and bool(parts & {"validation", "test"})


def part_of(folders: Sequence[str]) -> str | None:
    """The first of `folders` that is named for a part of a split."""
    return next((folder for folder in folders if folder.lower() in PART_NAMES), None)


def locate(
    name: str, path: Sequence[str], size: int, known: Collection[str], divided: bool
) -> Photo | None:
    """Find the species folder on `path`: the deepest that is `known`, else the last.

    None if there are no folders on the path.

    Args:
        divided: whether a folder may be that of a part, not of a species; it is laid below that.
    """
    *folders, file = path
    part = part_of(folders) if divided else None
    if part:
        folders.remove(part)
    if not folders:
        return None
    named = [i for i, folder in enumerate(folders) if folder in known]
    at = named[-1] if named else len(folders) - 1
    species = folders[at]
    above = folders[:at]
    while above and above[-1] == species:  # <Species>/<Species>/1.png
        above.pop()
    below = [part] if part else []
    return Photo(name, size, tuple(above), species, "/".join([*below, *folders[at + 1 :], file]))


def lay_out(photos: Sequence[Photo], digests: Digests) -> tuple[dict[str, Photo], list[Photo]]:
    """Destinations, and the photos that are copies of one that has the same destination.

    Where two trees hold one name with different content, the tree with more files is laid flat
    and the other goes whole to `<Species>/<its folders, joined by "-">/`.

    Args:
        digests: gives a digest of the content for each of the named photos.

    Raises:
        UserError: two different files would still get the same name.
    """
    shared = _shared(photos)
    content = _contents(shared, digests)
    sizes = Counter(photo.tree for photo in photos)
    aside = _trees_aside(sorted(sizes, key=lambda t: (-sizes[t], t)), shared, content)
    placed: dict[str, Photo] = {}
    copies: list[Photo] = []
    for photo in sorted(photos, key=lambda p: (-sizes[p.tree], p.tree)) if shared else photos:
        path = photo.aside if photo.tree in aside else photo.flat
        first = placed.setdefault(path, photo)
        same = content.get(first.name, "") == content.get(photo.name)
        if first is not photo and not same:
            raise UserError(
                f"{quoted(first.name)} and {quoted(photo.name)} are different files, and both "
                f"would become {path}: rename one, or ingest them from different folders"
            )
        if first is not photo:
            copies.append(photo)
    return placed, copies


def _shared(photos: Iterable[Photo]) -> dict[str, list[Photo]]:
    """The flat paths that more than one photo would have."""
    times = Counter(photo.flat for photo in photos)
    shared: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        if times[photo.flat] > 1:
            shared[photo.flat].append(photo)
    return shared


def _contents(shared: dict[str, list[Photo]], digests: Digests) -> dict[str, str]:
    """For each of these photos a text that only photos of the same content share."""
    content: dict[str, str] = {}
    equal: set[str] = set()
    for photos in shared.values():
        times = Counter(photo.size for photo in photos)
        content |= {photo.name: photo.name for photo in photos}
        equal |= {photo.name for photo in photos if times[photo.size] > 1}
    return content | (digests(equal) if equal else {})


def _trees_aside(
    trees: Sequence[tuple[str, ...]], shared: dict[str, list[Photo]], content: dict[str, str]
) -> set[tuple[str, ...]]:
    """The trees that cannot be laid flat, if those that come before them are."""
    of_tree: dict[tuple[str, ...], list[Photo]] = defaultdict(list)
    for photos in shared.values():
        for photo in photos:
            of_tree[photo.tree].append(photo)
    aside: set[tuple[str, ...]] = set()
    laid: dict[str, str] = {}  # flat path -> content
    for tree in trees:
        mine = {photo.flat: content[photo.name] for photo in of_tree[tree]}
        if any(laid.get(path, own) != own for path, own in mine.items()):
            aside.add(tree)
        else:
            laid |= mine
    return aside
