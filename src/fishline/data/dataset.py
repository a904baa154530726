"""The cache as batches of tensors: no decoding and no per-image Python after this point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fishline.core.errors import UserError
from fishline.core.files import read_csv, require
from fishline.core.params import Params
from fishline.core.paths import CACHE, FEATURES, SPLIT
from fishline.core.roles import Role
from fishline.data.cache import Cache
from fishline.data.features import Features


class Pixels(Protocol):
    """Photographs to be had by their rows: a tensor, or what reads them from the disk."""

    @property
    def shape(self) -> Sequence[int]: ...

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor: ...


class Packed:
    """The photographs of a cache, read from its files when they are asked for."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.shape = (len(cache), cache.size, cache.size, 3)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._cache.take(rows.numpy()))

    def aspects(self, rows: torch.Tensor) -> npt.NDArray[np.float64]:
        """Width over height of the photographs at `rows`, which are kept as squares: (n,)."""
        width, height = (self._cache.take(rows.numpy(), side) for side in ("width", "height"))
        aspects: npt.NDArray[np.float64] = width / height
        return aspects


@dataclass(frozen=True)
class Images:
    """Some images of the cache.

    pixels: uint8 (n of the whole cache, size, size, 3)
    rows:   int64 (n,), the rows of `pixels` that belong here
    labels: int64 (n,), positions in `species`
    table:  the rows of the split that belong here, same order
    features: of the whole cache, by the same rows; None if there are none
    """

    pixels: Pixels
    rows: torch.Tensor
    labels: torch.Tensor
    species: tuple[str, ...]
    table: pd.DataFrame
    features: Features | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Edge of an image in pixels."""
        return self.pixels.shape[1]

    @property
    def aspects(self) -> npt.NDArray[np.float64]:
        """float64 (n,): width over height of each photograph; 1 of those that are a tensor."""
        if isinstance(self.pixels, Packed):
            return self.pixels.aspects(self.rows)
        return np.ones(len(self))

    def at(self, positions: torch.Tensor) -> Images:
        """Those at `positions` int64 (m,) alone; their labels stay as they are."""
        table = self.table.iloc[positions.numpy()].reset_index(drop=True)
        return replace(self, rows=self.rows[positions], labels=self.labels[positions], table=table)

    def where(self, wanted: pd.Series[bool]) -> Images:
        """Those of which `wanted` (n,) holds alone."""
        return self.at(torch.tensor(np.flatnonzero(wanted)))

    def features_by(self, frozen: str) -> Features | None:
        """The features, if the layers with the digest `frozen` made them."""
        return self.features if self.features and self.features.frozen == frozen else None

    def batches(
        self, order: torch.Tensor, batch_size: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of uint8 (b, size, size, 3) and int64 (b,), for the positions in `order`."""
        for positions in torch.split(order, batch_size):
            yield self.pixels[self.rows[positions]], self.labels[positions]


def load_images(
    cache: Path,
    tables: Path | Sequence[Path],
    species: Sequence[str],
    features: Path | None = None,
) -> dict[str, Images]:
    """The images of one task or of several together, by part: train, validation, test.

    Args:
        features: the folder that `embed` wrote.

    Raises:
        UserError: cache or split is missing, they do not belong together, or a species has no
            image to train with.
    """
    manifest = read_csv(require(cache / "manifest.csv", "split"))[["file", "index", "sha256"]]
    paths = [tables] if isinstance(tables, Path) else tables
    split = " and ".join(map(str, paths))
    whole = pd.concat([_read_split(path) for path in paths], ignore_index=True)
    table = whole.merge(manifest, on="file", how="left")
    stray = sorted(set(table["species"]) ^ set(species)) + list(
        table[table["index"].isna()]["file"]
    )
    if stray:
        raise UserError(
            f"{split} does not fit params.yaml and {cache}: {stray[0]} is not in all of them; "
            "run `dvc repro split`"
        )
    packed = _open(cache, int(manifest["index"].max()) + 1)
    pixels, made = Packed(packed), Features.open(features, packed) if features else None
    subsets = {str(name): rows for name, rows in table.groupby("part")}
    for name in species:
        if "train" not in subsets or name not in set(subsets["train"]["species"]):
            raise UserError(
                f"{split}: no training image of '{name}'; split.strategy: grouped has one"
            )
    return {name: _images(pixels, rows, tuple(species), made) for name, rows in subsets.items()}


def _read_split(path: Path) -> pd.DataFrame:
    return read_csv(require(path, "split"), all_text=True)


def _open(cache: Path, count: int) -> Cache:
    """The photographs of `cache`, which must be at least `count`."""
    try:
        packed = Cache(cache)
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{cache} is damaged: {error}; `dvc repro` mends it") from None
    if len(packed) < count:
        raise UserError(f"{cache} lacks photographs of its manifest; `dvc repro` mends it")
    return packed


def _images(
    pixels: Pixels, table: pd.DataFrame, species: tuple[str, ...], features: Features | None
) -> Images:
    labels = table["species"].map({name: i for i, name in enumerate(species)})
    return Images(
        pixels,
        torch.tensor(table["index"].to_numpy(np.int64)),
        torch.tensor(labels.to_numpy(np.int64)),
        species,
        table.reset_index(drop=True),
        features,
    )


def mean_and_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel (R, G, B) over all pixels of `images`, on the scale 0…1."""
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    for pixels, _ in images.batches(torch.arange(len(images)), 256):
        flat = pixels.reshape(-1, 3).double() / 255  # (b·h·w, 3)
        total += flat.sum(0)
        squares += flat.square().sum(0)
    count = len(images) * images.size**2
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def model_images(role: Role, params: Params) -> dict[str, Images]:
    """The images of a model by part, its species in the order of its logits: base first."""
    chosen = role.tasks(params)
    species = [name for task in chosen for name in getattr(params, task).species]
    return load_images(CACHE, [SPLIT / f"{task}.csv" for task in chosen], species, FEATURES)
