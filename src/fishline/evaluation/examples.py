"""A few photographs with what a model answers, the same ones for every model of the same data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fishline.data.contact_sheet import Picture, draw_sheet
from fishline.data.dataset import Images
from fishline.models.taxonomy import UNKNOWN, are_right
from fishline.models.trained_model import TrainedModel

COUNT = 12
COLUMNS = 4


def draw_examples(model: TrainedModel, images: Images, title: str) -> npt.NDArray[np.uint8]:
    """A sheet of examples from `images`: what each shows, what `model` answers, how surely.

    Right ones have a green frame, wrong ones a red one, and what is unknown has none.

    Returns:
        uint8 (h, w, 3)
    """
    examples = images.at(choose_examples(images.table))
    embeddings, labels = model.embed_images(examples)
    answers = model.answer(embeddings).answers
    right = are_right(answers, labels.numpy(), model.config)
    pixels = examples.pixels[examples.rows].numpy()
    pictures = []
    for i, (species, aspect) in enumerate(
        zip(examples.table["species"], examples.aspects.tolist(), strict=True)
    ):
        mark, frame = ("✓", "green") if right[i] else ("✗", "red")
        if answers.ranks[i] == UNKNOWN:
            mark, frame = "?", ""
        caption = f"is {species}\n{mark} {answers.names[i]} ({answers.confidence[i]:.2f})"
        pictures.append(Picture(pixels[i], aspect, caption, frame))
    rows = [pictures[start : start + COLUMNS] for start in range(0, len(pictures), COLUMNS)]
    return draw_sheet([("" if i else title, row) for i, row in enumerate(rows)])


def choose_examples(table: pd.DataFrame) -> torch.Tensor:
    """Positions in `table`, int64 (n,): `COUNT`, if it has so many photographs; by species.

    One of each species, then a second one, and so on, as far as there is room; of each photograph
    one image. The images' hashes decide: the order of rows does not matter.
    """
    ordered = table.reset_index(drop=True).sort_values("sha256").drop_duplicates("original")
    turns = ordered.groupby("species").cumcount().sort_values(kind="stable")
    chosen = ordered.loc[turns.index[:COUNT]].sort_values(["species", "sha256"])
    return torch.tensor(chosen.index.to_numpy())
