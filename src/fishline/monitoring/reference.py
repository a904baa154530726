"""What a model makes of the project's photographs as of new ones: a reference for those to come."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fishline.core.errors import UserError
from fishline.data.dataset import Images
from fishline.data.explore.out_of_sample import out_of_sample
from fishline.data.features import directions
from fishline.evaluation.test_run import TestRun
from fishline.models.calibration import find_temperature
from fishline.models.novelty import distances_to_others
from fishline.models.taxonomy import Predictions, predictions
from fishline.models.trained_model import TrainedModel
from fishline.monitoring import drift
from fishline.serving.answer_log.schema import project
from fishline.tracking import versions
from fishline.tracking.versions import Version

FILE = "reference.parquet"  # in the folder `test` of a run's artifacts
MOST = 2000  # test photographs that are kept, drawn by lot: 300 kB
FEWEST = 10  # training photographs that are of use: each is compared with the others
TEST, VALIDATION, TRAIN = "test", "validation", "train"


def write_reference(tested: TestRun, subsets: Mapping[str, Images], folder: Path) -> Path:
    """Write a row for each photograph: one of its files stands for it, whichever.

    Those of the test; where these are fewer than are compared at once, also those of validation
    and, of layers that stayed as they were pretrained, of training: see `_learnt`.

    Columns: part, sha256, original, answer, rank, species (the likeliest), right (whether that is
    what it shows), confidence (its probability, float64), distance (float64), features (32
    float32, as of `project`), model_sha256.
    """
    path = folder / FILE
    table = pd.concat(_parts(tested, subsets), ignore_index=True)
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    return path


def read_reference(version: Version) -> pd.DataFrame:
    """What `write_reference` wrote of `version`.

    Raises:
        UserError: its run has none, or it cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = versions.run_file(version, f"test/{FILE}", Path(folder))
        if file is None:
            raise UserError(
                f"run {version.run_id}, which trained {version}, has no test/{FILE} to compare "
                "with: it was evaluated by a fishline of before. `dvc repro` evaluates the models "
                "in models/ again and adds it; --model names another version"
            )
        try:
            table: pd.DataFrame = pq.read_table(file).to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"test/{FILE} of {version} cannot be read: {error}") from None
    return table if "part" in table else table.assign(part=TEST)  # of a fishline of before


def _parts(tested: TestRun, subsets: Mapping[str, Images]) -> Iterator[pd.DataFrame]:
    model, test = tested.model, subsets[TEST]
    chosen = one_file_each(test)[:MOST]
    embeddings = torch.from_numpy(tested.embeddings[chosen])
    yield _rows(TEST, test.at(torch.from_numpy(chosen)), model, model.answer(embeddings))
    wanted = drift.MOST - len(chosen)
    if wanted > 0 and VALIDATION in subsets:
        validation = subsets[VALIDATION]
        images = validation.at(torch.from_numpy(one_file_each(validation)[:wanted]))
        yield _rows(VALIDATION, images, model, model.answer(model.embed_images(images)[0]))
        wanted -= len(images)
    train = subsets[TRAIN]
    alone = (train.table["group"] == train.table["original"]).all()  # and not a trip's, say
    if wanted > 0 and alone and train.features_by(model.frozen_digest):
        yield from _learnt(model, train, wanted)


def one_file_each(images: Images) -> npt.NDArray[np.int64]:
    """The position of a file of each photograph, in an order by lot that is always the same."""
    return (
        images.table.sort_values("sha256")
        .drop_duplicates("original")
        .index.to_numpy(np.int64, copy=True)
    )


def _learnt(model: TrainedModel, train: Images, most: int) -> Iterator[pd.DataFrame]:
    """Training photographs as they would be answered had the last layer not learnt from them.

    The layers before it did not. Probabilities are those of classifiers that learnt from other
    photographs, as sure as these deserve (`find_temperature`): as often below a threshold, but not
    distributed as the model's. Distances are those to other photographs.
    """
    each = one_file_each(train)
    embeddings, labels = (values.numpy() for values in model.embed_images(train))
    shares = out_of_sample(directions(embeddings[each]), labels[each])
    told = np.flatnonzero(~np.isnan(shares).any(1))  # not the only photograph of a species
    if len(told) < FEWEST:
        return
    logits = np.log(shares[told].clip(np.finfo(np.float32).tiny)).astype(np.float32)
    truth = torch.from_numpy(labels[each[told]])
    logits *= model.config.temperature / find_temperature(torch.from_numpy(logits), truth)
    chosen = each[told[:most]]
    photographs = pd.factorize(train.table["original"])[0]
    distances = distances_to_others(embeddings, labels, photographs, chosen)
    far = distances > model.detector.limit
    seen = embeddings[chosen]
    said = predictions(logits[:most], distances, far, seen, model.config)
    yield _rows(TRAIN, train.at(torch.from_numpy(chosen)), model, said)


def _rows(part: str, images: Images, model: TrainedModel, said: Predictions) -> pd.DataFrame:
    likeliest = np.array(model.config.species, object)[said.probabilities.argmax(1)]
    return images.table[["sha256", "original"]].assign(
        part=part,
        answer=said.answers.names,
        rank=said.answers.ranks,
        species=likeliest,
        right=likeliest == images.table["species"],
        confidence=said.probabilities.max(1),
        distance=said.distances,
        features=list(project(said.features)),
        model_sha256=model.digest,
    )
