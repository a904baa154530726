"""Where a result comes from: the project, its git state, the data, the parameters of a stage."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from fishline.core.dvc import stage_param_keys
from fishline.core.files import read_json
from fishline.core.git import GitError, changed_files, git
from fishline.core.params import Params
from fishline.core.yaml_files import flatten, read_yaml

CODE = ("src", "dvc.yaml", "params.yaml", "requirements.txt")  # what a result depends on, in git
PARAMETERS = {"params.yaml", "dvc.lock"}  # what DVC keeps of an experiment, and its record of it
QUEUED = "FISHLINE_QUEUED"  # variable: revision, in DVC's queue, of a stage's experiment


def project_root() -> Path:
    """The main checkout, absolute.

    DVC runs queued experiments in temporary copies of the project, deleted afterwards, and names
    the main checkout in DVC_ROOT. Whatever must outlive an experiment belongs there.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def git_tags() -> dict[str, str]:
    """`git.commit` and `git.dirty`: whether code or parameters differ from that commit.

    In an experiment the commit is the one it started from; its changed parameters then count as
    dirty here, and DVC keeps them in the experiment's own commit.
    """
    commit = os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD")
    if not commit:
        return {"git.commit": "unknown", "git.dirty": "unknown"}
    changed = changed_files(*CODE)
    return {"git.commit": commit, "git.dirty": str(bool(changed)).lower()} | (
        {"git.dirty.files": " ".join(changed)} if changed else {}
    )


def _git(*arguments: str) -> str:
    try:
        return git(*arguments).strip()
    except GitError:
        return ""


def dvc_tags(stage: str) -> dict[str, str]:
    """`dvc.stage`; in an experiment `dvc.exp`, its name; on a cluster `dvc.queued`, its revision in
    DVC's queue."""
    of_experiment = {"dvc.exp": "DVC_EXP_NAME", "dvc.queued": QUEUED}
    known = {tag: os.environ.get(variable) for tag, variable in of_experiment.items()}
    return {"dvc.stage": stage} | {tag: value for tag, value in known.items() if value}


def run_tags(stage: str, tables: Iterable[pd.DataFrame], strategy: str) -> dict[str, str]:
    """What every run says of its origin: git, DVC, machine, the data in `tables`, their split."""
    return {
        **git_tags(),
        **dvc_tags(stage),
        **machine_tags(),
        "data.hash": data_hash(pd.concat(tables)),
        "split.strategy": strategy,
    }


def machine_tags() -> dict[str, str]:
    """What else decides the bytes of a model: libraries, and the processor that computes it."""
    import torch

    return {
        "environment": environment_hash(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "cpu": f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def environment_hash() -> str:
    """The beginning of the SHA-256 of requirements.txt, the lock; "unknown" without one."""
    lock = Path("requirements.txt")
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:16] if lock.is_file() else "unknown"


def _processor() -> str:
    try:  # Linux alone; elsewhere the platform module knows
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def data_hash(table: pd.DataFrame) -> str:
    """A hash of the files in `table` (columns file, sha256): names and contents, in any order."""
    lines = sorted(f"{row.sha256}  {row.file}\n" for row in table.itertuples())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def stage_params(stage: str, params: Params) -> dict[str, Any]:
    """Every parameter that `stage` depends on, its own and those of the stages before it.

    The graph in dvc.yaml decides; outside a DVC project, all parameters.
    """
    flat = flatten(params.model_dump())
    keys = stage_param_keys(stage)
    if keys is None:
        return flat
    return {
        k: v for k, v in flat.items() if any(k == key or k.startswith(f"{key}.") for key in keys)
    }


def runs_in_dvc() -> bool:
    """Whether DVC runs this process, and not a user by hand."""
    return "DVC_STAGE" in os.environ


def stored_outputs(stage: str) -> dict[str, str]:
    """The MD5 of each output that `dvc.lock` has of `stage`: of its last run that DVC finished."""
    lock = Path("dvc.lock")
    if not lock.is_file():
        return {}
    outputs = read_yaml(lock).get("stages", {}).get(stage, {}).get("outs", [])
    return {output["path"]: output.get("md5", "") for output in outputs}


def base_tags(record: Path) -> dict[str, str]:
    """The run and the registered version that the base model came from, if its record is there."""
    if not record.is_file():
        return {"base.run_id": "unknown", "base.model_version": "unknown"}
    origin = read_json(record)
    return {
        "base.run_id": origin["run_id"],
        "base.model_version": f"{origin['name']}/{origin['version']}",
    }
