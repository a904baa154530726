"""Registered models tested again, now, on photographs of the present cache."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fishline.core.errors import UserError
from fishline.core.files import read_csv, require
from fishline.core.params import load_params
from fishline.core.paths import CACHE
from fishline.data.cache import Cache
from fishline.data.dataset import Images, Packed
from fishline.evaluation.statistics import group_of
from fishline.models import onnx_model
from fishline.models.devices import find_device
from fishline.models.onnx_model import OnnxModel
from fishline.models.trained_model import TrainedModel
from fishline.tracking import versions
from fishline.tracking.versions import Version

PREDICTIONS = "test/predictions.csv"  # of a training's run: what evaluate found, image by image
SPLIT = "split.csv"  # which images a model was trained, chosen and tested on
BATCH = 256  # images in memory at a time
COLUMNS = ["file", "sha256", "original", "group", "species"]  # tables of before have no group


def recorded(version: Version, path: str) -> pd.DataFrame | None:
    """A table of the run that trained `version`; None if the run has none.

    Raises:
        UserError: it cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = versions.run_file(version, path, Path(folder))
        try:
            return None if file is None else read_csv(file)
        except (ValueError, OSError) as error:
            raise UserError(f"{path} of {version} (run {version.run_id}): {error}") from None


def required(version: Version, path: str) -> pd.DataFrame:
    """A table of the run that trained `version`.

    Raises:
        UserError: the run has none, or it cannot be read.
    """
    table = recorded(version, path)
    if table is None:
        raise UserError(
            f"run {version.run_id}, which trained {version}, has no {path}; `dvc repro` on the "
            "commit that it comes from makes a run that has"
        )
    return table


def predictions(
    version: Version, images: pd.DataFrame, source: Version, served: bool = False
) -> pd.DataFrame:
    """What `version` makes of `images`, read from the cache by what they contain.

    Args:
        images: the columns `COLUMNS`; others are dropped.
        source: the version that they are test images of.
        served: whether to ask the file that is served, if the version has one, and not its weights.

    Returns:
        The same rows with `predicted`, and a column of calibrated probabilities per species.

    Raises:
        UserError: the cache lacks an image or has another image size, the model does not load,
            or it does not know a species.
    """
    model = _load(version, served)
    config = model.config
    foreign = sorted(set(images["species"]) - set(config.species))
    if foreign:
        raise UserError(f"{version} does not know the species {', '.join(foreign)}")
    pixels, rows = _rows(source, images)
    if pixels.shape[1] != config.image_size:
        raise UserError(
            f"{version} takes images of {config.image_size} pixels, {CACHE} has "
            f"{pixels.shape[1]}; {_way_back(version)}"
        )
    labels = images["species"].map({name: i for i, name in enumerate(config.species)})
    chosen = Images(pixels, rows, torch.tensor(labels.to_numpy(np.int64)), config.species, images)
    shares = _probabilities(model, chosen)
    best = np.array(config.species)[shares.argmax(1)]
    kept = [name for name in COLUMNS if name in images]
    table = images[kept].reset_index(drop=True).assign(predicted=best)
    return table.join(pd.DataFrame(shares, columns=config.species))


def _probabilities(model: TrainedModel | OnnxModel, images: Images) -> npt.NDArray[np.float64]:
    """Calibrated, of each of the model's species: (n, species)."""
    if isinstance(model, TrainedModel):
        return model.answer(model.embed_images(images)[0]).probabilities
    batches = images.batches(torch.arange(len(images)), BATCH)
    return np.concatenate([model.ask(pixels.numpy()).probabilities for pixels, _ in batches])


def _load(version: Version, served: bool) -> TrainedModel | OnnxModel:
    device = find_device(load_params().device)
    with tempfile.TemporaryDirectory() as folder:
        files = versions.fetch(version, Path(folder))
        exported = files.with_name(onnx_model.FILE)
        try:
            weights = TrainedModel.load(files, device)
            if not served or not exported.is_file():
                return weights
            model = OnnxModel.load(exported)
        except UserError as error:
            reason = error.message.replace(f"{files}/", "").removesuffix("; `dvc repro` makes it")
            raise UserError(f"{version} does not load: {reason}") from None
    if model.digest != weights.digest:
        raise UserError(f"{version} has the weights of one model and the ONNX file of another")
    return model


def _rows(source: Version, images: pd.DataFrame) -> tuple[Packed, torch.Tensor]:
    """The cache, and int64 (n,): where in it `images` are, whatever they are called there."""
    manifest = read_csv(require(CACHE / "manifest.csv", "preprocess"))
    places = manifest.drop_duplicates("sha256").set_index("sha256")["index"]
    missing = images.loc[~images["sha256"].isin(places.index), "file"]
    if len(missing):
        raise UserError(
            f"{CACHE} lacks {len(missing):,} of {len(images):,} test images, such as "
            f"{missing.iloc[0]}; {_way_back(source)}"
        )
    try:
        packed = Packed(Cache(CACHE))
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{CACHE} is damaged: {error}; `dvc repro` mends it") from None
    return packed, torch.tensor(places.loc[images["sha256"]].to_numpy(np.int64))


def _way_back(version: Version) -> str:
    """How to get the images back that `version` was tested on."""
    commit = version.tags.get("git.commit", "unknown")
    name = version.tags.get("dvc.exp")
    if name:
        where = f"`dvc exp apply {name}`"
    elif commit != "unknown":
        where = f"`git checkout {commit[:10]}`"
    else:
        return "bring its data back and run `dvc repro preprocess`"
    return f"{where} and `dvc checkout` (or `dvc repro preprocess`) bring its data back"


def left_out(test: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> pd.Series[bool]:
    """Which rows of `test` are of a group that a model was trained or chosen on.

    A group counts as seen if one of its files was in training or validation. Which files are of
    one group, each model's own table says: data that grew may have joined them anew.

    Args:
        test: columns sha256 and group.
        tables: of each model, and of the data that `test` is from: sha256, group and part.
    """
    learnt = {sha for table in tables for sha in table.loc[table["part"] != "test", "sha256"]}
    seen = test["sha256"].isin(learnt)
    for table in tables:
        group = group_of(table)
        shown = set(group[table["sha256"].isin(learnt)])
        seen |= test["sha256"].isin(table.loc[group.isin(shown), "sha256"])
    return seen
