"""What a model looked at: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391).

The last layer that still has places, in a convolutional network the last feature maps, weighted by
how much each speaks for a species. By Captum's `LayerGradCam`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn

from fishline.data.decode import Pixels
from fishline.models.artifact import scale
from fishline.models.networks import Network
from fishline.models.trained_model import TrainedModel

Maps = npt.NDArray[np.float32]

SHARE = 0.5  # of an overlay that the hottest place covers


def heatmaps(model: TrainedModel, pixels: Pixels, labels: torch.Tensor) -> Maps:
    """Where in each picture there is what speaks for a species.

    Args:
        pixels: uint8 (b, size, size, 3).
        labels: int64 (b,), the species asked about, as positions among the model's.

    Returns:
        float32 (b, size, size), from 0 to 1, the largest of a picture; all 0 where nothing does.
    """
    network = model.network
    network.materialize()
    learning = {name: p.requires_grad for name, p in network.named_parameters()}
    network.eval().requires_grad_(True)  # Captum asks for gradients, frozen or not
    try:
        images = model.normalize(scale(torch.from_numpy(pixels).to(model.device)))
        method = LayerGradCam(network, last_maps(network, images[:1]))
        small = method.attribute(images, labels.to(model.device), relu_attributions=True)
        # (b, 1, h, w) → (b, size, size)
        large = LayerAttribution.interpolate(small, images.shape[2:], "bilinear")[:, 0].detach()
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(learning[name])
    peak = large.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(large.dtype).tiny)
    maps: Maps = (large / peak).float().cpu().numpy()
    return maps


def last_maps(network: Network, image: torch.Tensor) -> nn.Module:
    """The last layer of `network` whose output still has places: more than one by one.

    Args:
        image: float (1, 3, size, size).
    """
    last: nn.Module = network.features
    with torch.inference_mode():
        values = image
        for layer in [*network.features, *network.classifier]:
            values = layer(values)
            if values.dim() == 4 and values.shape[2:].numel() > 1:
                last = layer
    return last


def overlay(pixels: Pixels, maps: Maps) -> Pixels:
    """The pictures, uint8 (b, size, size, 3), with their maps as heat over them."""
    from matplotlib import colormaps

    heat = colormaps["inferno"](maps)[..., :3] * 255  # (b, size, size, 3)
    share = SHARE * np.sqrt(maps)[..., None]
    mixed: Pixels = ((1 - share) * pixels + share * heat).round().astype(np.uint8)
    return mixed
