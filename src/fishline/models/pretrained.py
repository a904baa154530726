"""Weights to start from: torchvision's, or those of a file (`model.weights`)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from textwrap import shorten
from urllib.error import URLError

import torch
from safetensors.torch import load_file

from fishline.core.errors import UserError
from fishline.models.artifact import read_config
from fishline.models.networks import BACKBONES, Backbone, Network

# Of ImageNet, as all of torchvision's weights expect: https://docs.pytorch.org/vision/stable/models
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

State = dict[str, torch.Tensor]


def normalization(name: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std per channel that `model.weights` were learnt with; None if that is not known.

    Those of a model trained here stand in the model.json beside its weights.

    Raises:
        UserError: that file describes no model.
    """
    if weights == "none":
        return None
    beside = Path(weights).with_name("model.json")
    if weights != "default" and beside.is_file():
        config = read_config(beside)
        return config.mean, config.std
    return (MEAN, STD) if name in BACKBONES else None


def initialize(network: Network, name: str, weights: str) -> str:
    """Give `network` the weights that `model.weights` names; the head only if its size fits.

    Args:
        weights: `none` (they stay fresh), `default` (torchvision's, downloaded once), or the path
            of a file, .safetensors or .pth: of this network, or of torchvision's of that name.

    Returns:
        The SHA-256 of the weights' bytes, empty for `none`.

    Raises:
        UserError: there are no such weights, they cannot be had, or they do not fit.
    """
    if weights == "none":
        return ""
    state = _download(name) if weights == "default" else _read(Path(weights))
    if name in BACKBONES and state.keys() != network.state_dict().keys():
        state = _renamed(name, state, weights)
    head = f"classifier.{len(network.classifier) - 1}."
    own = network.state_dict()
    fits = all(state[k].shape == own[k].shape for k in own if k.startswith(head) and k in state)
    kept = {k: tensor for k, tensor in state.items() if fits or not k.startswith(head)}
    try:
        missing, unknown = network.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise _misfit(weights, name, error) from None
    if unknown or any(not key.startswith(head) for key in missing):
        raise _misfit(weights, name, f"{sorted([*unknown, *missing])[0]} is not in both")
    return _digest(state)


def _download(name: str) -> State:
    from torchvision.models import get_model_weights

    chosen = get_model_weights(name).DEFAULT
    try:
        state: State = chosen.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"params.yaml: model.weights is default, but {chosen.url} cannot be downloaded: "
            f"{error}\nGet the file by other means and name its path in model.weights, or set it "
            "to none."
        ) from None
    return state


def _read(path: Path) -> State:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"params.yaml: model.weights names {path}, which is not there") from None
    except Exception as error:  # a file of anything else may raise anything
        raise UserError(
            f"params.yaml: model.weights names {path}, which holds no weights: "
            f"{shorten(str(error) or type(error).__name__, 200)}"
        ) from None
    tensors = isinstance(state, dict) and all(map(torch.is_tensor, state.values()))
    if not tensors:
        raise UserError(
            f"params.yaml: model.weights names {path}, which is no state dict: names and tensors"
        )
    return state


def _renamed(name: str, state: State, weights: str) -> State:
    """A state dict of torchvision's network, as one of ours."""
    from torchvision.models import get_model

    head = list(get_model(name, weights=None).state_dict())[-1]
    if head not in state:
        raise _misfit(weights, name, f"{head} is missing")
    whole = get_model(name, weights=None, num_classes=len(state[head]))
    try:
        whole.load_state_dict(state)
    except RuntimeError as error:
        raise _misfit(weights, name, error) from None
    renamed: State = Backbone(whole).state_dict()
    return renamed


def _misfit(weights: str, name: str, why: object) -> UserError:
    reason = shorten(str(why), 300)  # torch lists every tensor
    return UserError(
        f"params.yaml: model.weights {weights} does not fit model.name {name}: {reason}"
    )


def _digest(state: State) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        # As bytes: NumPy has no bfloat16.
        digest.update(key.encode() + state[key].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
