"""The images that a model was surest about and wrong, and what it looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fishline.data.contact_sheet import Picture, write_sheet
from fishline.data.dataset import Images
from fishline.data.decode import Pixels
from fishline.evaluation.gradcam import heatmaps, overlay
from fishline.evaluation.test_run import TestRun

COUNT = 6


@dataclass(frozen=True)
class Shown:
    """A test image, uint8 (size, size, 3), and the same with what spoke for `predicted` as heat.

    aspect:      width over height of the photograph, which the pixels are squashed from
    probability: of `predicted`
    """

    file: str
    species: str
    predicted: str
    probability: float
    aspect: float
    pixels: Pixels
    heat: Pixels

    @property
    def right(self) -> bool:
        return self.species == self.predicted


def mistakes(test_run: TestRun, test: Images) -> list[Shown]:
    """The most confident mistakes, one of each photograph; without any, the least certain answers.

    Args:
        test: the images that `test_run` was made with.
    """
    names = list(test_run.config.species)
    table = test_run.predictions.assign(probability=test_run.confidence)
    wrong = table[table["predicted"] != table["species"]]
    chosen = table if wrong.empty else wrong
    ordered = chosen.sort_values("probability", ascending=wrong.empty, kind="stable")
    rows = ordered.drop_duplicates("original").head(COUNT)
    images = test.at(torch.tensor(rows.index.to_numpy()))
    pixels = images.pixels[images.rows].numpy()
    labels = torch.tensor([names.index(name) for name in rows["predicted"]])
    maps = heatmaps(test_run.model, pixels, labels)
    answers = rows[["file", "species", "predicted", "probability"]].to_numpy().tolist()
    return [
        Shown(file, species, predicted, probability, aspect, image, heat)
        for (file, species, predicted, probability), aspect, image, heat in zip(
            answers, images.aspects.tolist(), pixels, overlay(pixels, maps), strict=True
        )
    ]


def write_mistakes(path: Path, shown: Sequence[Shown], title: str) -> None:
    """Write them as one picture: each image, and beside it what the model looked at."""
    what = "least certain answers" if shown[0].right else "most confident mistakes"
    rows = []
    for start in range(0, len(shown), 2):
        pictures = []
        for image in shown[start : start + 2]:
            truth, answer = f"is {image.species}", f"{image.predicted} ({image.probability:.2f})"
            pictures.append(Picture(image.pixels, image.aspect, f"{truth}\n{image.file}"))
            pictures.append(Picture(image.heat, image.aspect, f"taken for {answer}"))
        rows.append((f"{title}: {what}" if start == 0 else "", pictures))
    write_sheet(path, rows)
