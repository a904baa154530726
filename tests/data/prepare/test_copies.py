"""Files that show one photograph are found from their pixels, whatever became of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from fishline.data.decode import THUMBNAIL, decode
from fishline.data.prepare import copies
from fishline.data.prepare.copies import (
    ALIKE,
    SAME,
    Copies,
    Floats64,
    Thumbnails,
    compare,
    describe,
    find_copies,
)
from fishline.data.sample.drawing import draw_sample

Picture = Image.Image
Draw = Callable[[int], Picture]
Change = Callable[[Picture], Picture]


def turned(angle: float, how: Image.Resampling = Image.Resampling.BILINEAR) -> Change:
    return lambda image: image.rotate(angle, how)  # counter-clockwise; black corners, same frame


def resized(width: int, height: int) -> Change:
    return lambda image: image.resize((width, height), Image.Resampling.LANCZOS)


def compressed(quality: int) -> Change:
    def change(image: Picture) -> Picture:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return change


def brighter(factor: float) -> Change:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


def contrast(factor: float) -> Change:
    return lambda image: ImageEnhance.Contrast(image).enhance(factor)


def gamma(power: float) -> Change:
    table = [round(255 * (level / 255) ** power) for level in range(256)]
    return lambda image: image.point(table * 3)


def chain(*changes: Change) -> Change:
    def change(image: Picture) -> Picture:
        for step in changes:
            image = step(image)
        return image

    return change


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


def looks_of(pictures: Sequence[Picture]) -> tuple[Thumbnails, Floats64]:
    """What the cache holds of pictures: looks (n, THUMBNAIL, THUMBNAIL) and aspects (n,)."""
    thumbnails, aspects = [], []
    for picture in pictures:
        file = BytesIO()
        picture.save(file, "BMP")
        image = decode(file.getvalue(), 48)
        thumbnails.append(image.thumbnail)
        aspects.append(image.width / image.height)
    return np.stack(thumbnails), np.array(aspects)


def search(thumbnails: Thumbnails, aspects: Floats64) -> Copies:
    return find_copies(lambda positions: thumbnails[positions], aspects)


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


@pytest.mark.parametrize(
    ("aspects", "discounted"),
    [
        ([1.0, 1.0], False),  # squashed to squares, as many a data set is
        ([4 / 3, 4 / 3], True),
        ([1.33, 1.326], True),
        ([4 / 3, 3 / 2], False),
        ([0.77, 0.77], False),
    ],
)
def test_squashing_is_unlikely_where_all_have_a_cameras_proportions(
    aspects: list[float], discounted: bool
) -> None:
    (own, _, first), *others = copies._hypotheses(np.array(aspects))
    assert own == pytest.approx(aspects, rel=0.011)
    assert first == 0
    assert len(others) > 7
    assert [discount > 0 for _, _, discount in others] == [discounted] * len(others)


def test_copies_in_frames_that_grew(draw_photograph: Draw) -> None:
    pictures, originals = [], []
    for number in range(4):
        for angle in np.linspace(0, 180, 12, endpoint=False) + 5 * number:
            image = draw_photograph(number).rotate(angle, Image.Resampling.BILINEAR, expand=True)
            pictures.append(ImageOps.mirror(image) if number % 2 else image)
            originals.append(number)
    assert partition(find(pictures).group) == partition(originals)


@pytest.mark.parametrize("angle", [0, 15, 40, 45, 60, 90])
@pytest.mark.parametrize("camera", [4 / 3, 16 / 9])
def test_a_frame_that_grew_tells_how_much_smaller_the_picture_is(
    camera: float, angle: float
) -> None:
    image = Image.new("1", (round(900 * camera), 900)).rotate(angle, expand=True)
    reach = copies._reach_if_grown(np.array([image.width / image.height, 3.0]), camera)
    assert reach == pytest.approx([900 / min(image.size), 1], abs=0.006)


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


def test_neither_threads_nor_batches_matter(
    mixture: tuple[Thumbnails, Floats64, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    thumbnails, aspects, _ = mixture
    threads, asked = faiss.omp_get_max_threads(), []

    def take(positions: np.ndarray) -> Thumbnails:
        asked.append(len(positions))
        return thumbnails[positions]

    found = search(thumbnails, aspects)
    monkeypatch.setattr(copies, "_BATCH", 7)
    try:
        faiss.omp_set_num_threads(3)
        again = find_copies(take, aspects)
    finally:
        faiss.omp_set_num_threads(threads)
    assert max(asked) <= 7
    np.testing.assert_array_equal(again.group, found.group)
    np.testing.assert_array_equal(again.alike, found.alike)
    np.testing.assert_allclose(again.confidence, found.confidence, atol=1e-4)


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


def linked(*links: tuple[int, int, float]) -> copies.Links:
    one, other, correlation = zip(*links, strict=True)
    # As float32, rounded up: just the limit counts.
    return np.array(one), np.array(other), np.nextafter(np.array(correlation, np.float32), 2)


def test_copies_are_joined_through_others() -> None:
    links = linked((0, 1, SAME), (1, 2, SAME + 0.01), (3, 4, SAME - 0.01))
    group = copies._components(5, links)
    assert partition(group) == {frozenset((0, 1, 2)), frozenset((3,)), frozenset((4,))}


def speckled(level: int, seed: int) -> Picture:
    """Nearly blank: here and there a grey level more."""
    noise = np.random.default_rng(seed).integers(0, 2, (445, 590), np.uint8)
    return Image.fromarray(noise + np.uint8(level))


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


def blend(one: Picture, other: Picture, share: float) -> Picture:
    return Image.blend(one, other, share)


@pytest.fixture(scope="module")
def look_alikes(draw_photograph: Draw) -> list[Picture]:
    """Two copies of one photograph, two of another that looks like it, and a third photograph."""
    first, other, third = (draw_photograph(number) for number in range(3))
    for share in np.linspace(0, 1, 200):
        near = blend(first, other, share)
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
            blend(draw_photograph(number % 4), draw_photograph(4 + number % 7), 0.05 * (number % 5))
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
    links = linked((0, 1, joined), (0, 2, across))
    found = copies._decide(np.array([5, 5, 8]), links)
    assert found.confidence[0] == pytest.approx(expected, abs=1e-5)
    assert found.alike.tolist() == [2, -1, 0]


def test_the_most_alike_is_named() -> None:
    links = linked((0, 1, 0.94), (3, 0, 0.96), (0, 2, 0.95), (1, 2, 0.99))
    assert copies._decide(np.array([0, 1, 1, 3]), links).alike.tolist() == [3, 0, 0, 0]


@pytest.mark.parametrize("angle", [0, 22.5, 90, 123.75, 300])
@pytest.mark.parametrize("mirrored", [False, True])
def test_compare_gives_angle_and_mirroring(
    draw_photograph: Draw, angle: float, mirrored: bool
) -> None:
    photographs = [draw_photograph(number) for number in range(5)]
    change = chain(ImageOps.flip if mirrored else ImageOps.exif_transpose, turned(-angle))
    one, other = (describe(*looks_of(p)) for p in (photographs, [*map(change, photographs)]))
    correlation, found, was_mirrored = compare(one, other)
    assert (correlation > SAME).all() and (correlation < 1.001).all()
    assert found == pytest.approx([angle] * 5, abs=360 / 192 + 0.01)
    assert set(was_mirrored) == {mirrored}


def test_compare_does_not_depend_on_the_order_of_a_pair(draw_photograph: Draw) -> None:
    rings = describe(*looks_of([draw_photograph(number) for number in range(8)]))
    one, other = rings[[0, 1, 2, 3, 0]], rings[[4, 5, 6, 7, 0]]
    (there, angle, mirrored), (back, reverse, again) = compare(one, other), compare(other, one)
    assert there == pytest.approx(back, abs=1e-5)
    np.testing.assert_array_equal(mirrored, again)
    undone = np.where(mirrored, angle - reverse, angle + reverse) % 360
    assert undone == pytest.approx(np.zeros(5))
    assert there[4] == pytest.approx(1, abs=1e-4)


def test_descriptors_have_unit_norm(draw_photograph: Draw) -> None:
    thumbnails, _ = looks_of(
        [draw_photograph(0), Image.new("RGB", (40, 30), "red"), speckled(9, 0)]
    )
    for aspect in (1.0, 0.2, 5.0, 590 / 445):
        rings = describe(thumbnails, np.full(3, aspect))
        norms = np.sqrt(2 * np.sum(np.abs(rings) ** 2, axis=(1, 2)))
        assert norms == pytest.approx([1, 0, 0], abs=1e-5)
        assert rings.dtype == np.complex64


def test_each_picture_is_read_in_its_own_proportions(draw_photograph: Draw) -> None:
    thumbnails, aspects = looks_of([draw_photograph(0), resized(300, 300)(draw_photograph(0))])
    both = describe(thumbnails, aspects)
    for position in (0, 1):
        alone = describe(thumbnails[[position]], aspects[[position]])
        np.testing.assert_allclose(both[[position]], alone, atol=1e-6)
    assert compare(both[:1], both[1:])[0][0] < ALIKE
    assert compare(both[:1], describe(thumbnails[1:], aspects[:1]))[0][0] > 0.999


def test_a_picture_is_read_to_near_its_edges(draw_photograph: Draw) -> None:
    """What lies in the corners alone does not count, what lies within the largest circle does."""
    thumbnails = np.repeat(looks_of([draw_photograph(0)])[0], 3, axis=0)
    thumbnails[1, :4, :4] = thumbnails[1, -4:, -4:] = 255
    thumbnails[2, 30:34, 6:10] = 255
    rings = describe(thumbnails, np.ones(3))
    corner, inside = compare(rings[[0, 0]], rings[[1, 2]])[0]
    assert corner == pytest.approx(1, abs=1e-4)
    assert inside < 0.995


def random_rings(count: int, seed: int) -> copies.Rings:
    rng = np.random.default_rng(seed)
    parts = rng.normal(0, 1, (2, count, 16, 12)) / np.arange(1, 13)
    rings = parts[0] + 1j * parts[1]
    rings /= np.sqrt(2 * np.sum(np.abs(rings) ** 2, axis=(1, 2), keepdims=True))
    return rings.astype(np.complex64)


@pytest.mark.parametrize("kind", ["random", "nearly equal", "photographs"])
def test_who_correlates_has_magnitudes_nearby(
    kind: str, mixture: tuple[Thumbnails, Floats64, list[int]]
) -> None:
    rings = random_rings(60, 0)
    if kind == "nearly equal":
        rings[30:] = rings[:30] + 0.02 * random_rings(30, 1)
        norm = np.sqrt(2 * np.sum(np.abs(rings) ** 2, axis=(1, 2), keepdims=True))
        rings /= norm.astype(np.float32)
    elif kind == "photographs":
        rings = describe(*mixture[:2])
    one, other = np.triu_indices(len(rings), 1)
    correlation, _, _ = compare(rings[one], rings[other])
    magnitudes = np.sqrt(2) * np.abs(rings).reshape(len(rings), -1)
    apart = np.linalg.norm(magnitudes[one] - magnitudes[other], axis=1)
    assert (apart <= np.sqrt(np.clip(2 - 2 * correlation, 0, None)) + 1e-3).all()
    assert kind == "random" or (correlation > SAME).any()
