"""What the page says of photographs. Knows nothing of Streamlit."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from fishline.core.text import many
from fishline.data.decode import Pixels, decode
from fishline.evaluation import gradcam
from fishline.evaluation.gradcam import Maps
from fishline.models.taxonomy import SPECIES
from fishline.models.trained_model import TrainedModel
from fishline.serving import predict
from fishline.serving.answer import Answer
from fishline.serving.predictor import Predictor

SIDE = 640  # pixels: the longer side of a picture on the page
ALIKE, PARTLY = 0.6, 0.3  # shares of two models' heat that are in common

UNKNOWN_MEANS = (
    "This photograph is unlike those that the model was trained on, or of no species likely "
    "enough: perhaps another species, perhaps no fish, perhaps a picture taken quite differently. "
    "The bars only say what it would be if it had to be one of the species that the model knows."
)
READABLE = "JPEG, PNG, WebP, AVIF, TIFF, GIF, BMP, JPEG 2000 and PPM can be read"
# What `images` and Pillow say, as regular expressions, and what that means. The first that is
# found counts; \\g<0> is what was found.
ERRORS = {
    r"^not an image": f"This is no photograph that can be read. {READABLE}; a phone's HEIC must be "
    "exported as JPEG first.",
    r"^(\d+) bytes; the limit is (\d+)": r"The file is too large: \g<0>.",
    r"^.*no side may be over \d+": r"The picture is too large: \g<0>.",
    r"^(\d+) pixels is over the limit of (\d+)": r"The picture is too large: \g<0>.",
    r"truncated|broken|cut short|ended|Unexpected|corrupt": "The file is damaged, or was not "
    "transferred whole. Try to copy it from the camera again.",
    r"^not looked at.*": r"\g<0>.",
}


@dataclass(frozen=True)
class View:
    """A photograph in its proportions.

    picture: uint8 (h, w, 3)
    maps:    float32 (h, w), where there is what speaks for a species: 0…1
    heat:    uint8 (h, w, 3), the one over the other
    """

    picture: Pixels
    maps: Maps
    heat: Pixels


class Model:
    """A model that several visitors ask, one at a time: Captum hooks into its layers."""

    def __init__(self, predictor: Predictor) -> None:
        assert isinstance(predictor.model, TrainedModel)
        self._model = predictor.model
        self.config = self._model.config
        self._predictor = predictor
        self._lock = threading.Lock()

    def ask(self, contents: Iterable[bytes], only: Collection[str] = ()) -> list[Answer]:
        """An answer for the content of each file, among the species of `only` if there are any."""
        with self._lock:
            return list(self._predictor.among(only).predict(contents))

    def view(self, content: bytes, species: str) -> View:
        """A photograph that was answered, and what in it speaks for `species`."""
        size, shown = self.config.image_size, picture(content)
        label = torch.tensor([self.config.species.index(species)])
        pixels = decode(content, size).pixels[None].copy()  # torch wants one it may write to
        with self._lock:
            small = gradcam.heatmaps(self._model, pixels, label)[0]  # (size, size)
        height, width = shown.shape[:2]
        large = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
        maps = np.asarray(large, np.float32).clip(0, 1)
        return View(shown, maps, gradcam.overlay(shown[None], maps[None])[0])


def picture(content: bytes) -> Pixels:
    """A photograph in its true proportions, uint8 (h, w, 3), the longer side `SIDE`."""
    decoded = decode(content, SIDE)
    scale = SIDE / max(decoded.width, decoded.height)
    size = max(1, round(decoded.width * scale)), max(1, round(decoded.height * scale))
    return np.asarray(Image.fromarray(decoded.pixels).resize(size, Image.Resampling.LANCZOS))


def ranked(answer: Answer) -> list[tuple[str, float]]:
    """All species with their probabilities, the likeliest first."""
    return sorted((answer.probabilities or {}).items(), key=lambda pair: -pair[1])


def percent(share: float) -> str:
    """Only what is certain is called 100 %, only what is impossible 0 %."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < share < 1 else f"{share:.1%}".replace("%", " %")


def explain(error: str) -> str:
    """Why a file was not read, for whoever took the photograph."""
    for pattern, meaning in ERRORS.items():
        if match := re.search(pattern, error):
            return match.expand(meaning)
    return f"The file could not be read: {error}."


def too_many(limit: int) -> Answer:
    """In place of an answer, for files beyond the largest number."""
    return Answer(None, None, None, f"not looked at: {limit} photographs at a time are the most")


def as_csv(rows: Iterable[tuple[str, Answer]], species: Sequence[str]) -> str:
    """The table that `fishline predict --csv` prints, of (file, answer)."""
    lines = (predict.csv_line(predict.cells(file, answer, species)) for file, answer in rows)
    return predict.csv_line(predict.columns(species)) + "".join(lines)


def difference(first: Answer, second: Answer, names: tuple[str, str]) -> str:
    """In words, where two models differ on one photograph. `names` are the models'."""
    if first.species == second.species:
        start = f"Both models say **{first.species}**."
    else:
        start = (
            f"The models differ: {names[0]} says **{first.species}**, "
            f"{names[1]} says **{second.species}**."
        )
    return " ".join([start, *_strangers(first, second, names), *_furthest(first, second, names)])


def agreement(first: Sequence[Answer], second: Sequence[Answer]) -> str:
    """In words, on how many photographs two models agree."""
    pairs = [(a.species, b.species) for a, b in zip(first, second, strict=True) if not a.error]
    same = sum(a == b for a, b in pairs)
    return f"The two models say the same of {same} of {many(len(pairs), 'photograph')}."


def _strangers(first: Answer, second: Answer, names: tuple[str, str]) -> Iterable[str]:
    """Who of them cannot say what the other says."""
    for answer, other, name in ((first, second, names[0]), (second, first, names[1])):
        if other.rank == SPECIES and other.species not in (answer.probabilities or {}):
            yield f"{name} does not know {other.species}."


def _furthest(first: Answer, second: Answer, names: tuple[str, str]) -> Iterable[str]:
    """The species on which their probabilities are furthest apart."""
    first_shares, second_shares = first.probabilities or {}, second.probabilities or {}
    shared = [name for name in first_shares if name in second_shares]
    if not shared:
        yield "They have no species in common."
        return
    species = max(shared, key=lambda name: abs(first_shares[name] - second_shares[name]))
    if abs(first_shares[species] - second_shares[species]) < 0.01:
        yield "Their probabilities are nearly the same."
    else:
        yield (
            f"They are furthest apart on {species}: {percent(first_shares[species])} "
            f"by {names[0]}, {percent(second_shares[species])} by {names[1]}."
        )


def places(first: Maps, second: Maps) -> str:
    """In words, whether two models looked at the same places. Maps are float32 (h, w), 0…1."""
    union = float(np.maximum(first, second).sum())
    common = float(np.minimum(first, second).sum()) / union if union else 1.0
    where = "much the same places" if common >= ALIKE else "partly the same places"
    return f"They looked at {where if common >= PARTLY else 'different places'}."
