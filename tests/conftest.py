"""Small inputs that several tests share."""

import hashlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from PIL import Image, ImageDraw

from fishline.core.engine import worker_variables
from fishline.core.training_params import Trainable, Training
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, Normalize, build, scale
from fishline.models.devices import seed_everything
from fishline.models.networks import Network
from fishline.models.transfer import freeze
from fishline.training.trainer import Trainer

if TYPE_CHECKING:
    from mlflow import MlflowClient

SPECIES = ("Bream", "Shrimp", "Trout")
SIZE = 48  # the smallest that the network takes

# The networks here are tiny: threads that wait for each other on a busy machine cost far more
# (measured: twentyfold) than they bring. The same goes for the processes that tests start.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["DVC_NO_ANALYTICS"] = "1"  # else each command leaves a process and a file in /tmp

# A suite started in the background inherits an ignored Ctrl-C, and so would what tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = ("test_workflow.py", "test_versions.py", "test_predict_table.py", "test_start.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: what is begun last, the others wait for."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """Ray in this process, with two processors; a file's own, as workers keep its environment."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        variables = {"env_vars": worker_variables()}
        ray.init(
            address="local",  # whatever other clusters there are on this machine
            num_cpus=2,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            runtime_env=variables,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield
        ray.shutdown()


@pytest.fixture
def on_ray(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`map_on_engine` sends its jobs to Ray."""
    monkeypatch.setenv("FISHLINE_ENGINE", "ray")


@pytest.fixture
def settings() -> Training:
    """Training settings for seconds, not minutes."""
    return Training(
        seed=1,
        loss="cross_entropy",
        label_smoothing=0.0,
        sample_weight="files",
        optimizer="adam",
        schedule="constant",
        warmup=0.0,
        backbone_lr=1.0,
        frozen_blocks=0,
        pretrained=False,
        clip=0.0,
        ema=0.0,
        keep="best",
        patience=0,
        device="cpu",
        precision="float32",
        compile=False,
        checkpoint_minutes=5.0,
        lr=0.001,
        weight_decay=0.0001,
        batch_size=8,
        epochs=2,
        augment=False,
        balance="none",
    )


@pytest.fixture
def config() -> ModelConfig:
    """A network for the fixture `images`."""
    return ModelConfig(
        network="notebook",
        species=SPECIES,
        image_size=SIZE,
        mean=(0.4, 0.4, 0.4),
        std=(0.3, 0.3, 0.3),
        split="grouped",
    )


@pytest.fixture
def make_images() -> Callable[..., Images]:
    """A function (images per species) -> noisy pictures, red, green or blue by species."""

    def make(*counts: int) -> Images:
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(len(counts)), counts)
        labels = labels[rng.permutation(len(labels))]
        pixels = rng.integers(0, 100, (len(labels), SIZE, SIZE, 3), np.uint8)
        pixels[np.arange(len(labels)), :, :, labels] += 100
        table = pd.DataFrame(
            {
                "file": [f"{SPECIES[label]}/{i}.png" for i, label in enumerate(labels)],
                "species": [SPECIES[label] for label in labels],
            }
        )
        rows = torch.arange(len(labels))
        species = SPECIES[: len(counts)]
        return Images(torch.from_numpy(pixels), rows, torch.from_numpy(labels), species, table)

    return make


@pytest.fixture
def images(make_images: Callable[..., Images]) -> Images:
    """Eight easily told pictures of each of three species."""
    return make_images(8, 8, 8)


@pytest.fixture
def make_trainer(config: ModelConfig, images: Images, settings: Training) -> Callable[..., Trainer]:
    """A function (what learns, images, network, views, settings to change) -> a fresh trainer."""

    def make(
        part: Trainable = "all",
        train: Images = images,
        network: Callable[[], Network] = lambda: build(config),
        views: int = 1,
        **changes: Any,
    ) -> Trainer:
        chosen = settings.model_copy(update=changes)
        rng = seed_everything(chosen.seed)
        made = network()
        trainable = freeze(made, part)
        return Trainer(made, trainable, Normalize(config), chosen, rng, train, views)

    return make


@pytest.fixture
def draw_tree() -> Callable[[Path, Mapping[str, int]], list[str]]:
    """A function (folder, {species: number of photographs}) -> the files that it wrote."""

    def draw(folder: Path, counts: Mapping[str, int]) -> list[str]:
        rng = np.random.default_rng(0)
        names = []
        for species, count in counts.items():
            (folder / species).mkdir(parents=True)
            for number in range(1, count + 1):
                names.append(f"{species}/{number:02}.png")
                pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
                Image.fromarray(pixels).save(folder / names[-1])
        return names

    return draw


@pytest.fixture(scope="session")
def draw_photograph() -> Callable[[int], Image.Image]:
    """A function (number) -> a picture, 590 × 445, with large and small things as photographs have.

    Every number gives another photograph, always the same.
    """

    @cache
    def draw(number: int) -> Image.Image:
        rng, (width, height) = np.random.default_rng(number), (590, 445)
        light = np.zeros((height, width, 3), np.float32)
        for bumps in (3, 8, 24, 70):
            small = Image.fromarray(rng.integers(0, 256, (bumps, bumps, 3), np.uint8))
            large = small.resize((width, height), Image.Resampling.BICUBIC)
            light += np.asarray(large, np.float32) / bumps**0.5
        image = Image.fromarray((light * (255 / light.max())).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        for _ in range(6):
            x, y, radius = rng.uniform((120, 90, 25), (470, 355, 110))
            box = (x - radius, y - 0.6 * radius, x + radius, y + 0.6 * radius)
            pen.ellipse(box, fill=tuple(rng.integers(0, 256, 3).tolist()))
        return image

    return draw


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """A function (folder) -> digest of each file below it."""

    def of(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return of


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db with its tables, made once in a test run: that takes seconds, a copy none."""
    from mlflow import MlflowClient
    from sqlalchemy import Engine, event

    # No test cuts the power: a commit need not wait for the disk.
    event.listen(Engine, "connect", lambda db, _: db.execute("PRAGMA synchronous = OFF"))
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    file = folder / "empty.db"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="module")
def store_root(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a tracking store that the tests of a file share."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture
def store(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    """A client for a real SQLite store."""
    from fishline.tracking.store import connect

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(store_root))
    return connect()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """A function (folder, seed, changes of its config) -> the folder, with an untrained model for
    species Bream, Shrimp and Trout in it, that tells red, green and blue pictures apart badly."""
    from fishline.models.artifact import save
    from fishline.models.novelty import fit_detector, save_detector

    def make(folder: Path, seed: int = 0, recall: float = 1.0, **changes: Any) -> Path:
        third = (0.3, 0.3, 0.3)
        config = ModelConfig("fishline", SPECIES, SIZE, third, third, "grouped", **changes)
        torch.manual_seed(seed)
        network = build(config).eval()
        rng = np.random.default_rng(seed)
        pixels = torch.from_numpy(rng.integers(0, 256, (12, SIZE, SIZE, 3), np.uint8))
        with torch.inference_mode():
            embeddings = network.embed(Normalize(config)(scale(pixels))).numpy()
        labels = np.arange(12) % len(SPECIES)
        save(folder, network, config)
        save_detector(folder, fit_detector(embeddings, labels, embeddings, recall))
        return folder

    return make


@pytest.fixture(scope="session")
def make_bucket() -> Iterator[Callable[[str, Mapping[str, bytes]], str]]:
    """A function (name, content of each key) -> the URL of such a bucket, on this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "user")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        client = boto3.client("s3")

        def make(name: str, files: Mapping[str, bytes]) -> str:
            client.create_bucket(Bucket=name)
            for key, content in files.items():
                client.put_object(Bucket=name, Key=key, Body=content)
            return f"s3://{name}"

        yield make
        client.close()
    server.stop()
