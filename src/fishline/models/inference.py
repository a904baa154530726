"""What a trained network makes of images."""

from __future__ import annotations

import torch

from fishline.data.dataset import Images
from fishline.models.artifact import Normalize, scale
from fishline.models.networks import Network


@torch.inference_mode()
def predict(
    network: Network, normalize: Normalize, images: Images, batch_size: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits float (n, classes) and labels int64 (n,) of `images` in their order, on the CPU."""
    embeddings, labels = embed(network, normalize, images, batch_size)
    return classify(network, embeddings), labels


@torch.inference_mode()
def classify(network: Network, embeddings: torch.Tensor) -> torch.Tensor:
    """Logits float (n, classes) of what `embed` returned, on the CPU."""
    head = network.classifier[-1]
    logits: torch.Tensor = head(embeddings.to(next(head.parameters()).device)).cpu()
    return logits


@torch.inference_mode()
def embed(
    network: Network, normalize: Normalize, images: Images, batch_size: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the last layer is given, float (n, d), and labels int64 (n,), both on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    normalize.to(device)
    embeddings, labels = [], []
    for pixels, truth in images.batches(torch.arange(len(images)), batch_size):
        embeddings.append(network.embed(normalize(scale(pixels.to(device)))).cpu())
        labels.append(truth)
    return torch.cat(embeddings), torch.cat(labels)
