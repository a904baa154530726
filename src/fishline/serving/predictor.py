"""A trained model that is asked about photographs: by file, by bytes, by base64.

The one decoder of decode.py, which `preprocess` uses too, so that a photograph is the same pixels
in training, in tests and when served.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fishline.core.errors import UserError, needs
from fishline.core.parallel import in_threads
from fishline.data.decode import Pixels, decode
from fishline.data.photo_files import reason
from fishline.models import onnx_model
from fishline.models.devices import find_device, may_have_gpu
from fishline.models.onnx_model import OnnxModel
from fishline.serving.answer import Answer, Answered
from fishline.serving.content import Photograph, content

if TYPE_CHECKING:
    import torch

    from fishline.models.trained_model import TrainedModel
    from fishline.serving.answer_log.recorder import Recorder, Source

BATCH = 32  # photographs: more are no quicker on a processor


class _Decoded(NamedTuple):
    """A photograph as pixels, or why there are none."""

    photograph: Photograph
    digest: str | None
    pixels: Pixels | None
    error: str | None
    seconds: float


class Predictor:
    """A model, ready to be asked.

    Args:
        source: its ONNX file, or its folder, which needs torch.
        device: where torch runs it; an ONNX file runs on the processor.
        paths: whether text may name a file on this machine. Off, only bytes and base64 are taken,
            so that whoever asks over a network cannot find out what files there are.
        version: what the model is registered as; what a file says of itself, or its name, if None.

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
        exported = self.model.version if isinstance(self.model, OnnxModel) else ""
        self.version = version or exported or str(source)
        self.only: tuple[str, ...] = ()
        self.recorder: Recorder | None = None
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
        with needs("train", f"asking {reference}"):
            best = find_device("auto") if may_have_gpu() else "cpu"  # else without torch
            if Path(reference, "model.json").is_file():
                return cls(Path(reference), device or best)
            from fishline.tracking import versions  # loads mlflow

        version = versions.find(reference)
        with tempfile.TemporaryDirectory() as temporary:
            folder = versions.fetch(version, Path(temporary))
            exported = folder.with_name(onnx_model.FILE)
            quicker = device is None and str(best) == "cpu" and exported.is_file()
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

    def record(self, source: Source) -> None:
        """Put answers into the log of answers, if the environment names one; see recorder.py.

        Raises:
            UserError: as of `Recorder.from_environment`.
        """
        if os.environ.get("FISHLINE_LOG"):
            with needs("log", "FISHLINE_LOG"):
                from fishline.serving.answer_log.recorder import Recorder  # loads pyarrow
            self.recorder = Recorder.from_environment(source)

    def at(self, place: str) -> Predictor:
        """The same model, whose answers the log has as of `place`, such as a vessel."""
        moved = copy(self)
        if self.recorder:
            moved.recorder = replace(self.recorder, place=place)
        return moved

    def flush(self) -> None:
        """Wait until the log has the answers that were given."""
        if self.recorder:
            self.recorder.flush()

    def move_to_best_device(self, threads: int) -> None:
        """To a GPU of this process, if it has one and torch runs the model; else to its processor.

        Args:
            threads: of the processor, that torch takes.
        """
        if isinstance(self.model, OnnxModel):
            return
        import torch

        torch.set_num_threads(threads)
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
            answered = self._answer(batch)
            if self.recorder:
                self.recorder.add(self, answered, [each.photograph for each in batch])
            yield from ((each.digest, each.answer) for each in answered)

    def read(self, photograph: Photograph) -> bytes:
        """What `content` gives for it, where this predictor may have it."""
        return content(photograph, self._paths)

    def _decode(self, photograph: Photograph) -> _Decoded:
        start, digest = perf_counter(), None
        try:
            file = self.read(photograph)
            digest = hashlib.sha256(file).hexdigest()
            pixels = decode(file, self.model.config.image_size).pixels
            return _Decoded(photograph, digest, pixels, None, perf_counter() - start)
        except UserError:  # not of this photograph alone
            raise
        except Exception as error:  # a decoder may raise anything on a broken file
            return _Decoded(photograph, digest, None, reason(error), perf_counter() - start)

    def _answer(self, batch: list[_Decoded]) -> list[Answered]:
        start = perf_counter()
        pixels = [each.pixels for each in batch if each.pixels is not None]
        answers = iter(self.answer_pixels(np.stack(pixels)) if pixels else [])
        share = (perf_counter() - start) / max(1, len(pixels))
        return [
            Answered(each.digest, Answer(None, None, None, each.error), None, None, each.seconds)
            if each.pixels is None
            else Answered(each.digest, *next(answers), each.seconds + share)
            for each in batch
        ]

    def answer_pixels(self, pixels: Pixels) -> list[tuple[Answer, float, npt.NDArray[np.float32]]]:
        """Answers for uint8 (b, size, size, 3), each with distance and features float32 (d,)."""
        predictions = self.model.ask(pixels, self.only)
        said = predictions.answers
        columns = said.names, said.confidence.tolist(), predictions.probabilities, said.ranks
        answers = [
            Answer(name, share, dict(zip(self.species, row.tolist(), strict=True)), rank=rank)
            for name, share, row, rank in zip(*columns, strict=True)
        ]
        return list(zip(answers, predictions.distances.tolist(), predictions.features, strict=True))


def _load(source: Path, device: torch.device | str) -> TrainedModel | OnnxModel:
    if source.suffix == onnx_model.SUFFIX:
        return OnnxModel.load(source)
    with needs("train", f"asking {source}"):
        from fishline.models.trained_model import TrainedModel
    return TrainedModel.load(source, device)
