"""Which pictures look alike: every pair, once, however the pictures are divided into blocks."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fishline.data.decode import THUMBNAIL
from fishline.data.prepare.copies import links
from fishline.data.prepare.copies.links import Links, concatenate, find_links
from fishline.data.prepare.copies.rings import ALIKE, Thumbnails, compare, describe

COUNT = 300


def draw(count: int = COUNT) -> Thumbnails:
    """Pictures of which many correlate by about `ALIKE`: of few parts, some of each mirrored."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(4, THUMBNAIL // 4, THUMBNAIL // 4)).repeat(4, axis=1).repeat(4, axis=2)
    noise = rng.normal(size=(count, THUMBNAIL // 4, THUMBNAIL // 4)).repeat(4, axis=1)
    shares = rng.uniform(0, 0.5, (count, 1, 1))
    grey = 128 + 30 * (parts[rng.integers(4, size=count)] + shares * noise.repeat(4, axis=2))
    grey[::3] = grey[::3, ::-1]
    grey[::50] = 100  # without structure
    return np.clip(grey, 0, 255).astype(np.uint8)


def search(thumbnails: Thumbnails, folder: Path, groups: int | None = None) -> Links:
    count = len(thumbnails)
    group = np.arange(count) % (groups or count + 1)
    ones = np.ones(count)
    return concatenate(find_links(lambda rows: thumbnails[rows], ones, ones, group, folder))


def pairs(result: Links) -> Counter[tuple[int, int]]:
    return Counter(zip(result[0].tolist(), result[1].tolist(), strict=True))


@pytest.mark.parametrize("groups", [1, 2, 7, None])
@pytest.mark.parametrize("block", [1, 7, 100, 8192])
def test_every_pair_of_different_groups_is_there_once(
    block: int, groups: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "BLOCK", block)
    monkeypatch.setattr(links, "_ROWS", 30)
    thumbnails = draw(60 if block == 1 else COUNT)
    rings = describe(thumbnails, np.ones(len(thumbnails)))
    one, other = np.triu_indices(len(rings), 1)
    correlation, _, _ = compare(rings[one], rings[other])
    number = groups or len(rings) + 1
    alike = (correlation >= ALIKE) & (one % number != other % number)
    there = Counter(zip(one[alike].tolist(), other[alike].tolist(), strict=True))
    assert pairs(search(thumbnails, tmp_path, groups)) == there
    assert groups == 1 or len(there) > 50
    assert not list(tmp_path.iterdir())


def test_a_pair_at_the_limit_is_there(tmp_path: Path) -> None:
    """Where bounds are tight: magnitudes that vary in few directions, phases that agree."""
    thumbnails = draw()
    thumbnails[1::2] = thumbnails[::2, ::-1, ::-1]
    thumbnails[1::2, 20:24, 20:24] ^= 31
    rings = describe(thumbnails, np.ones(COUNT))
    near = compare(rings[::2], rings[1::2])[0] >= ALIKE
    there = pairs(search(thumbnails, tmp_path))
    assert near.sum() > 50
    assert all(there[2 * number, 2 * number + 1] for number in np.flatnonzero(near).tolist())
