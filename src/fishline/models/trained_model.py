"""A trained network with all that its answers depend on: the one way from images to answers."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fishline.data.dataset import Images
from fishline.models import artifact
from fishline.models.artifact import ModelConfig, Normalize, scale
from fishline.models.embedding import digest, frozen_digest
from fishline.models.networks import Network
from fishline.models.novelty import Detector, load_detector, save_detector
from fishline.models.taxonomy import Predictions, predictions


class TrainedModel:
    """A network, what it expects, and what it takes for unknown.

    Args:
        network: put in eval mode; stays on its device.
        config: its normalisation and temperature are applied here.
        detector: None until training has fitted one (calibrate.py); needed by `answer` and `save`.
    """

    def __init__(
        self, network: Network, config: ModelConfig, detector: Detector | None = None
    ) -> None:
        self.network = network.eval()
        self.config = config
        self.normalize = Normalize(config).to(self.device)
        self._detector = detector

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> TrainedModel:
        """The model that `save` wrote.

        Raises:
            UserError: a file is missing or broken, or the weights do not fit the network.
        """
        network, config = artifact.load(folder)
        return cls(network.to(device), config, load_detector(folder))

    def save(self, folder: Path) -> None:
        """Write weights, config and detector; the same model gives the same bytes.

        Raises:
            OSError: there is no room.
        """
        artifact.save(folder, self.network, self.config)
        save_detector(folder, self.detector)

    def to(self, device: torch.device) -> TrainedModel:
        """The same model on `device`."""
        return TrainedModel(self.network.to(device), self.config, self._detector)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def detector(self) -> Detector:
        if self._detector is None:
            raise RuntimeError("no novelty detector has been fitted yet")
        return self._detector

    @cached_property
    def frozen_digest(self) -> str:
        """Of everything before the last layer, see embedding.py."""
        return frozen_digest(self.network, self.normalize, self.config.image_size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that its answers depend on."""
        weights = digest(self.network.state_dict())
        arrays = self.detector.tensors().items()
        known = digest({name: torch.from_numpy(array) for name, array in arrays})
        return hashlib.sha256(f"{self.config} {weights} {known}".encode()).hexdigest()

    @torch.inference_mode()
    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the last layer is given, float (b, d) on the CPU, for uint8 (b, size, size, 3)."""
        images = self.normalize(scale(pixels.to(self.device)))
        return self.network.embed(images).cpu()

    def embed_images(
        self, images: Images, batch_size: int = 256
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings float (n, d) and labels int64 (n,) of `images` in their order, on the CPU.

        Those that `embed` has made by this very network are taken from there.
        """
        if images.features and (made := images.features_by(self.frozen_digest)):
            return made.take(images.rows, 1)[0], images.labels
        batches = images.batches(torch.arange(len(images)), batch_size)
        embeddings, labels = [], []
        for pixels, truth in batches:
            embeddings.append(self.embed(pixels))
            labels.append(truth)
        return torch.cat(embeddings), torch.cat(labels)

    @torch.inference_mode()
    def logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits float (n, species) of embeddings (n, d), on the CPU."""
        head = self.network.classifier[-1]
        logits: torch.Tensor = head(embeddings.to(self.device)).cpu()
        return logits

    def answer(self, embeddings: torch.Tensor, only: Collection[str] = ()) -> Predictions:
        """Probabilities, and what is said of them, for embeddings (n, d).

        Args:
            only: the species that there can be, if not all: those of others are 0.
        """
        logits, features = self.logits(embeddings).numpy(), embeddings.numpy()
        distances = self.detector.distances(features)
        far = distances > self.detector.limit
        return predictions(logits, distances, far, features, self.config, only)

    def ask(self, pixels: npt.NDArray[np.uint8], only: Collection[str] = ()) -> Predictions:
        """What it makes of uint8 (b, size, size, 3).

        Args:
            only: as of `answer`.
        """
        return self.answer(self.embed(torch.from_numpy(pixels)), only)
