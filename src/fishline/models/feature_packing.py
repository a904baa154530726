"""Features of every photograph of a cache, written: what is there already is not computed again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from fishline.core.files import link_or_copy, read_json
from fishline.core.params import Params
from fishline.data import augment as augmenting
from fishline.data.augment import augment, draw_flips
from fishline.data.cache import Cache
from fishline.data.features import MADE_BY, WEIGHTS
from fishline.data.prepare.packing import Packing, pack
from fishline.models import embedding
from fishline.models.artifact import ModelConfig, Normalize, scale
from fishline.models.devices import find_device
from fishline.models.embedding import (
    THREADS,
    Floats,
    Frozen,
    OnGPU,
    OnProcessor,
    export,
    frozen_digest,
)
from fishline.models.pretrained import load_weights, normalization, read_weights
from fishline.models.timm_networks import make_network

ONNX = "network.onnx"
Layers = OnGPU | OnProcessor


def make_features(params: Params, cache: Cache, old: Path, new: Path) -> int:
    """Write features of all photographs of `cache`, with what can be used of those in `old`.

    Returns:
        How many were computed.
    """
    name, size, device = params.model.name, cache.size, find_device(params.device)
    state = read_weights(name, params.model.weights, size)
    network = make_network(name, 2, size)
    load_weights(network, state, name, params.model.weights)
    mean, std = normalization(name, params.model.weights)
    normalize = Normalize(ModelConfig(name, (), size, mean, std, split=""))
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, new / WEIGHTS)
    frozen = frozen_digest(network, normalize, size)
    if device.type == "cpu":
        if (old / ONNX).is_file() and _frozen(old) == frozen:
            link_or_copy(old / ONNX, new / ONNX)
        else:
            export(Frozen(network, normalize), size, new / ONNX)
        layers: Layers = OnProcessor(new / ONNX)
    else:
        layers = OnGPU(Frozen(network, normalize), device)
    head = network.classifier[-1]
    assert isinstance(head, nn.Linear)
    packing = features_packing(params, frozen, head.in_features, device)
    wanted = {digest: (row, digest) for row, digest in enumerate(cache.digests())}
    with one_thread():
        make = partial(_embed, layers, cache, params.views)
        return pack(wanted, make, packing, old, new, int(device.type != "cpu")).made


@contextmanager
def one_thread() -> Iterator[None]:
    """What torch does beside the layers is little, and would wait for its own threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _embed(
    layers: Layers, cache: Cache, views: int, photographs: Sequence[tuple[int, str]]
) -> Iterator[Floats]:
    """Features of photographs of `cache`, by row and SHA-256."""
    return layers(partial(versions, cache, views), photographs)


def features_packing(
    params: Params, frozen: str, width: int, device: torch.device
) -> Packing[Floats]:
    """Features of `params.views` versions of a photograph, float32 (views, width)."""
    code = b"".join(Path(str(m.__file__)).read_bytes() for m in (embedding, augmenting))
    decides: dict[str, Any] = {
        "frozen": frozen,
        "views": params.views,
        "computed_on": device.type,
        "threads": THREADS,
        "code": hashlib.sha256(code).hexdigest()[:16],
    }
    record = np.dtype(
        [
            ("sha256", "u1", (32,)),  # of the photograph's file
            ("features", "<f4", (params.views, width)),
            ("crc32", "<u4"),  # of the bytes before
        ]
    )
    return Packing("features", record, decides, _fill)


def versions(cache: Cache, views: int, photograph: tuple[int, str]) -> torch.Tensor:
    """A photograph, by row and SHA-256, and versions of it that its content decides, not the seed.

    Returns:
        float32 (views, 3, size, size), on the scale 0…1.
    """
    row, sha256 = photograph
    image = scale(torch.from_numpy(cache.take(np.array([row]))))  # (1, 3, size, size)
    if views == 1:
        return image
    rng = torch.Generator().manual_seed(int(sha256[:8], 16))  # torch takes no more bits
    drawn = draw_flips(views - 1, rng)
    return torch.cat([image, augment(image.expand(views - 1, -1, -1, -1), drawn)])


def _fill(slot: np.void, values: Floats) -> None:
    slot["features"] = values


def _frozen(folder: Path) -> str:
    try:
        return str(read_json(folder / MADE_BY).get("frozen"))
    except (OSError, ValueError):
        return ""
