"""What a model made of its test photographs, kept with the run that trained it, to compare with."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fishline.core.errors import UserError
from fishline.evaluation.test_run import TestRun
from fishline.serving.answer_log.schema import project
from fishline.tracking import versions
from fishline.tracking.versions import Version

FILE = "reference.parquet"  # in the folder `test` of a run's artifacts
MOST = 2000  # photographs that are kept, drawn by lot: 300 kB


def write_reference(tested: TestRun, folder: Path) -> Path:
    """Write a row for each test photograph: one of its files stands for it, whichever.

    Columns: sha256, original, answer, rank, species (the likeliest), right (whether that is what it
    shows), confidence (its probability, float64), distance (float64), features (32 float32, as of
    `project`), model_sha256.
    """
    predictions = tested.predictions
    shuffled = predictions.sort_values("sha256").drop_duplicates("original")  # the same ones always
    rows = np.sort(shuffled.head(MOST).index)
    some = predictions.loc[rows]
    table = some[["sha256", "original", "answer", "rank"]].assign(
        species=some["predicted"],
        right=some["predicted"] == some["species"],
        confidence=tested.confidence[rows],
        distance=tested.distances[rows],
        features=list(project(tested.embeddings[rows])),
        model_sha256=tested.model.digest,
    )
    path = folder / FILE
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
            return table
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"test/{FILE} of {version} cannot be read: {error}") from None
