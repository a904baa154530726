"""Features of every photograph of a cache, written: what is there already is not computed again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

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
from fishline.models.embedding import Floats, Frozen, embed, frozen_digest
from fishline.models.pretrained import load_weights, normalization, read_weights
from fishline.models.timm_networks import make_network

ONNX = "network.onnx"


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
    if device.type == "cpu" and (old / ONNX).is_file() and _frozen(old) == frozen:
        link_or_copy(old / ONNX, new / ONNX)
    digests = cache.digests()
    row = {digest: number for number, digest in enumerate(digests)}
    computed: list[str] = []

    def make_all(wanted: Sequence[str]) -> Iterator[Floats]:
        def read(number: int) -> torch.Tensor:
            return versions(cache, number, digests[number], params.views)

        computed.extend(wanted)
        jobs = [row[digest] for digest in wanted]
        made = embed(Frozen(network, normalize), jobs, read, size, device, new / ONNX)
        yield from tqdm(made, desc="embed", total=len(jobs), unit="image", disable=None)

    head = network.classifier[-1]
    assert isinstance(head, nn.Linear)
    packing = features_packing(params, frozen, head.in_features, device)
    pack(digests, make_all, packing, old, new)
    return len(computed)


def features_packing(
    params: Params, frozen: str, width: int, device: torch.device
) -> Packing[Floats]:
    """Features of `params.views` versions of a photograph, float32 (views, width)."""
    code = b"".join(Path(str(m.__file__)).read_bytes() for m in (embedding, augmenting))
    decides: dict[str, Any] = {
        "frozen": frozen,
        "views": params.views,
        "computed_on": device.type,
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


def versions(cache: Cache, row: int, sha256: str, views: int) -> torch.Tensor:
    """A photograph as it is, and augmented as its content alone decides: whatever the seed.

    Returns:
        float32 (views, 3, size, size), on the scale 0…1.
    """
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
