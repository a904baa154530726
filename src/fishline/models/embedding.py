"""Photographs through the frozen layers of a network, on whatever computes that quickest.

On a processor that is ONNX Runtime, one photograph at a time on every core: quicker than torch,
and the same bytes whatever else is computed. On a GPU it is torch, in batches that are always full,
for the same reason.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fishline.core.parallel import in_threads
from fishline.models.artifact import Normalize
from fishline.models.networks import Network

BATCH = 64  # photographs at a time on a GPU

Floats = npt.NDArray[np.float32]
Read = Callable[[int], torch.Tensor]


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


def embed(
    frozen: Frozen, jobs: Sequence[int], read: Read, size: int, device: torch.device, onnx: Path
) -> Iterator[Floats]:
    """What `frozen` makes of the images that `read` gives for `jobs`, in their order.

    Args:
        read: gives float (views, 3, size, size) on the scale 0…1; called from several threads.
        onnx: where the exported layers are, or will be, if the processor computes.

    Returns:
        float32 (views, d) for each.
    """
    if device.type == "cpu":
        return _on_processor(frozen, jobs, read, size, onnx)
    return _on_gpu(frozen.to(device).eval(), jobs, read, device)


def _on_processor(
    frozen: Frozen, jobs: Sequence[int], read: Read, size: int, onnx: Path
) -> Iterator[Floats]:
    import onnxruntime  # type: ignore[import-untyped]

    if not onnx.exists():
        export(frozen, size, onnx)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # photographs are computed side by side instead
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def one(job: int) -> Floats:
        images = read(job).numpy()  # (views, 3, size, size)
        return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what reads does little, and would wait for its own threads
    try:
        yield from in_threads(one, jobs)
    finally:
        torch.set_num_threads(threads)


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


@torch.inference_mode()
def _on_gpu(
    frozen: Frozen, jobs: Sequence[int], read: Read, device: torch.device
) -> Iterator[Floats]:
    waiting = in_threads(read, jobs)
    while some := list(islice(waiting, BATCH)):
        images = torch.stack(some + some[:1] * (BATCH - len(some)))  # (BATCH, views, 3, size, size)
        whole = images.flatten(0, 1).to(device, memory_format=torch.channels_last)
        made = torch.cat([frozen(part) for part in torch.split(whole, BATCH)])
        yield from made.float().cpu().numpy().reshape(BATCH, -1, made.shape[1])[: len(some)]
