"""A trained model that is asked about photographs: by file, by bytes, by base64.

The one decoder of decode.py, which `preprocess` uses too, so that a photograph is the same pixels
in training, in tests and when served.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from copy import copy
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fishline.core.errors import UserError, needs_train
from fishline.core.parallel import in_threads
from fishline.data.decode import Pixels, decode
from fishline.data.photo_files import MAX_BYTES, read, reason
from fishline.data.remote_files import RemoteFile
from fishline.models import onnx_model
from fishline.models.onnx_model import OnnxModel

if TYPE_CHECKING:
    import torch

    from fishline.models.trained_model import TrainedModel

BATCH = 32  # photographs: more are no quicker on a processor
DATA_URL = re.compile(r"data:[^,]*;base64,")

# A path or base64 (str), a path (Path), a URL (RemoteFile), a file's content (bytes).
Photograph = object


@dataclass(frozen=True)
class Answer:
    """What a model says of one photograph.

    species:       the answer: a species, or where none is sure enough a genus or family, or
                   "unknown"; None on an error
    probability:   of the answer, calibrated; where it is unknown, of the likeliest species
    probabilities: of each species, in the model's order
    error:         why there is no answer
    rank:          of the answer: "species", "genus", "family" or "unknown"
    """

    species: str | None
    probability: float | None
    probabilities: dict[str, float] | None
    error: str | None = None
    rank: str | None = None

    @property
    def likeliest(self) -> str:
        """The species with the largest probability, also where the answer is another."""
        shares = self.probabilities or {}
        return max(shares, key=lambda name: shares[name])

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Predictor:
    """A model, ready to be asked.

    Args:
        source: its ONNX file, or its folder, which needs torch.
        device: where torch runs it; an ONNX file runs on the processor.
        paths: whether text may name a file on this machine. Off, only bytes and base64 are taken,
            so that whoever asks over a network cannot find out what files there are.
        version: what the model is registered as; the name of `source` if None.

    Raises:
        UserError: `source` holds no whole model.
    """

    def __init__(
        self,
        source: Path,
        device: torch.device | str = "cpu",
        paths: bool = True,
        version: str | None = None,
    ) -> None:
        self.model = _load(source, device)
        self.version = version or str(source)
        self.only: tuple[str, ...] = ()
        self._paths = paths

    @classmethod
    def load(cls, reference: str, device: torch.device | str | None = None) -> Predictor:
        """The model that `reference` names: model.onnx, fish-finetuned@champion, a folder.

        Args:
            device: where torch runs it. If None, ONNX Runtime does where that is quicker: on a
                processor, a registered model that has the file.

        Raises:
            UserError: there is no such model, the tracking store cannot be reached, or
                fishline[train] is not installed and this is no ONNX file.
        """
        if reference.endswith(onnx_model.SUFFIX):
            return cls(Path(reference))
        with needs_train(f"asking {reference}"):
            from fishline.models.devices import find_device  # loads torch
        best = find_device("auto")
        if Path(reference, "model.json").is_file():
            return cls(Path(reference), device or best)
        from fishline.tracking import versions  # loads mlflow

        version = versions.find(reference)
        with tempfile.TemporaryDirectory() as temporary:
            folder = versions.fetch(version, Path(temporary))
            exported = folder.with_name(onnx_model.FILE)
            quicker = device is None and best.type == "cpu" and exported.is_file()
            return cls(exported if quicker else folder, device or best, version=str(version))

    def among(self, species: Collection[str]) -> Predictor:
        """The same model, whose answers are among these species alone; all of them if empty.

        For where others do not occur: their probabilities are 0, the rest adds up to 1. What is
        unlike all that the model was trained on is unknown as before.

        Raises:
            UserError: the model does not know one of them.
        """
        for name in species:
            if name not in self.species:
                near = get_close_matches(name, self.species, 1)
                raise UserError(
                    f"the model does not know '{name}'; it knows {', '.join(self.species)}"
                    + (f". Did you mean '{near[0]}'?" if near else "")
                )
        chosen = copy(self)
        chosen.only = tuple(name for name in self.species if name in species)
        return chosen

    def move_to_best_device(self) -> None:
        """To a GPU of this process, if it has one and the model runs on it."""
        if isinstance(self.model, OnnxModel):
            return
        from fishline.models.devices import find_device

        self.model = self.model.to(find_device("auto"))

    @property
    def species(self) -> tuple[str, ...]:
        """In the order of `Answer.probabilities`."""
        return self.model.config.species

    def predict(self, photographs: Iterable[Photograph]) -> Iterator[Answer]:
        """An answer for each photograph, in order, as they come: thousands need little memory.

        Raises:
            UserError: a URL cannot be reached.
        """
        return (answer for _, answer in self.predict_hashed(photographs))

    def predict_hashed(
        self, photographs: Iterable[Photograph], threads: int | None = None
    ) -> Iterator[tuple[str | None, Answer]]:
        """SHA-256 of each photograph's file, None if that cannot be read, and the answer.

        Args:
            threads: that read and decode; one for each core if None.
        """
        decoded = in_threads(self._decode, photographs, threads)
        while batch := list(islice(decoded, BATCH)):
            answers = self._answer([pixels for _, pixels in batch])
            yield from zip((digest for digest, _ in batch), answers, strict=True)

    def _decode(self, photograph: Photograph) -> tuple[str | None, Pixels | str]:
        """The hash of the content, and the pixels, or why there are none."""
        digest = None
        try:
            file = content(photograph, self._paths)
            digest = hashlib.sha256(file).hexdigest()
            return digest, decode(file, self.model.config.image_size).pixels
        except UserError:  # not of this photograph alone
            raise
        except Exception as error:  # a decoder may raise anything on a broken file
            return digest, reason(error)

    def _answer(self, batch: list[Pixels | str]) -> Iterator[Answer]:
        decoded = [pixels for pixels in batch if not isinstance(pixels, str)]
        answers = iter(self.answer_pixels(np.stack(decoded)) if decoded else [])
        for pixels in batch:
            yield Answer(None, None, None, pixels) if isinstance(pixels, str) else next(answers)

    def answer_pixels(self, pixels: Pixels) -> list[Answer]:
        """Answers for uint8 (b, size, size, 3)."""
        predictions = self.model.ask(pixels, self.only)
        said = predictions.answers
        columns = said.names, said.confidence.tolist(), predictions.probabilities, said.ranks
        return [
            Answer(name, share, dict(zip(self.species, row.tolist(), strict=True)), rank=rank)
            for name, share, row, rank in zip(*columns, strict=True)
        ]


def _load(source: Path, device: torch.device | str) -> TrainedModel | OnnxModel:
    if source.suffix == onnx_model.SUFFIX:
        return OnnxModel.load(source)
    with needs_train(f"asking {source}"):
        from fishline.models.trained_model import TrainedModel
    return TrainedModel.load(source, device)


def content(photograph: Photograph, paths: bool = True) -> bytes:
    """The bytes of a photograph's file.

    Args:
        paths: whether text may name a file.

    Raises:
        OSError, ValueError: no such file, or it is empty or too large; see `reason`.
        UserError: a URL cannot be reached.
    """
    if isinstance(photograph, bytes | bytearray | memoryview):
        if len(photograph) > MAX_BYTES:
            raise ValueError(f"{len(photograph)} bytes; the limit is {MAX_BYTES}")
        return bytes(photograph)
    if isinstance(photograph, Path) and paths:
        return read(photograph)
    if isinstance(photograph, RemoteFile) and paths:
        return photograph.read()
    if not isinstance(photograph, str):
        raise ValueError(f"no {'path, ' * paths}bytes or base64 but {photograph!r:.80}")
    encoded = DATA_URL.sub("", photograph, count=1)
    if paths and encoded == photograph and len(photograph) < 4096 and _is_file(photograph):
        return read(Path(photograph))
    return _from_base64(encoded, "neither a file nor base64" if paths else "not base64")


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def _from_base64(text: str, complaint: str) -> bytes:
    if len(text) > MAX_BYTES * 4 / 3 + 4:
        raise ValueError(f"{len(text)} characters of base64; the limit is {MAX_BYTES} bytes")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        shown = text if len(text) < 80 else f"{text[:60]}…"
        raise ValueError(f"{complaint}: {shown}") from None
