"""Linear probing before fine-tuning: the last layer first, on features as they were pretrained.

A fresh last layer would send gradients of no meaning through all layers below, and spoil what they
know (Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022, https://arxiv.org/abs/2202.10054).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fishline.core.params import Params
from fishline.core.training_params import Trainable
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig
from fishline.models.devices import find_device
from fishline.models.networks import Network
from fishline.models.trained_model import TrainedModel
from fishline.training.sampling import sample_weights


def linear_probe(
    network: Network, config: ModelConfig, images: Images, params: Params, train: Trainable
) -> None:
    """Give the last layer of `network` the weights of a logistic regression on `images`.

    Only where more than that layer of pretrained weights learns, as `train` says; else nothing.
    Each species has images among them. The penalty is that of scikit-learn's default (C = 1) for
    features of length 1, whatever length they have here.
    """
    if train == "head" or not params.model.is_pretrained:
        return
    from sklearn.linear_model import LogisticRegression

    model = TrainedModel(network.to(find_device(params.device)), config)
    embeddings, labels = model.embed_images(images)  # (n, d), (n,)
    penalty = 1 / float(embeddings.square().sum(1).mean())
    regression = LogisticRegression(C=penalty, max_iter=1000).fit(
        embeddings.numpy(), labels.numpy(), sample_weights(images, params.sample_weight).numpy()
    )
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:  # of two species scikit-learn tells the difference of their logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    head = network.classifier[-1]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))
