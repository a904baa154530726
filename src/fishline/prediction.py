"""What a trained network makes of images."""

from __future__ import annotations

import torch

from fishline.dataset import Images
from fishline.metrics import Report, report
from fishline.models import Normalize, scale
from fishline.networks import Network


@torch.inference_mode()
def predict(
    network: Network, normalize: Normalize, images: Images, batch_size: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits float (n, classes) and labels int64 (n,) of `images` in their order, on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    normalize.to(device)
    logits, labels = [], []
    for pixels, truth in images.batches(torch.arange(len(images)), batch_size):
        logits.append(network(normalize(scale(pixels.to(device)))).cpu())
        labels.append(truth)
    return torch.cat(logits), torch.cat(labels)


def assess(network: Network, normalize: Normalize, images: Images) -> Report:
    """What `network` makes of `images`, whose species must be the network's, in its order."""
    logits, labels = predict(network, normalize, images)
    return report(labels.numpy(), logits.argmax(1).numpy(), images.species)
