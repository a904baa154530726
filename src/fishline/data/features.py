"""What frozen layers made of the photographs of a cache, read: `embed` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fishline.core.errors import UserError
from fishline.core.files import read_json
from fishline.data.cache import Cache, Rows

if TYPE_CHECKING:
    import torch

MADE_BY = "made_by.json"
WEIGHTS = "weights.safetensors"  # what the network starts from, head and all


class Features:
    """The features of every photograph of a cache, by the cache's rows.

    frozen: digest of the layers that made them, see embedding.py
    """

    def __init__(self, folder: Path, frozen: str) -> None:
        self.frozen = frozen
        self._cache = Cache(folder, "features")

    @classmethod
    def open(cls, folder: Path, cache: Cache) -> Features | None:
        """Those in `folder`; None where there are none, as of a network that starts from nothing.

        Raises:
            UserError: they are not those of the photographs in `cache`.
        """
        if not (folder / "features").is_dir():
            return None
        try:
            features = cls(folder, read_json(folder / MADE_BY)["frozen"])
            same = features._cache.digests() == cache.digests()
        except Exception as error:  # a damaged file may raise anything
            raise UserError(f"{folder} is damaged: {error}; `dvc repro` mends it") from None
        if not same:
            raise UserError(f"{folder} is of other photographs; `dvc repro embed` makes it anew")
        return features

    def take(self, rows: torch.Tensor, views: int | None = None) -> torch.Tensor:
        """The first `views` versions, or all, of the photographs at `rows` (n,).

        Returns:
            float32 (views, n, d); the first version is the photograph as it is.
        """
        import torch  # `explore` looks at features without it

        values = torch.from_numpy(self._cache.take(rows.cpu().numpy()))  # (n, views, d)
        return values[:, :views].transpose(0, 1)

    def plain(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Those of the photographs at `rows` (n,) as they are: (n, d)."""
        values: npt.NDArray[np.float32] = self._cache.take(rows)[:, 0]
        return values


def directions(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows (n, d), each scaled to a length of 1; what is 0 stays 0."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return scaled
