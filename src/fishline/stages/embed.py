"""Stage `embed`: every photograph through the frozen layers of a pretrained network, once.

Reads `data/cache` and the weights that `model.weights` names, writes `data/features/`:
    features/             what the last layer is given for each photograph, packed (packing.py)
    weights.safetensors   what training starts from
    network.onnx          the frozen layers, as the processor runs them (embedding.py)
    made_by.json          what decided the features

What an earlier run computed is used again, by content: one new photograph is one forward pass, and
neither the split nor what is learnt asks for any. A network that starts from nothing has nothing to
embed.
"""

from __future__ import annotations

from fishline.core.files import remaking, require, write_json
from fishline.core.params import load_params
from fishline.core.paths import CACHE, FEATURES
from fishline.data.cache import Cache
from fishline.data.features import MADE_BY
from fishline.models.devices import seed_everything
from fishline.models.feature_packing import make_features


def main() -> None:
    params = load_params()
    seed_everything(params.seed)
    require(CACHE / "manifest.csv", "preprocess")
    with remaking(FEATURES) as new:
        if params.model.is_pretrained:
            count = make_features(params, Cache(CACHE), FEATURES, new)
            print(f"embed: {count:,} photographs were new; features of all are in {FEATURES}")
        else:
            write_json(new / MADE_BY, {})
            print(f"embed: {params.model.name} starts from nothing, so there are no features")
