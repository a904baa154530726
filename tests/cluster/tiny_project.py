"""A project whose experiments take milliseconds, with its remotes in folders."""

import contextlib
import subprocess
from pathlib import Path

TRAIN = """
import os, pathlib, subprocess
rate = float(pathlib.Path("params.yaml").read_text().removeprefix("lr: "))
if rate < 0:
    raise SystemExit(f"no training with a rate of {rate}")
data = pathlib.Path("prepared.txt").read_text()
threads, name = os.environ["OMP_NUM_THREADS"], os.environ.get("DVC_EXP_NAME", "none")
pathlib.Path("model.txt").write_text(f"{rate} {data} {threads} {os.environ.get('FISHLINE_QUEUED')}")
pathlib.Path("metrics.json").write_text('{"rate": %s}' % rate)
subprocess.run(["git", "update-ref", f"refs/fishline/runs/{name}", "HEAD"], check=True)
assert os.environ.get("DVC_ROOT", os.getcwd()) == os.getcwd()
"""
GRAPH = """
stages:
  prepare:
    cmd: tr a-z A-Z < data.txt > prepared.txt
    deps: [data.txt]
    outs: [prepared.txt]
  train:
    cmd: python train.py
    deps: [prepared.txt, train.py]
    params: [lr]
    outs: [model.txt]
    metrics: [metrics.json: {cache: false}]
"""
FILES = {"params.yaml": "lr: 1\n", "dvc.yaml": GRAPH, "train.py": TRAIN, "data.txt": "fish"}


class Project:
    """The project in `folder`; beside it are the remotes `git` and `storage`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name, text in FILES.items():
            (folder / name).write_text(text)
        self.git("init", "--quiet")
        self.dvc("init", "--quiet")
        self.dvc("add", "--quiet", "data.txt")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "project")

    def add_remotes(self) -> None:
        self.git("init", "--quiet", "--bare", "../git")
        self.git("remote", "add", "origin", "../git")
        self.dvc(
            "remote", "add", "--local", "--default", "storage", str(self.folder / "../storage")
        )

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        command = ["git", *identity, *words]
        return subprocess.check_output(command, cwd=self.folder, text=True).strip()

    def dvc(self, *words: str) -> None:
        """DVC's command line, in this process: starting another costs a second."""
        from dvc.cli import main

        with contextlib.chdir(self.folder):
            assert main(list(words)) == 0

    def queue(self, name: str, *words: str) -> None:
        self.dvc("exp", "run", "--queue", "--quiet", "--name", name, *words)
