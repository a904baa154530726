"""Photographs through the frozen layers of a network, on whatever computes that quickest.

On a processor that is ONNX Runtime, one photograph at a time on every core: quicker than torch,
and the same bytes whatever else is computed. On a GPU it is torch, in batches that are always full,
for the same reason.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fishline.core.parallel import in_threads
from fishline.models.artifact import Normalize
from fishline.models.networks import Network

BATCH = 64  # photographs at a time on a GPU
THREADS = 1  # of a processor, for a photograph: others are computed beside it

Floats = npt.NDArray[np.float32]
In = TypeVar("In")


class Frozen(nn.Module):
    """Everything before the last layer: float (b, 3, size, size) on the scale 0…1 to (b, d)."""

    def __init__(self, network: Network, normalize: Normalize) -> None:
        super().__init__()
        self.network = network
        self.normalize = normalize

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.embed(self.normalize(images))


def frozen_digest(network: Network, normalize: Normalize, image_size: int) -> str:
    """SHA-256 of all that decides what the last layer of `network` is given for a photograph."""
    head = f"classifier.{len(network.classifier) - 1}."
    state = {**network.state_dict(), **normalize.state_dict()}
    own = {name: tensor for name, tensor in state.items() if not name.startswith(head)}
    name = f"{type(network).__name__} {image_size} "
    return hashlib.sha256((name + digest(own)).encode()).hexdigest()


def digest(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 of tensors and their names."""
    hashed = hashlib.sha256()
    for key in sorted(state):
        # As bytes: NumPy has no bfloat16.
        tensor = state[key].detach().cpu().contiguous().reshape(-1)
        hashed.update(key.encode() + tensor.view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


class OnProcessor:
    """The layers that `export` wrote to `onnx`, of images one after another.

    Pickled, it is the file's name, and each process opens it once.
    """

    def __init__(self, onnx: Path) -> None:
        self._onnx, self._modified = onnx.absolute(), onnx.stat().st_mtime_ns

    def __call__(self, read: Callable[[In], torch.Tensor], jobs: Sequence[In]) -> Iterator[Floats]:
        """For each job, of which `read` gives float (views, 3, size, size), 0…1: (views, d)."""
        session = _session(self._onnx, self._modified)
        for views in map(read, jobs):
            made = [session.run(None, {"image": image[None]})[0] for image in views.numpy()]
            yield np.concatenate(made)


@lru_cache(maxsize=1)
def _session(onnx: Path, modified: int) -> Any:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def export(frozen: Frozen, size: int, path: Path) -> None:
    """Write `frozen` as ONNX: `image`, float32 (1, 3, size, size), to `features` (1, d)."""
    frozen.network.materialize()
    with warnings.catch_warnings(), torch.inference_mode():
        # The newer exporter takes 20 times as long for the same graph (torch 2.15: 28 s and 1.4 s).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            frozen.cpu().eval(),
            (torch.zeros(1, 3, size, size),),
            path,
            input_names=["image"],
            output_names=["features"],
            dynamo=False,
        )


class OnGPU:
    """`frozen` on a GPU, of full batches of images."""

    def __init__(self, frozen: Frozen, device: torch.device) -> None:
        self._frozen, self._device = frozen, device

    @torch.inference_mode()
    def __call__(self, read: Callable[[In], torch.Tensor], jobs: Sequence[In]) -> Iterator[Floats]:
        """As `OnProcessor`; `read` is called from several threads."""
        frozen = self._frozen.to(self._device).eval()
        waiting = in_threads(read, jobs)
        while some := list(islice(waiting, BATCH)):
            full = torch.stack(some + some[:1] * (BATCH - len(some)))  # (BATCH, views, 3, …)
            whole = full.flatten(0, 1).to(self._device, memory_format=torch.channels_last)
            made = torch.cat([frozen(part) for part in torch.split(whole, BATCH)])
            yield from made.float().cpu().numpy().reshape(BATCH, -1, made.shape[1])[: len(some)]
