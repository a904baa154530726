"""The proportions in which pictures are compared."""

import numpy as np
import pytest
from PIL import Image

from fishline.data.prepare.copies.proportions import _reach_if_grown, hypotheses


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
    (own, _, first), *others = hypotheses(np.array(aspects))
    assert own == pytest.approx(aspects, rel=0.011)
    assert first == 0
    assert len(others) > 7
    assert [discount > 0 for _, _, discount in others] == [discounted] * len(others)


@pytest.mark.parametrize("angle", [0, 15, 40, 45, 60, 90])
@pytest.mark.parametrize("camera", [4 / 3, 16 / 9])
def test_a_frame_that_grew_tells_how_much_smaller_the_picture_is(
    camera: float, angle: float
) -> None:
    image = Image.new("1", (round(900 * camera), 900)).rotate(angle, expand=True)
    reach = _reach_if_grown(np.array([image.width / image.height, 3.0]), camera)
    assert reach == pytest.approx([900 / min(image.size), 1], abs=0.006)
