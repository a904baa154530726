"""Which files show the same photograph, from their pixels alone.

Data sets are enlarged by turning, mirroring, rescaling and recompressing their photographs. A split
that puts copies of one photograph on both sides measures memory, not recognition.

All pictures are compared with all (links.py), by what they look like along rings (rings.py), once
in their own proportions and once in each of those that they may have had before they were squashed
(proportions.py). From a correlation of `SAME` on two pictures show one photograph, and photographs
joined by any chain of such pairs are one (single linkage).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from fishline.core.engine import map_on_engine
from fishline.data.prepare.copies.links import Links, Numbers, Take, concatenate, divide, find_links
from fishline.data.prepare.copies.proportions import hypotheses
from fishline.data.prepare.copies.rings import ALIKE, SAME, Floats, Floats64

_DIGEST = 16  # bytes
_HELD = 10**7  # links, 200 MB


@dataclass(frozen=True)
class Copies:
    """Which of n files show one photograph, and which look alike.

    group:      int64 (n,), equal for files that show the same photograph
    confidence: float32 (n,), how clear the decision nearest to tipping over was: 0 (a correlation
                at `SAME`) … 1 (all of them at least `SAME - ALIKE` away)
    alike:      int64 (n,), a file of another photograph that looks like this one's, or -1
    """

    group: Numbers
    confidence: Floats
    alike: Numbers


def find_copies(take: Take, aspects: Floats64, folder: Path) -> Copies:
    """Group pictures that show the same photograph.

    Args:
        take: gives the thumbnails at some positions, uint8 (b, THUMBNAIL, THUMBNAIL), of at most
            `links.BLOCK` at once; on Ray it is pickled.
        aspects: (n,), width / height of each picture.
        folder: where descriptors may lie meanwhile, 1.5 KB for each picture; all machines see it.

    Returns:
        The same bytes on either engine.
    """
    first = _first_of_equals(take, len(aspects))
    files = np.unique(first)
    again = np.flatnonzero(first != np.arange(len(first)))
    links: Links = (first[again], again, np.ones(len(again), np.float32))
    group = first
    for assumed, reach, discount in hypotheses(aspects[files]):
        more = find_links(lambda some: take(files[some]), assumed, reach, group[files], folder)
        discounted = ((files[one], files[other], c - discount) for one, other, c in more)
        links = _decisive(len(first), chain([links], discounted))
        group = _components(len(first), links)
    return _decide(group, links)


def _first_of_equals(take: Take, count: int) -> Numbers:
    """For each thumbnail the position of the first one with the same bytes."""
    digests = b"".join(map_on_engine(partial(_digests, take), divide(count), batch=1))
    _, first, which = np.unique(
        np.frombuffer(digests, f"V{_DIGEST}"), return_index=True, return_inverse=True
    )
    return np.asarray(first[which], np.int64)


def _digests(take: Take, block: range) -> bytes:
    looks = take(np.array(block))
    return b"".join(hashlib.blake2b(look, digest_size=_DIGEST).digest() for look in looks)


def _decisive(count: int, links: Iterable[Links]) -> Links:
    """Those of `links` between `count` files that decide something."""
    held: list[Links] = []
    most = _HELD
    for some in links:
        held.append(some)
        if sum(len(one) for one, _, _ in held) > most:
            held = [_thinned(count, concatenate(held))]
            most = _HELD + 2 * len(held[0][0])
    return _thinned(count, concatenate(held))


def _thinned(count: int, links: Links) -> Links:
    """`links` between groups, and within each a maximum spanning tree.

    It joins what all links within the group join, and has the strongest one of every file.
    """
    one, other, correlation = links
    group = _components(count, links)
    across = group[one] != group[other]
    forest = minimum_spanning_tree(_graph(count, links)).tocoo()
    row, column = forest.row.astype(np.int64), forest.col.astype(np.int64)
    inside = row, column, (2 - forest.data).astype(np.float32)
    return concatenate([inside, (one[across], other[across], correlation[across])])


def _components(count: int, links: Links) -> Numbers:
    """The number of each file's group: files joined by any chain of links from `SAME` on."""
    numbers = connected_components(_graph(count, links), directed=False)[1]
    return np.asarray(numbers, np.int64)


def _graph(count: int, links: Links) -> csr_array:
    """The links from `SAME` on, the shorter the stronger."""
    one, other, correlation = links
    same = correlation >= SAME
    lengths = 2 - correlation[same].astype(np.float64)
    return csr_array((lengths, (one[same], other[same])), (count, count))


def _decide(group: Numbers, links: Links) -> Copies:
    one = np.concatenate([links[0], links[1]])  # each link from both its ends
    other = np.concatenate([links[1], links[0]])
    correlation = np.concatenate([links[2], links[2]])
    inside = group[one] == group[other]
    joined, across = np.zeros((2, len(group)), np.float32)
    np.maximum.at(joined, one[inside], correlation[inside])
    np.maximum.at(across, one[~inside], correlation[~inside])
    span = SAME - ALIKE
    within = np.where(joined > 0, np.clip((joined - SAME) / span, 0, 1), 1)
    without = np.clip((SAME - across) / span, 0, 1)
    alike = np.full(len(group), -1, np.int64)
    order = np.argsort(correlation[~inside], kind="stable")
    alike[one[~inside][order]] = other[~inside][order]  # the most alike one comes last
    return Copies(group, np.minimum(within, without).astype(np.float32), alike)
