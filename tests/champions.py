"""Registered versions that answer as a test wants them to, for photographs of a real cache."""

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.entities import Metric, Param

from fishline.core.files import write_csv, write_json
from fishline.data.dataset import Images
from fishline.data.decode import THUMBNAIL, Decoded
from fishline.data.prepare.packing import pack
from fishline.data.prepare.pixels import pixels_packing
from fishline.evaluation.metrics import classification_report, headline
from fishline.models.artifact import ModelConfig
from fishline.models.networks import Fishline
from fishline.models.novelty import NearestDetector
from fishline.models.trained_model import TrainedModel
from fishline.tracking.store import connect

ROOT = Path(__file__).parents[1]
SPECIES = ("Bream", "Shrimp", "Trout")
SIZE = 48  # pixels
PHOTOGRAPHS, COPIES, TESTED = 12, 2, 8  # of each species; the first TESTED ones are to test on
CLEAN = {"git.commit": "c0ffee" * 6 + "abcd", "git.dirty": "false"}


@contextmanager
def store_in(root: Path) -> Iterator[mlflow.MlflowClient]:
    """A client for the store in `root`, which whatever looks for one finds meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("DVC_ROOT", str(root))
        yield connect()


def photographs(prefix: str = "") -> pd.DataFrame:
    """A row per image: file, sha256, original, species and part, split by photograph."""
    rows = [
        (f"{species}/{prefix}{number:02}-{copy}.png", f"{species}/{prefix}{number:02}", species)
        for species in SPECIES
        for number in range(PHOTOGRAPHS)
        for copy in range(COPIES)
    ]
    table = pd.DataFrame(rows, columns=["file", "original", "species"])
    table["sha256"] = [hashlib.sha256(file.encode()).hexdigest() for file in table["file"]]
    tested = table["original"].str[-2:].astype(int) < TESTED
    return table.assign(part=np.where(tested, "test", "train"))


class Shelf:
    """A project folder with photographs in data/cache, and versions in a store.

    The network's features are random; the head is solved for, so that it answers as wished.
    """

    def __init__(self, folder: Path, store: mlflow.MlflowClient, prefixes: Sequence[str] = ("",)):
        self.store, self.folder = store, folder
        self.images = pd.concat(map(photographs, prefixes), ignore_index=True)
        shutil.copy(ROOT / "params.yaml", folder)
        self._write_cache(folder / "data/cache")
        torch.manual_seed(0)
        self.network = Fishline(len(SPECIES), SIZE).eval()
        third = (0.3, 0.3, 0.3)
        self.config = ModelConfig(
            "fishline", SPECIES, SIZE, third, third, "grouped", temperature=2.0
        )
        everything = torch.arange(len(self.pixels))
        images = Images(self.pixels, everything, everything, SPECIES, self.images)
        untrained = TrainedModel(self.network, self.config)
        embeddings, _ = untrained.embed_images(images)
        width = embeddings.shape[1]
        self.detector = NearestDetector(np.ones((3, width), np.float16), float("inf"))
        self.embeddings = np.c_[embeddings.double().numpy(), np.ones(len(embeddings))]
        self.experiment = store.create_experiment(str(folder), (folder / "artifacts").as_uri())

    def _write_cache(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        digests = sorted(self.images["sha256"])
        coarse = rng.integers(0, 256, (len(digests), 6, 6, 3), np.uint8)
        by_digest = coarse.repeat(SIZE // 6, 1).repeat(SIZE // 6, 2)

        def decode(rows: Sequence[int]) -> Iterator[Decoded]:
            for pixels in by_digest[rows]:
                yield Decoded(pixels, np.zeros((THUMBNAIL, THUMBNAIL), np.uint8), SIZE, SIZE, "RGB")

        wanted = {digest: row for row, digest in enumerate(digests)}
        pack(wanted, decode, pixels_packing(SIZE), folder / "nowhere", folder)
        index = self.images["sha256"].map({digest: i for i, digest in enumerate(digests)})
        write_csv(folder / "manifest.csv", self.images.assign(index=index).drop(columns="part"))
        self.pixels = torch.from_numpy(by_digest[index.to_numpy()])

    def version(
        self,
        name: str,
        wrong: Collection[str] = (),
        tags: Mapping[str, str] | None = None,
        images: pd.DataFrame | None = None,
        leaked: int = 0,
        params: Mapping[str, str] | None = None,
    ) -> int:
        """Register a version of `name`.

        Args:
            wrong: photographs (original) that it takes for another species.
            images: its own, with their parts; all but the `part` must be in the cache.
            leaked: test images with a copy in training, as its split's audit says.
        """
        table = photographs() if images is None else images
        test = table[table["part"] == "test"].reset_index(drop=True)
        run = self.store.create_run(self.experiment).info.run_id
        predicted, shares = self._make(wrong, test)
        whole = test.drop(columns="part").assign(predicted=predicted, answer=predicted)
        for position, species in enumerate(SPECIES):
            whole[species] = shares[:, position].round(6)
        made = self.folder / "made"
        write_csv(made / "test/predictions.csv", whole)
        write_csv(made / "split.csv", table)
        write_json(made / "split.json", {"test_images_with_a_copy_in_train": leaked})
        self.store.log_artifacts(run, str(made))
        codes = [[SPECIES.index(v) for v in each] for each in (test["species"], predicted)]
        found = headline(classification_report(np.array(codes[0]), np.array(codes[1]), SPECIES))
        metrics = [Metric(f"test_{key}", value, 0, 0) for key, value in found.items()]
        logged = [Param(key, value) for key, value in (params or {}).items()]
        self.store.log_batch(run, metrics=metrics, params=logged)
        self.store.set_terminated(run)
        source = f"{self.store.get_run(run).info.artifact_uri}/registered"
        if not self.store.search_registered_models(f"name = '{name}'"):
            self.store.create_registered_model(name)
        known = {**CLEAN, "split.strategy": "grouped", "data.hash": "d1", **(tags or {})}
        return int(self.store.create_model_version(name, source, run, known).version)

    def _make(self, wrong: Collection[str], test: pd.DataFrame) -> tuple[list[str], np.ndarray]:
        """Save a model with a head that answers so; its answers and probabilities for `test`."""
        truth = self.images["species"].map(SPECIES.index).to_numpy()
        answers = np.where(self.images["original"].isin(wrong), (truth + 1) % 3, truth)
        wanted = np.eye(len(SPECIES))[answers] * 8
        head = np.linalg.lstsq(self.embeddings, wanted, rcond=None)[0]
        last = self.network.classifier[-1]
        last.weight.data = torch.tensor(head[:-1].T, dtype=torch.float32)
        last.bias.data = torch.tensor(head[-1], dtype=torch.float32)
        model = TrainedModel(self.network, self.config, self.detector)
        model.save(self.folder / "made/registered/artifacts/model")
        at = self.images.set_index("sha256").index.get_indexer(test["sha256"])
        raised = np.exp(wanted[at] / self.config.temperature)
        named = [SPECIES[i] for i in answers[at]]
        return named, raised / raised.sum(1, keepdims=True)

    def files(self, name: str, number: int) -> Path:
        """Where the files of a version lie."""
        source = self.store.get_model_version(name, str(number)).source
        return Path(source.removeprefix("file://")) / "artifacts/model"

    def artifacts(self, name: str, number: int) -> Path:
        """Where what its run logged lies."""
        return self.files(name, number).parents[2]

    def state(self, name: str) -> dict[str, int]:
        """The aliases of a model."""
        aliases = self.store.get_registered_model(name).aliases
        return {alias: int(number) for alias, number in aliases.items()}

    def tags(self, name: str, number: int) -> dict[str, str]:
        return dict(self.store.get_model_version(name, str(number)).tags)

    def history(self, name: str) -> list[dict[str, object]]:
        tags = self.store.get_registered_model(name).tags
        return [json.loads(tags[key]) for key in sorted(tags) if key.startswith("history.")]


def shot(species: str, numbers: Collection[int | str]) -> list[str]:
    """Names of photographs, as `wrong` takes them."""
    return [f"{species}/{number:0>2}" for number in numbers]
