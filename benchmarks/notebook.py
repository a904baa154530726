"""The course notebook's way of working, as a baseline for `training.py`.

    python benchmarks/notebook.py [--seed 42] [--seconds 10] [--variants] [--json PATH]

One process, one thing after the other: every file is decoded twice for each task, once for the
training images and once for the test images; images are float tensors in a list; 20 epochs without
augmentation and validation, their order drawn once; what is frozen runs forwards in every epoch all
the same, its batch norms in training mode; test images are told one by one. Only the split is that
of `data/split`, so that accuracies can be compared. Run it in a project folder whose split is made.

`--seconds` ends each training after so many seconds; its time is then scaled to 20 epochs.
`--variants` also trains the last layer alone, everything, and a classifier of all species.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from fishline.core.params import Params, load_params
from fishline.core.paths import SPLIT

EPOCHS = 20
SIZE = 128  # pixels


@dataclass(frozen=True)
class Recipe:
    batch_size: int
    lr: float
    weight_decay: float


BASE = Recipe(32, 0.001, 0.0001)
FINETUNE = Recipe(200, 0.01, 0.001)


class Fish(Dataset[tuple[torch.Tensor, int]]):
    """The images of one part of a task. Decodes all files of `table`, and keeps that part's."""

    def __init__(self, root: Path, table: pd.DataFrame, part: str, size: int) -> None:
        transform = transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor()])
        images = []
        for file in table["file"]:
            with Image.open(root / file) as image:
                images.append(transform(image.convert("RGB")))
        chosen = np.random.permutation(np.flatnonzero(table["part"] == part))
        self.images = [images[row] for row in chosen]
        self.labels = [int(table["label"].iloc[row]) for row in chosen]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.images[row], self.labels[row]


class Net(nn.Module):
    """Four 5×5 convolutions, four fully connected layers; `notebook` in networks.py is the same
    function."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 30), (30, 40), (40, 50), (50, 60)):
            layers += [nn.Conv2d(before, after, 5, padding=1), nn.BatchNorm2d(after)]
            layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            size = (size - 2) // 2
        self.convolutions = nn.Sequential(*layers)
        self.flat = 60 * size * size
        self.linear = self.new_linear(classes)

    def new_linear(self, classes: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in ((self.flat, 800), (800, 200), (200, 80)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(80, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(self.convolutions(images).flatten(1))
        return logits


def steps(
    network: Net, images: Fish, recipe: Recipe, device: torch.device
) -> Iterator[tuple[int, float]]:
    """Train; gives the number of images and the loss of each step."""
    loader = DataLoader(images, batch_size=recipe.batch_size)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(
        network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    for _ in range(EPOCHS):
        network.train()
        for batch, labels in loader:
            batch, labels = batch.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(network(batch), labels)
            loss.backward()
            optimizer.step()
            yield len(labels), loss.item()


def train(
    network: Net, images: Fish, recipe: Recipe, device: torch.device, budget: float
) -> tuple[float, float]:
    """Seconds for all epochs, and the number of epochs that they were measured in."""
    seen, start = 0, time.perf_counter()
    for count, _ in steps(network, images, recipe, device):
        seen += count
        if time.perf_counter() - start > budget:
            break
    measured = seen / len(images)
    return (time.perf_counter() - start) * EPOCHS / measured, measured


@torch.no_grad()
def accuracy(network: Net, images: Fish, device: torch.device) -> float:
    network.eval()
    right = 0
    for image, label in DataLoader(images):
        right += network(image.to(device)).argmax().item() == label.item()
    return right / len(images)


def freeze(network: Net, part: str, classes: int, device: torch.device) -> Net:
    """A copy for other species, frozen but for `part`: head | classifier | all."""
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.requires_grad = part == "all"
    if part == "classifier":
        network.linear = network.new_linear(classes)
    else:
        network.linear[-1] = nn.Linear(80, classes)
    return network.to(device)


class Run:
    """Works and notes: `seconds` of each step, `epochs` that they were measured in, `accuracy`."""

    def __init__(self, params: Params, budget: float) -> None:
        self.params, self.budget = params, budget
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.seconds: dict[str, float] = {}
        self.epochs: dict[str, float] = {}
        self.accuracy: dict[str, float] = {}

    def add(self, name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return result

    def load(self, part: str, *tasks: str, others: bool = False) -> Fish:
        """A part's images of one task or of several together; decodes the `others` in vain."""
        species = [name for task in tasks for name in getattr(self.params, task).species]
        table = pd.concat([pd.read_csv(SPLIT / f"{task}.csv") for task in tasks])
        table = table.assign(label=table["species"].map(species.index))
        table = table if others else table[table["part"] == part]
        return Fish(Path(self.params.data.dir), table, part, SIZE)

    def train(self, name: str, network: Net, images: Fish, recipe: Recipe) -> None:
        self.seconds[name], self.epochs[name] = train(
            network, images, recipe, self.device, self.budget
        )

    def test(self, name: str, network: Net, images: Fish) -> None:
        self.accuracy[name] = self.add("evaluate", lambda: accuracy(network, images, self.device))

    def notebook(self) -> tuple[Net, Fish, Fish]:
        """The notebook from top to bottom. Returns the base network and the new species' images."""

        def load(part: str, task: str) -> Fish:
            images: Fish = self.add("ingest", lambda: self.load(part, task, others=True))
            return images

        training, testing = load("train", "base"), load("test", "base")
        base = Net(len(self.params.base.species), SIZE).to(self.device)
        self.train("base", base, training, BASE)
        self.test("base", base, testing)
        training = load("train", "finetune")
        testing = load("test", "finetune")
        adapted = freeze(base, "classifier", len(self.params.finetune.species), self.device)
        self.train("classifier", adapted, training, FINETUNE)
        self.test("classifier", adapted, testing)
        return base, training, testing

    def variants(self, base: Net, training: Fish, testing: Fish) -> None:
        """What could have been trained in the place of the new linear layers."""
        new = len(self.params.finetune.species)
        for part in ("head", "all"):
            self.variant(part, freeze(base, part, new, self.device), training, testing)
        training, testing = (self.load(part, "base", "finetune") for part in ("train", "test"))
        adapted = freeze(base, "classifier", len(self.params.species), self.device)
        self.variant("extend", adapted, training, testing)

    def variant(self, name: str, network: Net, training: Fish, testing: Fish) -> None:
        self.train(name, network, training, FINETUNE)
        self.accuracy[name] = accuracy(network, testing, self.device)


def peak_memory() -> float:
    """MiB of this process so far."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--seconds", type=float, default=math.inf)
    options.add_argument("--variants", action="store_true")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    np.random.seed(chosen.seed)
    torch.manual_seed(chosen.seed)
    run = Run(load_params(), chosen.seconds)
    base, training, testing = run.notebook()
    peak = peak_memory()
    validation = accuracy(base, run.load("validation", "base"), run.device)  # not of the notebook
    if chosen.variants:
        run.variants(base, training, testing)
    found = {"seconds": run.seconds, "epochs": run.epochs, "accuracy": run.accuracy}
    text = json.dumps({**found, "base_validation_accuracy": validation, "peak_mib": peak})
    print(text)
    if chosen.json:
        chosen.json.write_text(text)


if __name__ == "__main__":
    main()
