"""Settings of a split, as params.yaml would have them."""

from typing import Any

from fishline.core.params import Split

DEFAULT = Split(
    strategy="grouped",
    by=("photograph",),
    burst_seconds=10,
    given_leaks="fail",
    seed=1,
    train=0.7,
    validation=0.1,
    test=0.2,
)


def settings(**changes: Any) -> Split:
    """`DEFAULT` with other values."""
    return DEFAULT.model_copy(update=changes)
