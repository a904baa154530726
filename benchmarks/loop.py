"""What the training loop costs besides its arithmetic, and how much memory reading takes.

    python benchmarks/loop.py [--json PATH] ratios [--rounds 5] [--seconds 10] [--images N]
    python benchmarks/loop.py [--json PATH] reading PHOTOGRAPHS [--steps 400]

`ratios`, in a project folder with a cache and a split: images/s of base training, each of these in
turn in every round, for as many epochs (of N images; of all) as take so many seconds:
    real             epochs as `train-base` runs them, with logging and checkpoints; no validation
    untracked        the same without logging and checkpoints
    read             untracked, photographs read from the cache's files
    resident         untracked, photographs kept in memory (for others `inputs.RESIDENT` decides)
    augmented batch  the same steps on one batch of photographs in memory, augmented anew
    ready batch      the same steps on one batch in memory, ready for the network
It logs to the project's MLflow store: use a folder that may be thrown away, as training.py does.

`reading`: memory while batches are taken at random from a made-up cache of so many photographs. Its
files have holes in the place of pixels: they take no room on the disk and are read as any other.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fishline.core.params import Params, load_params, training
from fishline.core.roles import BASE
from fishline.data.augment import draw_augmentations
from fishline.data.cache import Cache, packed_files
from fishline.data.dataset import Images, Packed, mean_and_std, model_images
from fishline.data.prepare.pixels import record
from fishline.models.artifact import ModelConfig, Normalize, build
from fishline.models.devices import seed_everything
from fishline.models.transfer import freeze
from fishline.tracking import run
from fishline.tracking.checkpoints import Checkpoint
from fishline.training import batches
from fishline.training.batches import Inputs, Photographs
from fishline.training.loop import Epoch, TrainingProgress
from fishline.training.session import TrainingJob, TrainingSession
from fishline.training.trainer import Trainer

ENDLESS = 100_000  # epochs: the learning rate's schedule must not end
SIZE = 128
MEMORY = ("VmRSS", "VmHWM", "RssAnon", "RssFile")


class OneBatch:
    """The same images whatever is asked for, so that getting them costs nothing."""

    def __init__(self, images: Images, like: Photographs, normalize: Normalize, ready: bool):
        self.labels, self.weights, self.draw = like.labels, like.weights, like.draw
        device = like.labels.device
        self._photographs = Photographs(
            images, normalize, device, None if ready else draw_augmentations
        )
        self._all = torch.arange(len(images), device=device)
        self._ready = self._photographs.take(self._all) if ready else None

    def take(self, positions: torch.Tensor, drawn: torch.Tensor | None = None) -> torch.Tensor:
        if self._ready is not None:
            return self._ready[: len(positions)]
        return self._photographs.take(self._all[: len(positions)], drawn)


def make_job(params: Params, count: int) -> TrainingJob:
    """The training of a whole network, without end, on `count` images of the base species."""
    rng = seed_everything(params.seed)
    subsets = model_images(BASE, params)
    some = torch.randperm(len(subsets["train"]), generator=rng)[:count]
    subsets["train"] = train = subsets["train"].at(some)
    config = ModelConfig(
        "fishline",  # any that is trained whole
        train.species,
        train.size,
        *mean_and_std(train),
        params.split.strategy,
    )
    network = build(config)
    settings = training(params, params).model_copy(update={"epochs": ENDLESS, "pretrained": False})
    return TrainingJob(
        stage=BASE.stage,
        model=BASE.folder,
        settings=settings,
        network=network,
        trainable=freeze(network, "all"),
        config=config,
        subsets=subsets,
        rng=rng,
        tags={},
        origin="",
    )


def kinds(job: TrainingJob, trainer: Trainer) -> dict[str, Inputs]:
    """What each measurement trains on."""
    train, normalize, own = job.subsets["train"], trainer.normalize, trainer.train
    assert isinstance(own, Photographs)
    usual = batches.RESIDENT
    batches.RESIDENT = 1 << 60
    augmentation = draw_augmentations if job.settings.augment else None
    resident = Photographs(train, normalize, trainer.device, augmentation)
    batches.RESIDENT = usual
    read = Photographs(train, normalize, trainer.device, augmentation)
    read._resident = None  # on a GPU, RESIDENT has no say
    batch = train.at(torch.arange(min(job.settings.batch_size, len(train))))
    return {
        "real": own,
        "untracked": own,
        "read": read,
        "resident": resident,
        "augmented batch": OneBatch(batch, own, normalize, ready=not job.settings.augment),
        "ready batch": OneBatch(batch, own, normalize, ready=True),
    }


def speed(session: TrainingSession, data: Inputs, seconds: float, tracked: bool) -> float:
    """Images per second over as many whole epochs as take `seconds`."""
    trainer, progress = session.trainer, session.progress
    trainer.train = data
    images, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        under_way = trainer.start_epoch()
        if tracked:
            progress.under_way = under_way
            rate = trainer.run_epoch(under_way, session.after_step)
            progress.under_way = None
            loss = float(torch.stack(under_way.losses).mean())
            number = len(progress.history) + 1
            progress.history.append(Epoch(number, loss, loss, 0.0, under_way.lrs[-1], rate))
            session.after_epoch(progress.history[-1], under_way)
        else:
            trainer.run_epoch(under_way)
        images += trainer.length
    return images / (time.perf_counter() - start)


def speeds_of(rounds: int, seconds: float, count: int) -> dict[str, list[float]]:
    """Images per second of each kind, in each round."""
    params = load_params()
    job = make_job(params, count)
    train, settings = job.subsets["train"], job.settings
    normalize = Normalize(job.config)
    checkpoint = Checkpoint(job.stage, "benchmark", settings.checkpoint_minutes)
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    with run.stage_run(job.stage, settings.model_dump(), job.subsets, {}) as log:
        session = TrainingSession(job, log, checkpoint)
        session.trainer = Trainer(job.network, job.trainable, normalize, settings, job.rng, train)
        session.progress = TrainingProgress(chosen=session.trainer.weights())
        data = kinds(job, session.trainer)
        speed(session, data["real"], 1.0, tracked=True)  # warms up
        found: dict[str, list[float]] = {kind: [] for kind in data}
        for _ in range(rounds):
            for kind, given in data.items():
                found[kind].append(speed(session, given, seconds, tracked=kind == "real"))
    return found


def shares(speeds: dict[str, list[float]]) -> dict[str, list[float]]:
    """What the loop's own costs leave, from the images/s of each round."""

    def of(some: str, other: str) -> list[float]:
        return [a / b for a, b in zip(speeds[some], speeds[other], strict=True)]

    return {
        "real epoch / one batch in memory, augmented too": of("real", "augmented batch"),
        "real epoch / one batch in memory, ready": of("real", "ready batch"),
        "with tracking and checkpoints / without": of("real", "untracked"),
        "photographs read from files / kept in memory": of("read", "resident"),
    }


def make_up_cache(folder: Path, count: int) -> Cache:
    (folder / "pixels").mkdir()
    ends = np.linspace(0, count, 257).astype(int)
    for path, some in zip(packed_files(folder / "pixels"), np.diff(ends).tolist(), strict=True):
        np.lib.format.open_memmap(path, mode="w+", dtype=record(SIZE), shape=(some,))
    return Cache(folder)


def memory() -> dict[str, float]:
    """MiB of this process: all now and at the most so far, what it allocated, what is of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = {line.split(":")[0]: line.split()[1] for line in lines if "kB" in line}
    return {name: int(status[name]) / 1024 for name in MEMORY}


def reading(count: int, steps: int, batch_size: int = 32) -> dict[str, Any]:
    """MiB before anything is read, and at the most while it is."""
    config = ModelConfig("", (), SIZE, (0.5,) * 3, (0.25,) * 3, "")
    rng = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        pixels = Packed(make_up_cache(Path(folder), count))
        rows = torch.arange(count)
        images = Images(pixels, rows, torch.zeros_like(rows), (), pd.DataFrame())
        before = memory()
        photographs = Photographs(
            images, Normalize(config), torch.device("cpu"), draw_augmentations
        )
        seen = [memory()]
        start = time.perf_counter()
        for _ in range(steps):
            drawn = photographs.draw(batch_size, rng)
            photographs.take(torch.randint(count, (batch_size,), generator=rng), drawn)
            seen.append(memory())
        speed = steps * batch_size / (time.perf_counter() - start)
    most = {name: max(values[name] for values in seen) for name in before}
    return {"before": before, "most": most, "peak": memory()["VmHWM"], "images_per_second": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    modes = parser.add_subparsers(dest="mode", required=True)
    options = modes.add_parser("ratios")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--images", type=int, default=sys.maxsize)
    options = modes.add_parser("reading")
    options.add_argument("photographs", type=int)
    options.add_argument("--steps", type=int, default=400)
    chosen = parser.parse_args()
    found: object
    if chosen.mode == "ratios":
        speeds = speeds_of(chosen.rounds, chosen.seconds, chosen.images)
        found = {"images_per_second": speeds, "ratios": shares(speeds)}
    else:
        found = reading(chosen.photographs, chosen.steps)
    print(json.dumps(found, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
