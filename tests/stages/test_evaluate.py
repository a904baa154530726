"""What the stage measures of its models."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fishline.data.dataset import Images
from fishline.evaluation.test_run import by_rank, evaluate_model
from fishline.models.artifact import ModelConfig
from fishline.models.taxonomy import Answers
from fishline.stages import evaluate

KNOWN, NEW = ("Bream", "Shrimp", "Trout"), ("Anchovy", "Mullet")
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (10, 48, 48, 3), np.uint8))


def images(species: Sequence[str]) -> Images:
    """Two images of each species, the same ones whichever others are asked for."""
    rows = [2 * (KNOWN + NEW).index(name) + i for name in species for i in range(2)]
    names = [name for name in species for _ in range(2)]
    table = pd.DataFrame({"species": names, "file": rows, "original": rows, "sha256": rows})
    table["group"] = table["original"]
    labels = torch.tensor([species.index(name) for name in names])
    return Images(PIXELS, torch.tensor(rows), labels, tuple(species), table)


def test_species_that_a_model_never_saw_are_those_of_any_other_model(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "models/base", recall=0.5)
    monkeypatch.chdir(tmp_path)
    base = {"test": images(KNOWN)}
    tested = evaluate_model("base", base["test"], torch.device("cpu"))
    replaced = {"base": base, "finetuned": {"test": images(NEW)}}
    extended = {"base": base, "finetuned": {"test": images(KNOWN + NEW)}}
    measured = evaluate._unknown(tested, replaced)
    assert set(measured) == {
        "others_told_unknown",
        "unknown_auroc",
        "false_alarms_at_95_recall",
    }
    assert evaluate._unknown(tested, extended) == pytest.approx(measured)
    assert evaluate._unknown(tested, {"base": base}) == {}


def test_a_coarser_answer_is_right_of_any_species_in_it(config: ModelConfig) -> None:
    config = replace(config, genera=("", "G", "H"), families=("F", "F", ""))
    names = np.array(["Bream", "Bream", "G", "F", "F", "F", "unknown"], object)
    ranks = np.array([*["species"] * 2, "genus", *["family"] * 3, "unknown"], object)
    labels = np.array([0, 1, 1, 0, 1, 2, 2])
    numbers = by_rank(Answers(names, ranks, np.ones(7)), labels, config)
    assert numbers == pytest.approx(
        {
            "answered_species": 2 / 7,
            "answered_species_accuracy": 1 / 2,
            "answered_coarser": 4 / 7,
            "answered_coarser_accuracy": 3 / 4,
        }
    )
    unknown = Answers(names[6:], ranks[6:], np.ones(1))
    assert by_rank(unknown, labels[6:], config) == {"answered_species": 0, "answered_coarser": 0}


def test_what_is_answered_stands_beside_what_is_predicted(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "models/base", genera=("G", "G", "G"), confidence_threshold=0.9)
    monkeypatch.chdir(tmp_path)
    tested = evaluate_model("base", images(KNOWN), torch.device("cpu"))
    assert list(tested.predictions)[5:8] == ["predicted", "answer", "rank"]
    assert set(tested.predictions["predicted"]) <= set(KNOWN)
    assert set(tested.predictions["answer"]) == {"G"}
    assert tested.numbers["answered_coarser_accuracy"] == 1
