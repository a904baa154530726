"""Temperature and calibration error, against cases whose answer is known."""

import numpy as np
import pytest
import torch

from fishline.models.calibration import calibration_error, find_temperature, probabilities


def drawn(
    temperature: float, count: int = 4000, classes: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are too sure by a factor of `temperature`, and labels drawn as they truly say."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (count, classes))
    chances = probabilities(torch.from_numpy(true)).numpy()
    labels = np.array([rng.choice(classes, p=row) for row in chances])
    return torch.from_numpy(true * temperature), torch.from_numpy(labels)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature)
    found = find_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    before = calibration_error(probabilities(logits), labels)
    after = calibration_error(probabilities(logits, found), labels)
    assert after < 0.03
    assert temperature == 1 or after < before / 3


@pytest.mark.parametrize("count", [3, 60])
def test_images_that_are_all_told_right_are_no_certainty(count: int) -> None:
    labels = torch.tensor([0, 1, 2] * (count // 3))
    logits = torch.eye(3)[labels] * 5
    surest = float(probabilities(logits, find_temperature(logits, labels)).max())
    assert surest == pytest.approx((count + 1) / (count + 2), abs=0.01)


def test_probabilities_of_extreme_logits_add_up() -> None:
    shares = probabilities(torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]), 0.1).numpy()
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(shares, [[1, 0, 0], [1 / 3] * 3], atol=1e-12)


@pytest.mark.parametrize(
    ("confidences", "right", "error"),
    [
        ([1.0, 1.0], [True, True], 0.0),
        ([1.0, 1.0], [True, False], 0.5),
        ([0.75, 0.75, 0.75, 0.75], [True, True, True, False], 0.0),
        # Two bins: one too sure by 0.4, one not sure enough by 0.4; they do not cancel.
        ([0.9, 0.9, 0.6, 0.6], [True, False, True, True], 0.4),
    ],
)
def test_calibration_error(confidences: list[float], right: list[bool], error: float) -> None:
    shares = torch.tensor([[c, 1 - c] for c in confidences], dtype=torch.float64)
    labels = torch.tensor(np.where(right, 0, 1))
    assert calibration_error(shares, labels) == pytest.approx(error)
