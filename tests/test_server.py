"""A shared server, as deploy/ describes it: PostgreSQL, and MLflow that passes artifacts through.

The graph, a promotion and predictions, from a clone that knows nothing but the server's address.
"""

import base64
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
from clone import FROM_NOTHING, ROOT, Clone, free_port, stages_run

from fishline.cli.doctor.machine import locked

Started = subprocess.Popen[bytes]
PASSWORD = "with: a/colon @nd more"
(SERVER,) = re.findall(r"ExecStart=\S*/(.*)", (ROOT / "deploy/mlflow.service").read_text())


@contextmanager
def running(
    command: list[str], log: Path, environment: dict[str, str], user: str | None = None
) -> Iterator[Started]:
    """A process in the background, which is ended with all that it started."""
    with log.open("wb") as file:
        started = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdout=file,
            stderr=file,
            user=user,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)  # PostgreSQL's word for: now, and in order
        try:
            started.wait(20)
        finally:
            with suppress(ProcessLookupError):  # it left nothing behind
                os.killpg(started.pid, signal.SIGKILL)


def wait_for(url: str, server: Started, log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL can reach: it refuses to run as root, and pytest's are root's."""
    with tempfile.TemporaryDirectory(prefix="fishline-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[str]:
    """The address of an empty database on the loopback."""
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    programs = [Path(each).parent for each in found if each]
    if not programs:
        pytest.skip("PostgreSQL's server is not installed")
    user = "postgres" if os.getuid() == 0 else None
    if user and user not in {each.pw_name for each in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    (folder / "password").write_text(PASSWORD)
    (folder / "postgres").mkdir()
    if user:
        shutil.chown(folder / "postgres", user)
    port, environment = free_port(), {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    make = "-D postgres --encoding UTF8 --username mlflow --auth scram-sha-256 --no-sync".split()
    subprocess.run(
        [programs[-1] / "initdb", *make, "--pwfile", folder / "password"],
        cwd=folder,
        env=environment,
        user=user,
        check=True,
        capture_output=True,
    )
    serve = ["-D", "postgres", "-h", "127.0.0.1", "-p", port, "-k", folder / "postgres", "-F"]
    command = [str(word) for word in (programs[-1] / "postgres", *serve)]
    with running(command, folder / "postgres.log", environment, user) as started:
        for _ in range(100):
            if "ready to accept" in (folder / "postgres.log").read_text():
                break
            assert started.poll() is None, (folder / "postgres.log").read_text()
            time.sleep(0.1)
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"), FROM_NOTHING)


@pytest.fixture(scope="module")
def started(database: str, folder: Path, clone: Clone) -> Iterator[tuple[str, Started]]:
    """What deploy/mlflow.service starts, and its address; it is not there at once."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    port = free_port()
    environment = clone.environment() | {
        "MLFLOW_BACKEND_STORE_URI": database,
        "PGPASSWORD": PASSWORD,
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with running(shlex.split(SERVER), folder / "mlflow.log", environment) as process:
        yield f"http://127.0.0.1:{port}", process


@pytest.fixture(scope="module")
def server(started: tuple[str, Started], folder: Path) -> str:
    """The server's address, when it answers."""
    address, process = started
    wait_for(f"{address}/health", process, folder / "mlflow.log")
    return address


def run(clone: Clone, command: str, uri: str, ok: bool = True) -> str:
    return clone.run(f"export MLFLOW_TRACKING_URI={uri}; {command}", ok)


@pytest.fixture(scope="module")
def refused(clone: Clone, started: tuple[str, Started]) -> str:
    """What the graph says where no server answers; what needs none is done then."""
    return run(clone, "dvc repro evaluate", f"http://127.0.0.1:{free_port()}", ok=False)


@pytest.fixture(scope="module")
def client(clone: Clone, refused: str, server: str) -> mlflow.MlflowClient:
    """The server's client, after the graph ran."""
    said = run(clone, "dvc repro evaluate", server)
    assert stages_run(said) == ["train-base", "finetune", "evaluate"]
    return mlflow.MlflowClient(server)


@pytest.mark.slow
def test_without_the_server_nothing_is_trained(clone: Clone, refused: str) -> None:
    *before, last = stages_run(refused)
    assert ({*before}, last) == ({"sample", "preprocess", "embed", "split"}, "train-base")
    (told,) = re.findall(r"^Error: .*", refused, re.MULTILINE)
    assert re.match(r"Error: the tracking store http://\S+ cannot be used", told)
    assert "MLFLOW_TRACKING_URI" in refused and "Traceback" not in refused
    assert "epoch" not in refused
    assert not list(clone.folder.glob("models/base*"))


@pytest.mark.slow
def test_runs_and_artifacts_are_on_the_server_alone(
    clone: Clone, client: mlflow.MlflowClient, folder: Path
) -> None:
    for model in ("base", "finetuned"):
        record = json.loads((clone.folder / f"models/{model}.run.json").read_text())
        run = client.get_run(record["run_id"])
        assert run.info.status == "FINISHED"
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert 0 <= run.data.metrics["test_accuracy"] <= 1
        assert len(client.get_metric_history(record["run_id"], "train_loss")) == 2
        (stored,) = folder.glob(f"artifacts/*/{record['run_id']}/artifacts/test/predictions.csv")
        tested = clone.folder / f"plots/{model}-predictions.csv"
        assert stored.read_bytes() == tested.read_bytes()
    versions = {version.name: version.version for version in client.search_model_versions()}
    assert {name: int(number) for name, number in versions.items()} == {
        "fish-base": 1,
        "fish-finetuned": 1,
    }
    assert not (clone.folder / "mlflow.db").exists()
    assert not (clone.folder / "mlartifacts").exists()


@pytest.fixture(scope="module")
def promoted(clone: Clone, client: mlflow.MlflowClient, server: str) -> str:
    clone.git("add -A")
    clone.git("commit -q -m trained")
    return run(clone, 'fishline promote fish-finetuned --force --reason "a test"', server)


@pytest.mark.slow
def test_the_champion_is_the_servers(client: mlflow.MlflowClient, promoted: str) -> None:
    assert "fish-finetuned/1 is the champion now" in promoted
    champion = client.get_model_version_by_alias("fish-finetuned", "champion")
    assert int(champion.version) == 1


def predicted(clone: Clone, photographs: list[Path], uri: str) -> list[dict[str, Any]]:
    """What `fishline predict` says."""
    named = " ".join(shlex.quote(str(path)) for path in photographs)
    said = run(clone, f"fishline predict --json {named} 2>predict.log", uri)
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.slow
def test_the_champion_is_served(clone: Clone, promoted: str, server: str, folder: Path) -> None:
    """The same answers by `fishline predict` and over HTTP."""
    photographs = sorted(clone.folder.glob("data/sample/Sea Bass/*"))[:2]
    encoded = [[base64.b64encode(path.read_bytes()).decode()] for path in photographs]
    asked = json.dumps({"dataframe_split": {"columns": ["photograph"], "data": encoded}})
    port, log = free_port(), folder / "serve.log"
    command = (
        f"mlflow models serve -m models:/fish-finetuned@champion --env-manager local -p {port}"
    )
    environment = clone.environment() | {"MLFLOW_TRACKING_URI": server}
    with running([*shlex.split(command), "-w", "1"], log, environment) as started:
        expected = predicted(clone, photographs, server)  # while that starts
        wait_for(f"http://127.0.0.1:{port}/ping", started, log)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            asked.encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answers = json.loads(answer.read())["predictions"]
    assert [each["species"] for each in answers] == [each["species"] for each in expected]
    for answered, said in zip(answers, expected, strict=True):
        assert answered["probability"] == pytest.approx(said["probability"], abs=1e-6)


def test_the_server_has_its_clients_mlflow() -> None:
    theirs = (ROOT / "deploy/requirements.txt").read_text().splitlines()
    wanted = dict(line.split("==") for line in theirs if not line.startswith("#"))
    assert wanted.items() <= locked(ROOT / "requirements.txt").items()


def test_both_ways_to_deploy_start_the_same() -> None:
    (words,) = re.findall(r"^CMD (.*)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert json.loads(words) == shlex.split(SERVER)
