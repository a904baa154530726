"""A trained model that is asked about photographs: by file, by bytes, by base64.

The one decoder of decode.py, which `preprocess` uses too, so that a photograph is the same pixels
in training, in tests and when served.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from fishline.core.parallel import in_threads
from fishline.data.decode import Pixels, decode
from fishline.data.photo_files import MAX_BYTES, read, reason
from fishline.models import artifact
from fishline.models.artifact import ModelConfig, Normalize, scale
from fishline.models.calibration import probabilities
from fishline.models.networks import Network
from fishline.models.novelty import UNKNOWN, load_detector

BATCH = 32  # photographs: more are no quicker on a processor
DATA_URL = re.compile(r"data:[^,]*;base64,")

Photograph = object  # a path or base64 (str), a path (Path), a file's content (bytes)


@dataclass(frozen=True)
class Answer:
    """What a model says of one photograph.

    species:       the likeliest, or "unknown" where the photograph is like none; None on an error
    probability:   of the likeliest species, calibrated
    probabilities: of each species, in the model's order
    error:         why there is no answer
    """

    species: str | None
    probability: float | None
    probabilities: dict[str, float] | None
    error: str | None = None

    @property
    def likeliest(self) -> str:
        """The species with the largest probability, also where the answer is unknown."""
        shares = self.probabilities or {}
        return max(shares, key=lambda name: shares[name])

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Predictor:
    """The model in `folder`, ready to be asked."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        """
        Raises:
            UserError: the folder holds no whole model.
        """
        self.network: Network
        self.config: ModelConfig
        self.network, self.config = artifact.load(folder)
        self.known = load_detector(folder)
        self.device = torch.device(device)
        self.normalize = Normalize(self.config).to(self.device)
        self.network.to(self.device)

    def predict(self, photographs: Iterable[Photograph]) -> Iterator[Answer]:
        """An answer for each photograph, in order, as they come: thousands need little memory."""
        decoded = in_threads(self._decode, photographs)
        while batch := list(islice(decoded, BATCH)):
            yield from self._answer(batch)

    def _decode(self, photograph: Photograph) -> Pixels | str:
        """The pixels, or why there are none."""
        try:
            return decode(content(photograph), self.config.image_size).pixels
        except Exception as error:  # a decoder may raise anything on a broken file
            return reason(error)

    def _answer(self, batch: list[Pixels | str]) -> Iterator[Answer]:
        good = [each for each in batch if not isinstance(each, str)]
        answers = iter(self.answer_pixels(np.stack(good)) if good else [])
        for each in batch:
            yield Answer(None, None, None, each) if isinstance(each, str) else next(answers)

    @torch.inference_mode()
    def answer_pixels(self, pixels: Pixels) -> list[Answer]:
        """Answers for uint8 (b, size, size, 3)."""
        images = self.normalize(scale(torch.from_numpy(pixels).to(self.device)))
        embeddings = self.network.embed(images)
        logits = self.network.classifier[-1](embeddings).cpu().numpy()
        shares = probabilities(logits, self.config.temperature)
        unknown = self.known.is_unknown(embeddings.cpu().numpy())
        names = self.config.species
        return [
            Answer(
                UNKNOWN if odd else names[int(row.argmax())],
                float(row.max()),
                dict(zip(names, row.tolist(), strict=True)),
            )
            for row, odd in zip(shares, unknown, strict=True)
        ]


def content(photograph: Photograph) -> bytes:
    """The bytes of a photograph's file.

    Raises:
        OSError, ValueError: there is no such file, or it is empty or too large; see images.reason.
    """
    if isinstance(photograph, bytes | bytearray | memoryview):
        if len(photograph) > MAX_BYTES:
            raise ValueError(f"{len(photograph)} bytes; the limit is {MAX_BYTES}")
        return bytes(photograph)
    if isinstance(photograph, Path):
        return read(photograph)
    if not isinstance(photograph, str):
        raise ValueError(f"no path, bytes or base64 but {photograph!r:.80}")
    encoded = DATA_URL.sub("", photograph, count=1)
    if encoded == photograph and len(photograph) < 4096 and _is_file(photograph):
        return read(Path(photograph))
    return _from_base64(encoded)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def _from_base64(text: str) -> bytes:
    if len(text) > MAX_BYTES * 4 / 3 + 4:
        raise ValueError(f"{len(text)} characters of base64; the limit is {MAX_BYTES} bytes")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        shown = text if len(text) < 80 else f"{text[:60]}…"
        raise ValueError(f"neither a file nor base64: {shown}") from None
