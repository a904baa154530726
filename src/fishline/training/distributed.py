"""Training in several processes, started by torchrun: who am I, and sums over all of us.

Each process takes its share of every batch, so the batch size is that of all together and the
result that of one process. Only the first writes files and logs.
https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed

Value = TypeVar("Value")


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    return rank() == 0


def share(positions: torch.Tensor) -> torch.Tensor:
    """This process's share of `positions` (b,): none, if there are fewer than processes."""
    return positions[rank() :: world_size()]


def sum_over_all(values: torch.Tensor) -> torch.Tensor:
    """The sum of `values` over all processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def from_first(value: Value) -> Value:
    """What the first process has: the same for all."""
    if not distributed.is_initialized():
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]
