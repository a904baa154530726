"""What the stage measures of its models."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fishline.data.dataset import Images
from fishline.evaluation.test_run import evaluate_model
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
