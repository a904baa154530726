"""Pictures, and the tables behind them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishline.evaluation.figures import write_confusion, write_curves, write_one_vs_rest
from fishline.evaluation.metrics import classification_report

NAMES = ("Black Sea Sprat", "Trout")
REPORT = classification_report(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), NAMES)
CURVES = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [1.5, 0.9, 0.7],
        "val_loss": [1.4, 1.0, 0.9],
        "val_accuracy": [0.3, 0.6, 0.9],
    }
)

Write = Callable[[Path], list[Path]]


def curves(stem: Path) -> list[Path]:
    return write_curves(stem, CURVES, "Model")


def confusion(stem: Path) -> list[Path]:
    return write_confusion(stem, REPORT, "Model")


def one_vs_rest(stem: Path) -> list[Path]:
    return write_one_vs_rest(stem, REPORT, "Model")


EVERY = pytest.mark.parametrize("write", [curves, confusion, one_vs_rest])


@EVERY
def test_a_table_and_a_picture_are_written(tmp_path: Path, write: Write) -> None:
    written = write(tmp_path / "plots" / "base")
    assert written == [tmp_path / "plots" / "base.csv", tmp_path / "plots" / "base.png"]
    assert sorted((tmp_path / "plots").iterdir()) == written
    with Image.open(written[1]) as picture:
        assert picture.format == "PNG"
        low, high = picture.convert("L").getextrema()
    assert low < 64 and high > 192  # something is drawn on white


@EVERY
def test_the_same_numbers_give_the_same_bytes(tmp_path: Path, write: Write) -> None:
    first, again = write(tmp_path / "a"), write(tmp_path / "b")
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("write", "table"),
    [(curves, CURVES), (confusion, REPORT.pairs), (one_vs_rest, REPORT.one_vs_rest)],
)
def test_the_table_holds_the_numbers(tmp_path: Path, write: Write, table: pd.DataFrame) -> None:
    written = pd.read_csv(write(tmp_path / "a")[0])
    pd.testing.assert_frame_equal(written, table, check_dtype=False)


def test_other_numbers_give_another_picture(tmp_path: Path) -> None:
    other = classification_report(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), NAMES)
    pictures = [
        write_one_vs_rest(tmp_path / "a", each, "Model")[1].read_bytes() for each in (REPORT, other)
    ]
    assert pictures[0] != pictures[1]


def test_predicted_species_stand_side_by_side(tmp_path: Path) -> None:
    """Trout taken for sprat stand below sprat taken for trout, and to the left."""
    middles = []
    for actual, predicted in ((0, 1), (1, 0)):
        only = classification_report(np.full(5, actual), np.full(5, predicted), NAMES)
        with Image.open(write_confusion(tmp_path / "a", only, "Model")[1]) as picture:
            red, _, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), 2, 0)
        y, x = np.nonzero((red < 50) & (blue > 90))  # the one cell that is not empty
        middles.append((x.mean(), y.mean()))
    (sprat_x, sprat_y), (trout_x, trout_y) = middles
    assert trout_x < sprat_x and trout_y > sprat_y


def test_one_epoch_can_be_drawn(tmp_path: Path) -> None:
    assert write_curves(tmp_path / "a", CURVES.head(1), "Model")[1].is_file()


def test_many_species_can_be_drawn(tmp_path: Path) -> None:
    names = [f"Species with a long name {i}" for i in range(6)]
    six = classification_report(np.arange(6), np.arange(6), names)
    for write in (write_confusion, write_one_vs_rest):
        with Image.open(write(tmp_path / "a", six, "Model")[1]) as picture:
            assert picture.width > 600
