"""The photographs that stand for all: always the same, with what is answered."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fishline.data.dataset import Images
from fishline.evaluation import examples
from fishline.models.artifact import ModelConfig
from fishline.models.taxonomy import Answers


def table(images: int, species: int, copies: int = 1) -> pd.DataFrame:
    """So many images, dealt to species; neighbours of one species are copies."""
    number = np.arange(images)
    shown = number // copies
    return pd.DataFrame(
        {
            "species": [f"s{n % species:03}" for n in shown],
            "original": shown,
            "sha256": [f"{n * 7919 % 1009:04}" for n in number],
        }
    )


def test_examples_are_the_same_whatever_the_order_of_the_rows() -> None:
    whole = table(100, species=4)
    shuffled = whole.sample(frac=1, random_state=0)
    chosen = whole.iloc[examples.choose_examples(whole).numpy()]
    again = shuffled.iloc[examples.choose_examples(shuffled).numpy()]
    assert list(again["sha256"]) == list(chosen["sha256"])
    assert list(chosen["species"]) == sorted(chosen["species"])


@pytest.mark.parametrize(
    ("images", "species", "copies", "expected"),
    [(300, 5, 1, [3, 3, 2, 2, 2]), (600, 300, 1, [1] * 12), (9, 2, 3, [2, 1])],
)
def test_every_species_has_its_turn_and_no_photograph_two(
    images: int, species: int, copies: int, expected: list[int]
) -> None:
    whole = table(images, species, copies)
    chosen = whole.iloc[examples.choose_examples(whole).numpy()]
    assert sorted(chosen["species"].value_counts(), reverse=True) == expected
    assert chosen["original"].is_unique


def test_a_sheet_says_what_is_right_wrong_and_unknown(
    make_images: Callable[..., Images], config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_images(2, 1, 1)
    numbers = images.table.index.astype(str)
    images = replace(images, table=images.table.assign(original=numbers, sha256=numbers))
    # Sorted by species: two of Bream, one of Shrimp, one of Trout.
    answers = Answers(
        np.array(["Bream", "Trout", "G", "unknown"], object),
        np.array(["species", "species", "genus", "unknown"], object),
        np.array([0.9, 0.8, 0.7, 0.6]),
    )
    model: Any = SimpleNamespace(
        config=replace(config, genera=("", "G", "G")),
        embed_images=lambda chosen: (torch.zeros(4, 1), chosen.labels),
        answer=lambda embeddings: SimpleNamespace(answers=answers),
    )
    drawn = examples.draw_examples(model, images, "Base model")
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    for colour in ([0, 128, 0], [255, 0, 0]):
        assert (drawn == colour).all(2).any()
    monkeypatch.setattr(examples, "draw_sheet", lambda rows: rows)
    ((title, pictures),) = examples.draw_examples(model, images, "Base model")
    assert title == "Base model"
    assert [(picture.caption, picture.frame) for picture in pictures] == [
        ("is Bream\n✓ Bream (0.90)", "green"),
        ("is Bream\n✗ Trout (0.80)", "red"),
        ("is Shrimp\n✓ G (0.70)", "green"),
        ("is Trout\n? unknown (0.60)", ""),
    ]
