"""What a picture looks like along rings, and how alike two pictures are."""

import numpy as np
import pytest
from pictures import Draw, chain, looks_of, resized, speckled, turned
from PIL import Image, ImageOps

from fishline.data.prepare.copies.rings import ALIKE, SAME, Rings, compare, describe


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


def random_rings(count: int, seed: int) -> Rings:
    rng = np.random.default_rng(seed)
    parts = rng.normal(0, 1, (2, count, 16, 12)) / np.arange(1, 13)
    return normed(parts[0] + 1j * parts[1])


def normed(rings: np.ndarray) -> Rings:
    norms = np.sqrt(2 * np.sum(np.abs(rings) ** 2, axis=(1, 2), keepdims=True))
    return (rings / norms).astype(np.complex64)


@pytest.mark.parametrize("kind", ["random", "nearly equal", "photographs"])
def test_no_pair_correlates_by_more_than_the_product_of_its_magnitudes(
    kind: str, draw_photograph: Draw
) -> None:
    rings = random_rings(60, 0)
    if kind == "nearly equal":
        rings[30:] = normed(rings[:30] + 0.02 * random_rings(30, 1))
    elif kind == "photographs":
        pictures = [turned(a)(draw_photograph(n)) for n in range(8) for a in (0, 40, 130)]
        rings = describe(*looks_of(pictures))
    one, other = np.triu_indices(len(rings), 1)
    correlation, _, _ = compare(rings[one], rings[other])
    magnitudes = np.sqrt(2) * np.abs(rings).reshape(len(rings), -1)
    assert (correlation <= np.sum(magnitudes[one] * magnitudes[other], axis=1) + 1e-5).all()
    assert kind == "random" or (correlation > SAME).any()
