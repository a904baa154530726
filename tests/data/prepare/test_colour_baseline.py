"""What colours alone give away."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fishline.data.cache import Cache
from fishline.data.decode import THUMBNAIL, Decoded
from fishline.data.prepare import colour_baseline
from fishline.data.prepare.packing import pack
from fishline.data.prepare.pixels import pixels_packing

COPIES, PHOTOGRAPHS, SIZE = 10, 24, 48


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Photographs of one colour each, of species drawn by lot, with copies; split by photograph."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (PHOTOGRAPHS, 3), np.uint8)
    digests = sorted(hashlib.sha256(str(i).encode()).hexdigest() for i in range(240))
    photograph = np.arange(len(digests)) % PHOTOGRAPHS

    def decode(numbers: Sequence[int]) -> Iterator[Decoded]:
        for number in numbers:
            pixels = np.broadcast_to(colours[number], (SIZE, SIZE, 3)).copy()
            yield Decoded(pixels, np.zeros((THUMBNAIL, THUMBNAIL), np.uint8), SIZE, SIZE, "RGB")

    pack(
        dict(zip(digests, photograph, strict=True)),
        decode,
        pixels_packing(SIZE),
        tmp_path / "nowhere",
        tmp_path,
    )
    lots = rng.permutation(np.arange(PHOTOGRAPHS) % 2)
    return pd.DataFrame(
        {
            "index": np.arange(len(digests)),
            "species": np.where(lots[photograph] == 0, "Bream", "Trout"),
            "part": np.where(photograph % 4 == 3, "test", "train"),
        }
    )


def test_copies_are_recognised_and_new_photographs_are_not(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    found = colour_baseline.colour_baseline(table, Cache(tmp_path), seed=1)
    assert found.at_random == 1
    assert found.here < 0.9  # as likely right as wrong


def test_of_very_many_images_some_are_enough(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    colours = colour_baseline.colours

    def count(cache: Cache, rows: np.ndarray) -> colour_baseline.Features:
        asked.append(len(rows))
        return colours(cache, rows)

    monkeypatch.setattr(colour_baseline, "colours", count)
    monkeypatch.setattr(colour_baseline, "MOST", 100)
    assert colour_baseline.colour_baseline(table, Cache(tmp_path), seed=1).at_random > 0.9
    assert asked == [100]
