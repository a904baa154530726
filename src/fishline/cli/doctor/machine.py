"""Checks of the machine: Python, the environment, device, git, disks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fishline.cli.doctor.checks import Check, existing, failure, ok, unwritable, warning
from fishline.core.engine import ADDRESS, ENGINE, connect_to_ray, engine_name
from fishline.core.errors import UserError
from fishline.core.git import GitError, commit_of, git
from fishline.core.parallel import usable_cores
from fishline.core.params import load_params
from fishline.core.text import many
from fishline.core.training_params import Device
from fishline.data.remote_files import is_url

LOCK = Path("requirements.txt")
OLDEST = (3, 11)
HEART = {"torch", "torchvision", "mlflow", "dvc"}  # another version of these gives other results
ROOM = 2 * 10**9  # bytes free below which a warning is due: some trainings with their models


def python() -> Iterator[Check]:
    """Its version."""
    python = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info >= OLDEST:
        yield ok(python)
    else:
        advice = "Python 3.11 or newer is needed: `make env PYTHON=python3.12`"
        yield failure(python, advice)


def environment() -> Iterator[Check]:
    """Whether the installed packages are those of the lock."""
    advice = "`make env` installs what requirements.txt says"
    if not LOCK.is_file():
        yield warning(f"no {LOCK} here", "run this in the project's root folder")
        return
    wanted = locked(LOCK)
    differing = {}
    for package, number in wanted.items():
        here = _installed(package)
        if here.partition("+")[0] != number:  # 2.15.0+cpu is a build of 2.15.0
            differing[package] = f"{package} {here or 'missing'} instead of {number}"
    if not differing:
        yield ok(f"all {len(wanted)} packages of {LOCK}")
        return
    named = sorted(differing, key=lambda package: (package not in HEART, package))
    more = f" and {len(named) - 4} more" if len(named) > 4 else ""
    differences = ", ".join(differing[package] for package in named[:4]) + more
    say = failure if HEART & {*differing} else warning
    yield say(differences, advice)


def locked(lock: Path) -> dict[str, str]:
    """The packages that a lock asks for on this machine, with their versions."""
    from packaging.requirements import Requirement

    pins = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if text := line.partition(" #")[0].strip().removesuffix("\\"):
            if text.startswith(("#", "-")):
                continue
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate():
                pins[requirement.name] = next((s.version for s in requirement.specifier), "")
    return pins


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def device() -> Iterator[Check]:
    """What a training would run on."""
    import torch

    from fishline.models.devices import find_device, find_precision

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen = find_device("auto")
        precision = str(find_precision("auto", chosen)).removeprefix("torch.")
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else ""
    description = (
        f"device: auto is {chosen}{name and f' ({name})'}, precision: auto is {precision}; "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    wanted = _wanted()
    try:
        find_device(wanted)
    except UserError as error:
        yield failure(error.message)
        return
    if chosen.type == "cpu" and wanted == "auto" and shutil.which("nvidia-smi"):
        why = str(caught[0].message) if caught else "its driver may be too old for this torch"
        yield warning(
            f"{description}. There is an NVIDIA GPU, unused: {why}",
            "`nvidia-smi` shows the driver's version; a newer one may be needed",
        )
        return
    yield ok(description)


def engine() -> Iterator[Check]:
    """Where work that many machines could share runs."""
    if engine_name() == "local":
        yield ok(f"local: {usable_cores()} processors here; {ENGINE}=ray takes a cluster's")
    elif not os.environ.get(ADDRESS) and _installed("ray"):
        yield ok(f"Ray {_installed('ray')} on this machine; {ADDRESS} names a cluster")
    else:
        ray = connect_to_ray()
        machines = sum(node["Alive"] for node in ray.nodes())
        there = ray.cluster_resources()
        ray.shutdown()
        has = (
            many(machines, "machine"),
            many(int(there.get("CPU", 0)), "processor"),
            many(int(there.get("GPU", 0)), "GPU"),
        )
        yield ok(f"Ray {ray.__version__} at {os.environ[ADDRESS]}: {', '.join(has)}")


def answer_log() -> Iterator[Check]:
    """Where answers are logged, if they are."""
    if not os.environ.get("FISHLINE_LOG"):
        yield ok("none; FISHLINE_LOG=FOLDER keeps every answer, see docs/watch.md")
        return
    from fishline.serving.answer_log.recorder import Recorder

    recorder = Recorder.from_environment("predict")
    pictures = f"photographs: {recorder.keep}, up to {recorder.room // 10**6:,} MB"
    found = f"{recorder.url}, {pictures if recorder.keep else 'no photographs'}"
    if is_url(recorder.url):
        yield ok(f"{found}; not asked whether it can be written")
    elif why := unwritable(Path(recorder.url)):
        yield warning(why, "answers go on and are not logged: mend it, or set FISHLINE_LOG anew")
    else:
        yield ok(found)


def _wanted() -> Device:
    try:
        return load_params().device
    except UserError:  # has a check of its own
        return "auto"


def repository() -> Iterator[Check]:
    """Git: versions of code and parameters, and what DVC's experiments are made of."""
    try:
        root = git("rev-parse", "--show-toplevel")
    except GitError as error:
        first = str(error).splitlines()[0]
        yield failure(first, "`git init` here; git itself: https://git-scm.com")
        return
    if not commit_of("HEAD"):
        advice = "`git add --all && git commit`; experiments start from a commit"
        yield warning(f"{root} has no commit yet", advice)
        return
    missing = [key for key in ("user.name", "user.email") if not _setting(key)]
    if missing:
        advice = "; ".join(f'`git config --global {key} "…"`' for key in missing)
        yield warning(f"no {' and no '.join(missing)}: commits need one", advice)
        return
    yield ok(f"{root}, as {_setting('user.name')}")


def _setting(key: str) -> str:
    try:
        return git("config", key).strip()
    except GitError:
        return ""


def disks() -> Iterator[Check]:
    """Room for results: where the project is, and where DVC's cache is if that is another disk."""
    seen = set()
    for path in (Path.cwd(), _cache()):
        place = existing(path)
        if place.stat().st_dev in seen:
            continue
        seen.add(place.stat().st_dev)
        free = shutil.disk_usage(place).free
        space = f"{free / 10**9:,.1f} GB free at {place}"
        if free < ROOM:
            advice = (
                "`dvc gc --workspace --all-branches --all-tags --all-experiments` removes from the "
                "cache what none of these uses; `dvc gc --dry …` says what that is"
            )
            yield warning(space, advice)
        else:
            yield ok(space)


def _cache() -> Path:
    from fishline.core.dvc import repository as dvc_repository

    with dvc_repository() as repo:
        return Path(repo.cache.local.path) if repo else Path.cwd()
