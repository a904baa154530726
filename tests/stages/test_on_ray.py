"""Stages whose work runs on Ray: the same bytes as in this process's threads."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fishline.core.files import remaking
from fishline.core.params import Data, Params
from fishline.data.cache import Cache
from fishline.data.prepare.copies import links
from fishline.models.feature_packing import make_features
from fishline.stages.preprocess import preprocess

SIZE = 48
SPECIES = ("Bream", "Trout")


def run(folder: Path, data: Path, params: Params) -> None:
    """Cache and features of the photographs in `data`, in `folder`."""
    counts = preprocess(
        Data(dir=str(data), conflicts="fail", personal="drop"), SPECIES, SIZE, folder / "cache"
    )
    assert counts == {"images": 12, "photographs": 12, "rejected": 1, "species": 2}
    features = folder / "features"
    with remaking(features) as new:
        twice = params.model_copy(update={"views": 2})
        assert make_features(twice, Cache(folder / "cache"), features, new) == 12


def test_cache_and_features_are_the_same_bytes(
    tmp_path: Path,
    draw_tree: Callable[[Path, Mapping[str, int]], list[str]],
    digests: Callable[[Path], dict[str, str]],
    params: Params,
    on_ray: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "BLOCK", 5)  # pictures of several blocks are compared
    draw_tree(tmp_path / "data", {"Bream": 5, "Trout": 7})
    (tmp_path / "data/Trout/broken.png").write_bytes(b"no picture")
    run(tmp_path / "ray", tmp_path / "data", params)
    monkeypatch.setenv("FISHLINE_ENGINE", "local")
    run(tmp_path / "local", tmp_path / "data", params)
    for kind in ("cache", "features"):
        assert digests(tmp_path / "ray" / kind) == digests(tmp_path / "local" / kind)
