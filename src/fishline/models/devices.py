"""Where a network runs, in which precision, and that it runs the same way every time."""

from __future__ import annotations

import ctypes
import os
import random
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fishline.core.errors import UserError

if TYPE_CHECKING:
    import torch

    from fishline.core.training_params import Device, Precision

CUDA = "libcuda.so.1"  # NVIDIA's driver, as torch finds it, too
ROCM = (Path("/dev/kfd"), Path("/dev/dxg"))  # AMD's, the second on Windows' subsystem for Linux


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python, NumPy and torch, ask for deterministic kernels; a generator for the rest.

    On a GPU an operation without a deterministic kernel runs all the same, with torch's warning:
    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to repeat
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # The same as use_deterministic_algorithms(True, warn_only=True) but for torch's compiler, which
    # that loads: two seconds. Where it is used, trainer.py tells it.
    torch.set_deterministic_debug_mode("warn")
    # It is a note for us and not for the user: they asked for a training on this device.
    warnings.filterwarnings("ignore", ".*does not have a deterministic implementation.*")
    return torch.Generator().manual_seed(seed)


def may_have_gpu() -> bool:
    """Whether torch could find a GPU here, without torch, which takes more than a second to load.

    On Linux it cannot where there is no driver of NVIDIA's or AMD's. Elsewhere torch must be asked.
    """
    if sys.platform != "linux":
        return True
    try:
        ctypes.CDLL(CUDA)
    except OSError:
        return any(path.exists() for path in ROCM)
    return True


def find_device(wanted: Device) -> torch.device:
    """The device that the parameter `device` names; of several GPUs this process's own.

    Raises:
        UserError: this machine, or this build of torch, has none of that kind.
    """
    import torch

    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = "cuda" if have["cuda"] else "mps" if have["mps"] else "cpu"
    if not have.get(wanted, True):
        raise UserError(
            f"params.yaml: device is {wanted}, which torch does not find on this machine; "
            "set it to auto or cpu"
        )
    if wanted == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(wanted)


def find_precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """The type that the parameter `precision` names; `auto` is bfloat16 where that is quicker.

    That is where GPU or processor have instructions for it; elsewhere it is emulated.

    Raises:
        UserError: float16 without a GPU.
    """
    import torch

    if wanted == "auto":
        return torch.bfloat16 if _computes_in_bfloat16(device) else torch.float32
    if wanted == "float16" and device.type != "cuda":
        raise UserError(
            f"params.yaml: precision is float16, which needs a GPU, but the device is "
            f"{device.type}; set it to auto, bfloat16 or float32"
        )
    dtype: torch.dtype = getattr(torch, wanted)
    return dtype


def _computes_in_bfloat16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    abilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(bool(abilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))
