"""Files that show one photograph are found from their pixels, whatever became of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from pictures import (
    Change,
    Draw,
    Picture,
    brighter,
    chain,
    compressed,
    contrast,
    gamma,
    looks_of,
    resized,
    speckled,
    turned,
)
from PIL import Image, ImageFilter, ImageOps

from fishline.data.decode import THUMBNAIL
from fishline.data.prepare.copies import copies, links
from fishline.data.prepare.copies.copies import Copies, find_copies
from fishline.data.prepare.copies.links import Links, Numbers
from fishline.data.prepare.copies.rings import ALIKE, SAME, Floats64, Thumbnails, compare, describe
from fishline.data.sample.drawing import draw_sample

CHANGES: Mapping[str, Change] = {
    **{f"turned {angle}": turned(angle) for angle in (1, 17.3, 45, 90, 133, 180, 269.5, 340)},
    "turned roughly": turned(33, Image.Resampling.NEAREST),
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),  # sides swapped
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "120 wide": resized(120, 91),
    "300 wide": resized(300, 226),
    "quality 40": compressed(40),
    "quality 90": compressed(90),
    "darker": brighter(0.9),
    "brighter": brighter(1.1),
    "less contrast": contrast(0.8),
    "more contrast": contrast(1.2),
    "gamma 0.8": gamma(0.8),
    "gamma 1.25": gamma(1.25),
    "grey": ImageOps.grayscale,
    "square": resized(300, 300),
    "3:2": resized(300, 200),
    "16:9": resized(320, 180),
    "200 x 260": resized(200, 260),
    "turned, square": chain(turned(50), resized(128, 128)),
    "mirrored, turned, upright": chain(ImageOps.mirror, turned(200), resized(200, 260)),
    "all at once": chain(
        ImageOps.mirror, turned(77), resized(160, 120), gamma(0.85), compressed(50)
    ),
    "all at once, squashed": chain(
        ImageOps.mirror, turned(290), resized(240, 160), brighter(0.9), compressed(40)
    ),
}


def search(thumbnails: Thumbnails, aspects: Floats64) -> Copies:
    with TemporaryDirectory() as folder:
        return find_copies(lambda positions: thumbnails[positions], aspects, Path(folder))


def find(pictures: Sequence[Picture]) -> Copies:
    return search(*looks_of(pictures))


def partition(groups: Iterable[object]) -> set[frozenset[int]]:
    """Which positions belong together."""
    names = list(groups)
    numbers = pd.Series(range(len(names)))
    return {frozenset(members) for _, members in numbers.groupby(names)}


@pytest.fixture(scope="module")
def mixture(draw_photograph: Draw) -> tuple[Thumbnails, Floats64, list[int]]:
    """Four copies of each of 20 photographs, changed at random in every way, in random order."""
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 2), (16, 9), (20, 26), (590, 445), (590, 445)]
    pictures, originals = [], []
    for original in rng.permutation(np.repeat(np.arange(20), 4)).tolist():
        across, down = shapes[rng.integers(len(shapes))]
        width = int(rng.integers(120, 591))
        tones = [brighter(rng.uniform(0.9, 1.1)), contrast(rng.uniform(0.85, 1.15))]
        change = chain(
            ImageOps.mirror if rng.integers(2) else ImageOps.flip,
            turned(rng.uniform(0, 360)),
            resized(width, round(width * down / across)),
            [*tones, gamma(rng.uniform(0.8, 1.25))][rng.integers(3)],
            compressed(int(rng.integers(40, 91))),
        )
        pictures.append(change(draw_photograph(original)))
        originals.append(original)
    return *looks_of(pictures), originals


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_photograph_stays_itself(draw_photograph: Draw, name: str) -> None:
    photographs = [draw_photograph(number) for number in range(3)]
    found = find([*photographs, *map(CHANGES[name], photographs)])
    assert partition(found.group) == {frozenset((i, i + 3)) for i in range(3)}
    assert set(found.alike) == {-1}


@pytest.mark.parametrize("size", [(300, 300), (300, 200), (320, 180), (200, 260), (240, 180)])
def test_copies_that_were_all_squashed_alike(draw_photograph: Draw, size: tuple[int, int]) -> None:
    squash = resized(*size)
    pictures = [
        chain(turned(angle), squash)(draw_photograph(number))
        for angle in (0, 61, 250)
        for number in range(5)
    ]
    assert partition(find(pictures).group) == partition(list(range(5)) * 3)


def test_proportions_of_other_files_are_tried(draw_photograph: Draw) -> None:
    """Of a shape that is no camera's: only the other files tell."""
    photographs = [draw_photograph(number).crop((0, 0, 520, 440)) for number in range(5)]
    squashed = [chain(turned(70), resized(260, 180))(image) for image in photographs]
    assert partition(find([*photographs, *squashed]).group) == partition([*range(5), *range(5)])


def test_copies_in_frames_that_grew(draw_photograph: Draw) -> None:
    pictures, originals = [], []
    for number in range(4):
        for angle in np.linspace(0, 180, 12, endpoint=False) + 5 * number:
            image = draw_photograph(number).rotate(angle, Image.Resampling.BILINEAR, expand=True)
            pictures.append(ImageOps.mirror(image) if number % 2 else image)
            originals.append(number)
    assert partition(find(pictures).group) == partition(originals)


def test_common_light_does_not_join(draw_photograph: Draw) -> None:
    """Different photographs of one arrangement under one lamp share their slow changes."""
    lamp = np.asarray(draw_photograph(0).filter(ImageFilter.GaussianBlur(35)), float)
    pictures = []
    for number in range(1, 7):
        image = draw_photograph(number)
        fine = np.asarray(image, float) - np.asarray(image.filter(ImageFilter.GaussianBlur(20)))
        pictures.append(Image.fromarray(np.clip(lamp + 0.3 * fine, 0, 255).astype(np.uint8)))
    assert len(set(find(pictures).group)) == 6


def test_different_photographs_stay_apart(draw_photograph: Draw) -> None:
    found = find([draw_photograph(number) for number in range(30)])
    assert len(set(found.group)) == 30
    assert set(found.alike) == {-1}
    assert set(found.confidence) == {1}


def test_any_changes_in_any_mixture(mixture: tuple[Thumbnails, Floats64, list[int]]) -> None:
    thumbnails, aspects, originals = mixture
    found = search(thumbnails, aspects)
    assert partition(found.group) == partition(originals)
    assert found.group.dtype == found.alike.dtype == np.int64
    assert found.confidence.dtype == np.float32


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_files_does_not_matter(
    mixture: tuple[Thumbnails, Floats64, list[int]], seed: int
) -> None:
    thumbnails, aspects, _ = mixture
    order = np.random.default_rng(seed).permutation(len(thumbnails))
    found, mixed = search(thumbnails, aspects), search(thumbnails[order], aspects[order])
    assert partition(mixed.group) == partition(found.group[order])
    np.testing.assert_allclose(mixed.confidence, found.confidence[order], atol=1e-4)


@pytest.mark.parametrize("block", [7, 50])
def test_neither_threads_nor_blocks_matter(
    mixture: tuple[Thumbnails, Floats64, list[int]],
    block: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thumbnails, aspects, _ = mixture
    counts = []

    def take(positions: Numbers) -> Thumbnails:
        counts.append(len(positions))
        return thumbnails[positions]

    whole = search(thumbnails, aspects)
    monkeypatch.setattr(links, "BLOCK", block)
    monkeypatch.setattr(links, "_STRIP", 2)
    monkeypatch.setattr("fishline.core.parallel.usable_cores", lambda: 3)
    parts = find_copies(take, aspects, tmp_path)
    assert max(counts) <= block
    for name in ("group", "confidence", "alike"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert not list(tmp_path.iterdir())


def test_the_drawn_data_set_is_what_its_record_says(tmp_path: Path) -> None:
    record = draw_sample(tmp_path / "sample", seed=3, originals=2, copies=3)
    assert record["species"].nunique() == 9
    whole = record[record["file"] != "Sea Bass/00006.png"]
    thumbnails, aspects = looks_of(
        [Image.open(tmp_path / "sample" / file) for file in whole["file"]]
    )
    assert partition(search(thumbnails, aspects).group) == partition(list(whole["original"]))


def test_equal_pixels_are_one_photograph(draw_photograph: Draw) -> None:
    first, other = draw_photograph(0), draw_photograph(1)
    found = find([first, other, first.copy(), first.copy()])
    assert partition(found.group) == {frozenset((0, 2, 3)), frozenset((1,))}
    assert set(found.confidence) == {1}


def linked(*links: tuple[int, int, float]) -> Links:
    one, other, correlation = zip(*links, strict=True)
    # As float32, rounded up: just the limit counts.
    return np.array(one), np.array(other), np.nextafter(np.array(correlation, np.float32), 2)


def test_copies_are_joined_through_others() -> None:
    given = linked((0, 1, SAME), (1, 2, SAME + 0.01), (3, 4, SAME - 0.01))
    group = copies._components(5, given)
    assert partition(group) == {frozenset((0, 1, 2)), frozenset((3,)), frozenset((4,))}


@pytest.mark.parametrize("held", [0, 50, 10**7])
def test_links_that_are_left_out_decide_nothing(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_HELD", held)
    rng = np.random.default_rng(0)
    one, other = np.triu_indices(60, 1)
    order = rng.permutation(len(one))[:300]
    correlation = rng.uniform(ALIKE, 0.972, 300).astype(np.float32)
    whole = one[order], other[order], correlation
    parts = [tuple(column[some] for column in whole) for some in np.split(np.arange(300), 15)]
    few = copies._decisive(60, iter(parts))
    group = copies._components(60, whole)
    assert 5 < len(set(group)) < 40
    assert len(few[0]) < 290
    np.testing.assert_array_equal(copies._components(60, few), group)
    expected, decided = copies._decide(group, whole), copies._decide(group, few)
    for name in ("confidence", "alike"):
        np.testing.assert_array_equal(getattr(decided, name), getattr(expected, name))


def shaded(level: int, angle: float) -> Picture:
    """Nearly blank: an empty table, a little lighter on one side."""
    down, across = np.mgrid[:445, :590] / 445
    light = level + 16 * (across * np.cos(angle) + down * np.sin(angle))
    return Image.fromarray(light.astype(np.uint8))


def test_blank_pictures_join_nothing(draw_photograph: Draw) -> None:
    size = (590, 445)
    blank = [Image.new("RGB", size, colour) for colour in ("black", "white", "#808080")]
    blank += [speckled(level, seed) for seed, level in enumerate((0, 0, 128, 254, 254))]
    blank += [shaded(30 + 50 * i, i) for i in range(4)]
    photographs = [draw_photograph(number) for number in range(3)]
    found = find([*blank, *photographs, *map(turned(30), photographs)])
    count = len(blank)
    alone = {frozenset((i,)) for i in range(count)}
    assert partition(found.group) == alone | {
        frozenset((count + i, count + i + 3)) for i in (0, 1, 2)
    }
    assert set(found.alike) == {-1}


@pytest.mark.parametrize(
    ("levels", "groups"), [((), 0), ((7,), 1), ((0, 255, 128), 3), ((0, 255, 0), 2)]
)
def test_a_set_without_any_structure(levels: Sequence[int], groups: int) -> None:
    thumbnails = np.zeros((len(levels), THUMBNAIL, THUMBNAIL), np.uint8)
    thumbnails += np.array(levels, np.uint8)[:, None, None]
    found = search(thumbnails, np.full(len(levels), 4 / 3))
    assert len(set(found.group)) == groups
    assert [len(found.group), len(found.confidence), len(found.alike)] == [len(levels)] * 3


@pytest.fixture(scope="module")
def look_alikes(draw_photograph: Draw) -> list[Picture]:
    """Two copies of one photograph, two of another that looks like it, and a third photograph."""
    first, other, third = (draw_photograph(number) for number in range(3))
    for share in np.linspace(0, 1, 200):
        near = Image.blend(first, other, share)
        rings = describe(*looks_of([first, near]))
        if compare(rings[:1], rings[1:])[0][0] < (SAME + ALIKE) / 2:
            return [first, turned(90)(first), near, turned(90)(near), third]
    raise AssertionError("no share gives a look-alike")


def test_look_alikes_are_named_and_less_certain(look_alikes: list[Picture]) -> None:
    found = find(look_alikes)
    assert partition(found.group) == {frozenset((0, 1)), frozenset((2, 3)), frozenset((4,))}
    for position, others in {0: (2, 3), 1: (2, 3), 2: (0, 1), 3: (0, 1), 4: (-1,)}.items():
        assert found.alike[position] in others
    assert found.confidence[4] == 1
    assert ((found.confidence[:4] > 0.1) & (found.confidence[:4] < 0.8)).all()


@pytest.mark.parametrize("seed", range(2))
def test_what_looks_alike_is_of_another_photograph(draw_photograph: Draw, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = [
        chain(turned(rng.uniform(0, 360)), resized(150, 113))(
            Image.blend(
                draw_photograph(number % 4), draw_photograph(4 + number % 7), 0.05 * (number % 5)
            )
        )
        for number in range(40)
    ]
    found = find(pictures)
    named = np.flatnonzero(found.alike >= 0)
    assert len(named) > 5
    assert (found.group[named] != found.group[found.alike[named]]).all()
    assert (found.alike[found.alike[named]] >= 0).all()  # who is named has a look-alike too
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert len(set(found.group)) > 4


@pytest.mark.parametrize(
    ("joined", "across", "expected"),
    [
        (SAME, ALIKE, 0),
        ((SAME + 1) / 2, ALIKE, (1 - SAME) / 2 / (SAME - ALIKE)),
        (1, ALIKE, 1),
        (1, (SAME + ALIKE) / 2, 0.5),
        (1, SAME, 0),
        (SAME + (SAME - ALIKE) / 4, (SAME + ALIKE) / 2, 0.25),
    ],
)
def test_confidence_is_that_of_the_nearest_decision(
    joined: float, across: float, expected: float
) -> None:
    given = linked((0, 1, joined), (0, 2, across))
    found = copies._decide(np.array([5, 5, 8]), given)
    assert found.confidence[0] == pytest.approx(expected, abs=1e-5)
    assert found.alike.tolist() == [2, -1, 0]


def test_the_most_alike_is_named() -> None:
    given = linked((0, 1, 0.94), (3, 0, 0.96), (0, 2, 0.95), (1, 2, 0.99))
    assert copies._decide(np.array([0, 1, 1, 3]), given).alike.tolist() == [3, 0, 0, 0]
