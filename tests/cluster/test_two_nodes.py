"""Queued experiments on two Ray nodes of this machine, through git, DVC and an MLflow server."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest
from clone import FROM_NOTHING, Clone, free_port, patient_get, started
from mlflow import MlflowClient

pytestmark = pytest.mark.slow
START = "python src/fishline queue start --ray"


@pytest.fixture(scope="module")
def remotes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clone, str]]:
    """A project that has run once, with a git and a DVC remote; and its MLflow server's address."""
    clone = Clone(tmp_path_factory.mktemp("queue"), FROM_NOTHING)
    clone.run("git init -q --bare ../git && git remote add origin ../git")
    clone.run("dvc remote add --default storage ../storage && git add -A && git commit -qm remote")
    uri = f"http://127.0.0.1:{free_port()}"
    server = f"mlflow server --backend-store-uri sqlite:///{clone.home}/server.db"
    artifacts = f"--artifacts-destination {clone.home}/artifacts --workers 1"
    port = uri.rpartition(":")[2]
    with started(clone, f"{server} {artifacts} --port {port} &> ../mlflow.log") as process:
        assert patient_get(f"{uri}/health", process) == "OK"
        clone.run(f"MLFLOW_TRACKING_URI={uri} dvc repro && git add -A && git commit -qm base")
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(uri)
        yield clone, uri
        mlflow.set_tracking_uri(before)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes, one processor and a cache folder each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # no address but the loopback's
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("DVC_ROOT", raising=False)
    node = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    made = Cluster(initialize_head=True, head_node_args=node)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    made.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    yield made
    made.shutdown()


def queue(clone: Clone, *parameters: str) -> list[str]:
    """Names of experiments with these parameters, queued."""
    said = "".join(clone.run(f"dvc exp run --queue {words}") for words in parameters)
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Queued")]


def runs_of(client: MlflowClient, names: list[str]) -> list[Any]:
    experiment = client.get_experiment_by_name("fishline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return [run for run in runs if run.data.tags.get("dvc.exp") in names]


def check(clone: Clone, names: list[str]) -> None:
    """Every experiment is here under its name, with two runs, versions and their artifacts."""
    shown = clone.run("dvc exp show --csv")
    assert all(shown.count(f"\n{name},") == 1 for name in names), shown
    client = MlflowClient()
    runs = runs_of(client, names)
    assert len(runs) == 2 * len(names)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
        model = f"models:/{version.name}/{version.version}"
        files = Path(mlflow.artifacts.download_artifacts(model))
        assert [*files.rglob("model.safetensors")]
        for metric in ("train_loss", "test_accuracy"):
            history = client.get_metric_history(run.info.run_id, metric)
            assert len({value.step for value in history}) == len(history)
        assert run.data.tags["threads"] == "1"
        clone.run(f"git cat-file -e refs/fishline/runs/{run.info.run_id}")
    assert not clone.run("git ls-remote origin 'refs/fishline/queue/*'")


def test_eight_experiments_on_two_nodes(remotes: tuple[Clone, str], cluster: Any) -> None:
    clone, uri = remotes
    names = queue(clone, "-S 'lr=0.001,0.002,0.003,0.004' -S 'seed=1,2'")
    said = clone.run(f"MLFLOW_TRACKING_URI={uri} RAY_ADDRESS={cluster.address} {START} -j 8")
    assert all(f"{name}: done" in said for name in names)
    check(clone, names)
    assert "No experiment tasks" in clone.run("dvc queue status")


def test_a_lost_node_costs_no_experiment(remotes: tuple[Clone, str], cluster: Any) -> None:
    clone, uri = remotes
    names = queue(clone, "-S 'lr=0.005,0.006' -S 'seed=3,4'")
    (node,) = cluster.worker_nodes
    command = f"MLFLOW_TRACKING_URI={uri} RAY_ADDRESS={cluster.address} exec {START}"
    with (clone.home / "driver.log").open("w") as log:
        driver = subprocess.Popen(
            command, shell=True, cwd=clone.folder, env=clone.environment(), stdout=log, stderr=log
        )
        try:
            kill_while(node, "finetune")
            assert driver.wait(900) == 0
        finally:
            driver.kill()
    said = (clone.home / "driver.log").read_text()
    assert all(f"{name}: done" in said for name in names)
    check(clone, names)


def kill_while(node: Any, stage: str) -> None:
    """Kill a node and all that it started, as a power cut does, while it runs `stage`."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    end = time.monotonic() + 300
    while time.monotonic() < end:
        family = [raylet, *raylet.children(recursive=True)]
        if any(f"src/fishline {stage}" in command_line(process) for process in family):
            for process in family:
                process.send_signal(signal.SIGKILL)
            return
        time.sleep(0.05)
    raise AssertionError(f"the node never ran {stage}")


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
