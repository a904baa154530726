"""Where a network runs and in which precision, and that chance is seeded."""

import ctypes
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fishline.core.errors import UserError
from fishline.core.training_params import Device, Precision
from fishline.models import devices
from fishline.models.devices import find_device, find_precision, may_have_gpu, seed_everything

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda:0", "mps"))


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without any GPU, to which a test may add one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return monkeypatch


def test_every_source_of_chance_is_seeded() -> None:
    def draw(seed: int) -> list[float]:
        rng = seed_everything(seed)
        numbers = [torch.rand(()).item(), torch.rand((), generator=rng).item()]
        return [random.random(), float(np.random.rand()), *numbers]

    first, again, other = draw(3), draw(3), draw(4)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("wanted", "cuda", "mps", "found"),
    [
        ("cpu", True, True, "cpu"),
        ("auto", False, False, "cpu"),
        ("auto", False, True, "mps"),
        ("auto", True, True, "cuda:0"),
        ("cuda", True, False, "cuda:0"),
        ("mps", True, True, "mps"),
    ],
)
def test_a_device_is_the_wanted_one_or_the_fastest(
    have: pytest.MonkeyPatch, wanted: Device, cuda: bool, mps: bool, found: str
) -> None:
    have.setattr(torch.cuda, "is_available", lambda: cuda)
    have.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert find_device(wanted) == torch.device(found)


def test_each_process_has_its_own_gpu(have: pytest.MonkeyPatch) -> None:
    have.setattr(torch.cuda, "is_available", lambda: True)
    have.setenv("LOCAL_RANK", "3")
    assert find_device("cuda") == find_device("auto") == torch.device("cuda:3")


@pytest.mark.parametrize("wanted", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_named(have: pytest.MonkeyPatch, wanted: Device) -> None:
    with pytest.raises(UserError, match=f"params.yaml: device is {wanted}.*auto or cpu"):
        find_device(wanted)


@pytest.mark.parametrize(
    ("platform", "nvidia", "amd", "expected"),
    [
        ("linux", False, False, False),
        ("linux", True, False, True),
        ("linux", False, True, True),
        ("darwin", False, False, True),
    ],
)
def test_a_machine_without_a_driver_has_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    platform: str,
    nvidia: bool,
    amd: bool,
    expected: bool,
) -> None:
    def load(name: str) -> None:
        if name != "libcuda.so.1" or not nvidia:
            raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(devices, "ROCM", (tmp_path / "none", tmp_path / "kfd"))
    (tmp_path / ("kfd" if amd else "other")).touch()
    assert may_have_gpu() == expected


def test_a_gpu_that_torch_finds_is_not_overlooked() -> None:
    assert may_have_gpu() or find_device("auto") == CPU


@pytest.mark.parametrize(
    ("wanted", "device", "bfloat16", "found"),
    [
        ("auto", CPU, True, torch.bfloat16),
        ("auto", CPU, False, torch.float32),
        ("auto", MPS, True, torch.float32),
        ("auto", CUDA, True, torch.bfloat16),
        ("auto", CUDA, False, torch.float32),
        ("float32", CUDA, True, torch.float32),
        ("bfloat16", CPU, False, torch.bfloat16),
        ("float16", CUDA, True, torch.float16),
    ],
)
def test_a_precision_is_the_wanted_one_or_what_the_device_gains_by(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Precision,
    device: torch.device,
    bfloat16: bool,
    found: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bfloat16})
    assert find_precision(wanted, device) == found


@pytest.mark.parametrize("device", [CPU, MPS], ids=str)
def test_float16_needs_a_gpu(device: torch.device) -> None:
    with pytest.raises(UserError, match=f"precision is float16.*device is {device}"):
        find_precision("float16", device)
