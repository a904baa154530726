"""The tests of one week against a reference, on numbers drawn as a test wants them."""

from collections.abc import Sequence

import numpy as np
import pytest

from fishline.monitoring.drift import LOOK, LOOKS, MIX, RATE, UNSURE, Pair, Sample, p_values

SPECIES = np.array(["Bream", "Shrimp", "Trout"], object)
EVEN = (1 / 3, 1 / 3, 1 / 3)


def sample(
    rng: np.random.Generator,
    count: int,
    shift: float = 0,
    unsure: float = 0.1,
    mix: Sequence[float] = EVEN,
) -> Sample:
    """Photographs whose numbers depend on their species."""
    codes = rng.choice(3, count, p=mix)
    numbers = rng.normal(size=(count, 8)) + 3 * codes[:, None] + shift
    return Sample(numbers, SPECIES[codes], rng.random(count) < unsure)


def test_without_a_change_alarms_are_as_rare_as_stated() -> None:
    rng = np.random.default_rng(0)
    least = []
    for _ in range(60):
        pairs = {name: Pair(sample(rng, 40), sample(rng, 15), usual=True) for name in "ab"}
        least.append(min(p_values(pairs).values()))
    assert sum(p < 0.05 for p in least) <= 8  # 3 on average
    assert 20 <= sum(p < 0.5 for p in least) <= 40


@pytest.mark.parametrize(
    ("change", "noticed"),
    [({"shift": 1.0}, LOOK), ({"unsure": 0.7}, UNSURE), ({"mix": (0.9, 0.1, 0)}, MIX)],
)
def test_a_change_is_noticed_for_what_and_where_it_is(
    change: dict[str, float], noticed: str
) -> None:
    rng = np.random.default_rng(1)
    pairs = {
        "calm": Pair(sample(rng, 100), sample(rng, 40), usual=True),
        "changed": Pair(sample(rng, 100), sample(rng, 40, **change), usual=True),
    }
    found = p_values(pairs)
    assert [key for key, p in found.items() if p < RATE / LOOKS] == [("changed", noticed)]
    assert found == p_values(pairs)  # whoever asks again


def test_another_catch_alone_is_none_of_the_models_changes() -> None:
    rng = np.random.default_rng(2)
    found = p_values({"": Pair(sample(rng, 200), sample(rng, 100, mix=(0.05, 0.05, 0.9)))})
    assert set(found) == {("", LOOK), ("", UNSURE)}
    assert min(found.values()) > 0.05


def test_samples_that_have_nothing_in_common_or_do_not_vary_tell_nothing() -> None:
    same = Sample(np.ones((5, 2)), np.full(5, "Trout", object), np.zeros(5, bool))
    other = Sample(np.ones((5, 2)), np.full(5, "Bream", object), np.zeros(5, bool))
    assert p_values({}) == {}
    assert p_values({"": Pair(same, other)}) == {}
    assert set(p_values({"": Pair(same, same)}).values()) == {1.0}
