"""Photographs of one's own, and versions of them, through the real DVC and git.

Runs the README's commands on data as they stand there, in their order.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clone import DATA, TRAINING, Clone, free_port, readme_commands, stages_run

from fishline.data.sample.drawing import draw_sample


class Project(Clone):
    """A clone, and photographs in the user's home."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        params = self.folder / "params.yaml"
        params.write_text(params.read_text().replace("  copies: 2", "  copies: 1"))
        self.git("commit -q -a -m fewer")  # nothing here looks at the built-in pictures
        draw_sample(self.home / "drawn", seed=1, originals=6, copies=1)
        self.photographs("1234", self.home / "Photographs/Fish")

    def photographs(self, numbers: str, folder: Path) -> None:
        """The drawn files of each species with these numbers, in the nested layout."""
        for path in sorted((self.home / "drawn").glob(f"*/*[{numbers}].png")):
            species = path.parent.name
            (folder / species / species).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / species / species)

    def metrics(self, stage: str) -> Any:
        return json.loads((self.folder / f"metrics/{stage}.json").read_text())

    def stored(self) -> int:
        """Bytes in DVC's cache."""
        files = (self.folder / ".dvc/cache").rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize("command", readme_commands(DATA))
def test_a_command_of_the_readme(project: Project, command: str) -> None:
    said = project.run_readme(command)
    if "--dry-run" in command:
        assert "Trout" in said
        assert not (project.folder / "data/raw").exists()
    if command == "fishline audit":
        assert said.count("grouped") == 3  # two tasks, and the project's own strategy


def test_the_photographs_are_used(project: Project) -> None:
    assert "dir: data/raw" in (project.folder / "params.yaml").read_text()
    assert project.metrics("preprocess")["images"] == 4 * 9
    assert len(project.runs()) == 2
    for task, run in zip(("finetune", "base"), project.runs(), strict=True):
        audit = project.metrics("split")[task]
        assert run.data.tags["data.hash"] == audit["data.hash"]
        assert run.data.metrics["test_images_with_a_copy_in_train"] == 0


class SshServer(NamedTuple):
    port: int
    key: Path


@pytest.fixture
def ssh_server(tmp_path: Path) -> Iterator[SshServer]:
    """OpenSSH's server on the loopback, for the user who runs the tests."""
    daemon = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if daemon is None:
        pytest.skip("OpenSSH's server is not installed")
    folder = tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "user"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nSubsystem sftp internal-sftp\n"
    )
    port = free_port()
    command = [daemon, "-D", "-e", "-f", str(folder / "config"), "-p", str(port)]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stderr=log)
    try:
        wait_for_port(port, server, folder / "log")
        yield SshServer(port, folder / "user")
    finally:
        server.terminate()
        server.wait(30)


def wait_for_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_a_second_clone_pulls_and_has_nothing_to_run(project: Project, tmp_path: Path) -> None:
    second = project.copy(tmp_path / "second")
    second.run(f"dvc remote modify storage url {project.home}/fishline-storage")
    second.run("dvc pull")
    assert stages_run(second.run("dvc repro")) == []
    for model in ("base", "finetuned"):
        assert second.digest(model) == project.digest(model)


def test_a_remote_over_ssh(project: Project, tmp_path: Path, ssh_server: SshServer) -> None:
    project.run(f"dvc remote add far ssh://127.0.0.1:{ssh_server.port}{tmp_path}/far")
    project.git("commit -q -a -m far")
    second = project.copy(tmp_path / "second")
    for where, command in ((project, "push"), (second, "pull")):
        where.run(f"dvc remote modify --local far keyfile {ssh_server.key}")
        where.run(f"dvc {command} -r far preprocess split data/raw.dvc")
    manifest = "data/cache/manifest.csv"
    assert (second.folder / manifest).read_text() == (project.folder / manifest).read_text()
    assert "up to date" in second.run("dvc status preprocess split data/raw.dvc")


@pytest.fixture(scope="module")
def second(project: Project) -> Project:
    """The project, whose last commit has one more photograph of each species."""
    project.photographs("5", project.home / "later")
    project.run("fishline ingest ~/later && dvc repro explore")
    project.git("add -A")
    project.git("commit -q -m later")
    return project


def test_versions_are_told_apart(second: Project) -> None:
    changed = json.loads(second.run("dvc metrics diff HEAD~1 --json 2>/dev/null"))
    images = changed["metrics/preprocess.json"]["images"]
    assert (images["old"], images["new"]) == (36, 45)
    told = changed["metrics/split.json"]
    assert told["base.data.hash"]["old"] != told["base.data.hash"]["new"]
    assert "data/raw/Trout/00005.png" in second.run("dvc diff HEAD~1 --targets data/raw")


def test_the_first_version_comes_back_metrics_and_all(second: Project) -> None:
    page = second.folder / "plots/explore/explore.md"
    audit, shown = second.metrics("split"), page.read_text()
    second.git("checkout -q HEAD~1")
    second.run("dvc checkout")
    assert second.metrics("preprocess")["images"] == 36
    assert not (second.folder / "data/raw/Trout/00005.png").exists()
    assert "up to date" in second.run("dvc status")
    assert stages_run(second.run("dvc repro explore")) == []
    assert page.read_text() != shown
    second.git("checkout -q -")
    second.run("dvc checkout")
    assert stages_run(second.run("dvc repro explore")) == []
    assert (second.metrics("split"), page.read_text()) == (audit, shown)


def test_one_photograph_more_is_little_more_to_store(second: Project) -> None:
    pixels = second.folder / "data/cache/pixels"
    before = {path.name: path.read_bytes() for path in pixels.iterdir()}
    stored = second.stored()
    source = second.home / "one/Trout"
    source.mkdir(parents=True)
    content = (second.home / "drawn/Trout/00004.png").read_bytes()
    (source / "new.png").write_bytes(content + random.Random(0).randbytes(8))  # its own digest
    second.run(f"fishline ingest '{source.parent}' && dvc repro preprocess")
    after = {path.name: path.read_bytes() for path in pixels.iterdir()}
    changed = [name for name in after if after[name] != before.get(name)]
    assert len(changed) == 1
    tables = sum(p.stat().st_size for p in (second.folder / "data/cache").glob("*.csv"))
    record = len(after[changed[0]])
    assert second.stored() - stored < len(content) + record + tables + 40_000  # and listings
    manifest = (second.folder / "data/cache/manifest.csv").read_text()
    assert "\nTrout/new.png,Trout," in manifest


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=pytest.mark.slow if "torchrun" in c else ())
        for c in readme_commands(TRAINING)
    ],
)
def test_a_command_of_the_readme_on_training(project: Project, command: str) -> None:
    before, params = len(project.runs()), project.folder / "params.yaml"
    kept = params.read_text()
    project.run_readme(command)
    if "torchrun" in command:
        params.write_text(kept)  # the next command trains whether this one ran or not
    trained = "train-base" in command or "curve" in command
    assert len(project.runs()) == before + trained  # a run each, however many processes
