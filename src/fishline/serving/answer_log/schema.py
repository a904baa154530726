"""What a row of the log of answers says, and where the log lies.

`FISHLINE_LOG` names its place, a folder or a URL such as `s3://bucket/answers`; without it nothing
is logged. Below it lies a folder for each day, `day=2026-07-01`, as pandas, DuckDB and Spark know
it. Each process writes files of its own name. One that still grows is replaced by a longer one, as
a whole: whoever reads finds every row once, at any moment.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fishline.data.features import directions

LOG = "FISHLINE_LOG"  # variable
PICTURES = "_pictures"  # folder of kept photographs; readers of Parquet pass over such a name
DAY = "day="  # how the name of a day's folder begins
DIMENSIONS = 32  # numbers that stand for a photograph's features

Floats = npt.NDArray[np.float32]

# time:          of the answer, in UTC
# source:        who was asked: predict, serve or app
# place:         that whoever asked named, such as a vessel; "" for none
# model:         the registered version, such as fish-finetuned/3, or the model's folder
# model_sha256:  of the model itself
# sha256:        of the photograph's file; null where it could not be had
# answer, rank, probability, probabilities: as of `Answer`; null where there is none, and so are
# distance:      from what is known, see novelty.py
# features:      what `project` makes of them
# seconds:       that went into this answer: reading, decoding, its share of the network's time
# picture:       name of the photograph that was kept in _pictures; "" for none
# error:         why there is no answer
SCHEMA = pa.schema(
    {
        "time": pa.timestamp("us", "UTC"),
        "source": pa.string(),
        "place": pa.string(),
        "model": pa.string(),
        "model_sha256": pa.string(),
        "sha256": pa.string(),
        "answer": pa.string(),
        "rank": pa.string(),
        "probability": pa.float64(),
        "probabilities": pa.map_(pa.string(), pa.float64()),
        "distance": pa.float64(),
        "features": pa.list_(pa.float32()),
        "seconds": pa.float64(),
        "picture": pa.string(),
        "error": pa.string(),
    }
)


def project(features: Floats) -> Floats:
    """Directions of features (n, d) as 32 numbers each, which keep how far apart they are.

    A fixed Gaussian random projection (Johnson and Lindenstrauss 1984): it needs no training, so
    that those of any time can be compared.

    Returns:
        float32 (n, 32)
    """
    projected: Floats = directions(features) @ _projection(features.shape[1])
    return projected.astype(np.float32)


@functools.cache
def _projection(size: int) -> Floats:
    drawn: Floats = np.random.default_rng(0).standard_normal((size, DIMENSIONS)).astype(np.float32)
    return drawn / np.float32(np.sqrt(DIMENSIONS))
