"""A clone of the working tree with tiny parameters, for tests that run commands in it."""

import contextlib
import hashlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch

import dvc.cli
import mlflow
from click.testing import CliRunner
from mlflow.entities import Run

from fishline.cli.main import main

ROOT = Path(__file__).parents[1]
TINY = {
    r"^  originals: \d+": "  originals: 3",
    r"^  copies: \d+": "  copies: 2",
    r"^image_size: \d+": "image_size: 48",
    r"^( *)epochs: \d+": r"\1epochs: 2",
    r"^lr: [\d.]+": "lr: 0.0005",
}


FROM_NOTHING = {r"^  name: efficientnet_lite0": "  name: fishline"}  # a tenth of the time


class Clone:
    """A clone of the working tree with tiny parameters, and a shell in it.

    changes: of params.yaml, besides; as `TINY`.
    """

    def __init__(self, folder: Path, changes: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder = folder / "project"
        self.home = folder
        folder = self.folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")
        for name in filter(lambda f: f and (ROOT / f).is_file(), files):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
        (folder / ".venv").symlink_to(sys.prefix)  # the environment is made once
        params = (folder / "params.yaml").read_text()
        for pattern, tiny in (TINY | changes).items():
            params, count = re.subn(pattern, tiny, params, flags=re.MULTILINE)
            assert count
        (folder / "params.yaml").write_text(params)
        self.git("init -q")
        self.git("add -A")
        self.git("commit -q -m tiny")

    def copy(self, folder: Path) -> "Clone":
        """What git alone knows of this clone, in another folder."""
        self.git(f"clone -q . {folder}")
        other = copy(self)
        other.folder = folder
        (folder / ".venv").symlink_to(sys.prefix)
        return other

    def git(self, words: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *shlex.split(words)], cwd=self.folder, check=True)

    def environment(self) -> dict[str, str]:
        """The user's environment, without what this test run added to it."""
        ours = ("MLFLOW_", "DVC_", "PYTEST_", "PYTHONPATH", "MAKE", "MFLAGS", "VENV", "GIT_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{who}_NAME": "test", f"GIT_{who}_EMAIL": "test@example.org"}
        environment["MYPY_CACHE_DIR"] = str(ROOT / ".mypy_cache")
        environment["OMP_NUM_THREADS"] = "1"  # queued experiments share the cores
        environment["DVC_NO_ANALYTICS"] = "1"
        environment["PYTHONPATH"] = str(self.folder / "src")  # whatever was installed
        environment["HOME"] = str(self.home)
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        return environment

    def run(self, command: str, ok: bool = True) -> str:
        """Output of a bash command in the clone."""
        with tempfile.TemporaryFile("w+") as output:  # a pipe would wait for what stays behind
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=600,
            )
            output.seek(0)
            said = output.read()
        assert (done.returncode == 0) == ok, f"{command}\n{said}"
        return said

    def run_readme(self, command: str) -> str:
        """Output of a command of the README; fishline, and DVC where it runs no stage, are called
        in this process, as imports cost seconds each time."""
        program, *words = shlex.split(command, comments=True)
        apart = {"|", "&&", ">", "repro", "start"} | ({"run"} if "--queue" not in words else set())
        if program not in ("dvc", "fishline") or apart & {*words}:
            return self.run(f"source .venv/bin/activate && {command}")
        # Set once, where fishline.tracking is loaded, and cleared with the rest below.
        environment = self.environment() | {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
        words = [word.replace("~", environment["HOME"], 1) for word in words]
        with contextlib.chdir(self.folder), patch.dict(os.environ, environment, clear=True):
            if program == "dvc":
                with contextlib.redirect_stdout(StringIO()) as said:
                    assert dvc.cli.main(words) == 0, command
                return said.getvalue()
            done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
        return done.stdout

    def digest(self, model: str) -> str:
        return hashlib.sha256(
            (self.folder / f"models/{model}/model.safetensors").read_bytes()
        ).hexdigest()

    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def runs(self) -> list[Run]:
        client = self.client()
        found = client.get_experiment_by_name("fishline")
        assert found is not None
        return list(client.search_runs([found.experiment_id]))


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '([\w-]+)'", output)


# Sections of the README whose commands test_versions.py runs (the first two) and the end of
# test_workflow.py, which runs all others in their order.
DATA = "## Your own photographs"
TRAINING = "## Training"
CHAMPION = "## From run to champion"


def readme_commands(section: str = "", page: str = "README.md") -> list[str]:
    """The commands of the README or of another page, or of one section, in their order."""
    readme = (ROOT / page).read_text()
    if section:
        readme = re.split(r"^## ", readme.partition(f"{section}\n")[2], flags=re.MULTILINE)[0]
    blocks = re.findall(r"```console\n(.*?)```", readme, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def started(clone: Clone, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """`command` under way; afterwards it is ended, with all that it started."""
    log = (clone.folder / "server.log").open("w")
    server = subprocess.Popen(
        ["bash", "-c", command],
        cwd=clone.folder,
        env=clone.environment(),
        stdout=log,
        stderr=log,
        start_new_session=True,  # so that it and what it started can be ended together
    )
    try:
        yield server
    except BaseException:
        print((clone.folder / "server.log").read_text())
        raise
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def patient_get(url: str, server: subprocess.Popen[bytes]) -> str | None:
    end = time.monotonic() + 300  # a cold MLflow on a busy machine takes minutes
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(1)
    return None
