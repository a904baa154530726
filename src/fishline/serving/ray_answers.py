"""Answers by Ray: each processor or GPU of a cluster has the model and asks it about a block.

Ray Data (https://docs.ray.io/en/latest/data/data.html) hands out the blocks, bounds what waits,
and asks again about the block of a worker that died.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
        UserError: Ray is not installed, no cluster answers, a machine of it does not see the
            files, or a URL cannot be reached.
    """
    # Ray warns of a reference among arguments: its own. This process holds it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = connect_to_ray()
    from ray.data import ActorPoolStrategy, DataContext, from_arrow

    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is raised says it, too
    workers, processors, gpus = _workers(ray.cluster_resources())
    model = [ray.put(predictor)]  # sent to each machine once; as an argument it would be copied
    blocks = list(_blocks(files))
    answers = from_arrow(blocks).map_batches(
        _Worker,
        fn_constructor_args=(model, str(Path.cwd()), processors, readers),
        batch_size=BLOCK,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=min(workers, len(blocks))),
        num_cpus=processors,
        num_gpus=gpus,
    )
    try:
        for rows in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
            _require_seen(rows)
            yield rows
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


def _require_seen(rows: pa.Table) -> None:
    """See that no worker lacks a file that is here: that is no answer."""
    lacking = rows.filter(pc.equal(rows["error"], os.strerror(errno.ENOENT)))
    if here := next((name for name in lacking["file"].to_pylist() if Path(name).exists()), None):
        raise UserError(
            f"{here} is here, and a machine of the Ray cluster has no such file: its machines must "
            "share the file system that photographs are on, or have them from a bucket"
        )


class _Worker:
    """A process of Ray's with the model, loaded once.

    Args:
        folder: what paths are relative to.
    """

    def __init__(self, model: list[Any], folder: str, processors: int, readers: int) -> None:
        import ray

        os.chdir(folder)
        self._predictor: Predictor = ray.get(model[0])
        self._predictor.move_to_best_device(processors)
        self._threads = processors * readers

    def __call__(self, block: pa.Table) -> pa.Table:
        names = [os.fsdecode(name) for name in block["file"].to_pylist()]
        answers = self._predictor.predict_hashed(map(photograph, names), self._threads)
        table = as_table(names, answers, self._predictor)
        self._predictor.flush()  # Ray ends this process by force
        return table


def _explained(error: Any) -> UserError:
    """The UserError that a worker raised, or what else Ray gave up for."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, UserError):
        return cause
    line = str(error).strip().splitlines()[-1]
    return UserError(
        f"Ray gave up: {line}. What was answered so far is kept; the same command goes on from "
        "there"
    )
