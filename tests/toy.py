"""A project that trains in milliseconds, with real git and DVC, and a store that is a dict."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fishline.core.errors import UserError
from fishline.tracking import versions
from fishline.tracking.snapshot import REF
from fishline.tracking.versions import Version

TRAIN = """
import json, os, pathlib
folder = pathlib.Path("models/base")
folder.mkdir(parents=True)
data = pathlib.Path("data/raw/A/1.png").read_text()
threads = os.environ["OMP_NUM_THREADS"]
(folder / "model.safetensors").write_text(pathlib.Path("params.yaml").read_text() + data + threads)
(folder / "model.json").write_text("{}")
run = os.environ.get("TOY_RUN", "")
if run:
    from fishline.tracking.snapshot import snapshot
    snapshot(run)
else:  # as in a clone that reproduces
    assert "DVC_EXP_NAME" not in os.environ
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{os.getcwd()}/mlflow.db"
pathlib.Path("models/base.run.json").write_text(json.dumps({"run_id": run}))
"""
EVALUATE = """
import json, pathlib
score = len(pathlib.Path("models/base/model.safetensors").read_text())
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/evaluate.json").write_text(json.dumps({"base": {"accuracy": score}}))
"""
GRAPH = """
stages:
  train-base:
    cmd: python src/train.py
    deps: [data/raw, src/train.py]
    params: [lr]
    outs: [models/base, models/base.run.json]
  evaluate:
    cmd: python src/evaluate.py
    deps: [models/base, src/evaluate.py]
    metrics:
      - metrics/evaluate.json: {cache: false}
artifacts:
  fish-base: {path: models/base, type: model}
"""
FILES = {
    "params.yaml": "lr: 1\n",
    "requirements.txt": "torch==2\n",
    "dvc.yaml": GRAPH,
    "src/train.py": TRAIN,
    "src/evaluate.py": EVALUATE,
    "data/raw/A/1.png": "one",
    "data/raw/A/2.png": "two",
}


THREADS = "3"


class Toy:
    """The project in `folder`, and the versions of fish-base that its trainings registered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions: list[Version] = []
        self.models: dict[int, Path] = {}
        self.champion = 0
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        with inside(folder):
            self.git("init", "--quiet", "--initial-branch=main", ".")
            self.dvc("init", "--quiet")
            (folder / ".dvc/config").write_text("[core]\nanalytics = false\n")  # in clones, too
            self.dvc("add", "--quiet", "data/raw")
            self.commit()

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        command = ["git", *identity, *arguments]
        return subprocess.check_output(command, cwd=self.folder, text=True).strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "toy")

    def dvc(self, *arguments: str) -> None:
        """DVC's command line, in this process: starting another costs a second."""
        from dvc.cli import main

        with inside(self.folder):
            assert main(list(arguments)) == 0

    def train(self, *command: str, experiment: str = "") -> Version:
        """Run a command that trains, and register what it made; `dvc repro` by default."""
        number = len(self.versions) + 1
        run_id = f"{number:08x}" * 4
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOY_RUN", run_id)
            self.dvc(*(command or ("repro", "--quiet")))
        state = self.git("rev-parse", f"{REF}/{run_id}")
        made = self.folder / "models/base"
        registered = self.folder.parent / f"registered-{number}"
        registered.mkdir()
        for path in made.iterdir():
            (registered / path.name).write_bytes(path.read_bytes())
        score = json.loads((self.folder / "metrics/evaluate.json").read_text())["base"]["accuracy"]
        tags = {"git.snapshot": state, "threads": THREADS} | (
            {"dvc.exp": experiment} if experiment else {}
        )
        version = Version("fish-base", number, run_id, (), tags, datetime.now(UTC),
                          {"test_accuracy": float(score)}, {})  # fmt: skip
        self.versions.append(version)
        self.models[number] = registered
        return version

    def find(self, reference: str) -> Version:
        """In place of `registry.find`."""
        for version in self.versions:
            names = {str(version), version.run_id}
            names |= {"fish-base@champion"} if version.number == self.champion else set()
            if reference in names:
                return version
        raise UserError(f"{reference}: there is no such version")

    def register(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have fishline find this project's versions, and be in its folder."""
        monkeypatch.setattr(versions, "find", self.find)
        monkeypatch.setattr(versions, "fetch", lambda version, folder: self.models[version.number])
        monkeypatch.chdir(self.folder)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def toy_project(folder: Path) -> Iterator[Toy]:
    """A new one, for somebody whose git knows no name."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
            patch.delenv(name)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        patch.setenv("OMP_NUM_THREADS", THREADS)
        made = Toy(folder / "project")
        made.register(patch)
        yield made
