"""Answers by Ray: each processor or GPU of a cluster has the model and asks it about a block.

Ray Data (https://docs.ray.io/en/latest/data/data.html) hands out the blocks, bounds what waits,
and asks again about the block of a worker that died.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from fishline.core.engine import connect_to_ray
from fishline.core.errors import UserError
from fishline.serving.answer_table import as_table
from fishline.serving.photographs import photograph
from fishline.serving.predictor import BATCH, Predictor

BLOCK = 8 * BATCH  # photographs that a worker is asked about at a time: a few seconds of work


def answer_on_ray(predictor: Predictor, files: Sequence[str], readers: int) -> Iterator[pa.Table]:
    """Rows for `files`, in their order.

    Args:
        predictor: on the CPU; workers have it on a GPU if the cluster has any.
        readers: threads that read for each processor.

    Raises:
        UserError: Ray is not installed, no cluster answers, or a URL cannot be reached.
    """
    # Ray warns of a reference among arguments: its own. This process holds it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = connect_to_ray()
    from ray.data import ActorPoolStrategy, DataContext, from_arrow

    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    workers, processors, gpus = _workers(ray.cluster_resources())
    model = [ray.put(predictor)]  # sent to each machine once; as an argument it would be copied
    answers = from_arrow(list(_blocks(files))).map_batches(
        _Worker,
        fn_constructor_args=(model, processors, readers),
        batch_size=BLOCK,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=workers),
        num_cpus=processors,
        num_gpus=gpus,
    )
    try:
        yield from answers.iter_batches(batch_size=None, batch_format="pyarrow")
    except ray.exceptions.RayError as error:
        raise _explained(error) from None


def _workers(have: dict[str, float]) -> tuple[int, int, int]:
    """How many workers, and the processors and GPUs of one: a GPU and its share, or a processor.

    Args:
        have: the cluster's resources.
    """
    processors, gpus = max(1, int(have.get("CPU", 1))), int(have.get("GPU", 0))
    return (gpus, max(1, processors // gpus), 1) if gpus else (processors, 1, 0)


def _blocks(files: Sequence[str]) -> Iterator[pa.Table]:
    """Names as bytes: not all are UTF-8."""
    for first in range(0, len(files), BLOCK):
        names = [os.fsencode(name) for name in files[first : first + BLOCK]]
        yield pa.table({"file": pa.array(names, pa.binary())})


class _Worker:
    """A process of Ray's with the model, loaded once."""

    def __init__(self, model: list[Any], processors: int, readers: int) -> None:
        import ray
        import torch

        torch.set_num_threads(processors)
        self._predictor: Predictor = ray.get(model[0])
        self._predictor.move_to_best_device()
        self._threads = processors * readers

    def __call__(self, block: pa.Table) -> pa.Table:
        names = [os.fsdecode(name) for name in block["file"].to_pylist()]
        answers = self._predictor.predict_hashed(map(photograph, names), self._threads)
        return as_table(names, answers, self._predictor)


def _explained(error: BaseException) -> UserError:
    """The UserError that a worker raised, or what else Ray gave up for."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return UserError(cause.message)
        cause = getattr(cause, "cause", None) or cause.__cause__
    line = str(error).strip().splitlines()[-1]
    return UserError(
        f"Ray gave up: {line}. What was answered so far is kept; the same command goes on from "
        "there"
    )
