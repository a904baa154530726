"""One queued experiment where it runs: from remotes alone, once, and nothing left behind."""

from pathlib import Path

import pytest
from tiny_project import Project

from fishline.cluster import experiment
from fishline.cluster.dvc_queue import Queued, push_data, queued
from fishline.cluster.experiment import WAITING
from fishline.cluster.requirements import origin


@pytest.fixture
def waiting(project: Project, server: str) -> Queued:
    """An experiment whose stash the git remote has, and whose data the DVC remote has."""
    project.add_remotes()
    project.queue("wet-cod", "-S", "lr=2")
    return send(project)


def send(project: Project) -> Queued:
    (waiting,) = queued(project.folder)
    push_data(project.folder, [waiting.revision])
    project.git("push", "--quiet", "origin", f"{waiting.revision}:{WAITING}/{waiting.revision}")
    return waiting


def test_what_is_done_is_not_run_again(project: Project, waiting: Queued, tmp_path: Path) -> None:
    """So that it can be lost at any moment."""
    source = origin(project.folder)
    first = experiment.run(waiting, source, cpus=3)
    assert not first.failure, first.output
    assert "Running stage 'train'" in first.output
    assert first.states == ("refs/fishline/runs/wet-cod",)
    again = experiment.run(waiting, source, cpus=3)
    assert (again.failure, again.output, again.states) == ("", "", ())
    project.git("fetch", "--quiet", "origin", waiting.result)
    assert project.git("show", "FETCH_HEAD:metrics.json") == '{"rate": 2.0}'
    assert sorted(p.name for p in (tmp_path / "machine/fishline").iterdir()) == [
        "checkpoints",
        "dvc",
    ]


def test_another_experiment_of_the_name_stays(project: Project, waiting: Queued) -> None:
    source = origin(project.folder)
    assert not experiment.run(waiting, source, cpus=1).failure
    project.dvc("queue", "remove", "--queued")
    project.queue("wet-cod", "-S", "lr=3")
    assert "another experiment wet-cod" in experiment.run(send(project), source, 1).failure
    project.git("fetch", "--quiet", "origin", waiting.result)
    assert project.git("show", "FETCH_HEAD:metrics.json") == '{"rate": 2.0}'


@pytest.fixture
def done(project: Project, server: str) -> Queued:
    """An experiment of a project that git has with the results of all its stages."""
    project.add_remotes()
    project.dvc("repro", "--quiet")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "done")
    project.queue("wet-cod", "-S", "lr=2")
    return send(project)


def test_only_what_is_needed_is_pulled(project: Project, done: Queued, tmp_path: Path) -> None:
    outcome = experiment.run(done, origin(project.folder), cpus=1)
    assert not outcome.failure, outcome.output
    assert "Stage 'prepare' didn't change" in outcome.output
    pulled = [p.read_text() for p in (tmp_path / "machine/fishline/dvc/files").rglob("*/*/*")]
    assert "FISH" in pulled and "fish" not in pulled


def test_a_stage_whose_outputs_no_remote_has_runs(
    project: Project, done: Queued, tmp_path: Path
) -> None:
    for file in (tmp_path / "storage/files").rglob("*/*/*"):
        if file.read_text() == "FISH":
            file.unlink()
    outcome = experiment.run(done, origin(project.folder), cpus=1)
    assert not outcome.failure, outcome.output
    assert "Running stage 'prepare'" in outcome.output


def test_all_stages_run_where_they_are_forced_to(project: Project, done: Queued) -> None:
    project.dvc("queue", "remove", "--queued")
    project.queue("same-cod", "--force")
    outcome = experiment.run(send(project), origin(project.folder), cpus=1)
    assert not outcome.failure, outcome.output
    assert "Running stage 'prepare'" in outcome.output


def test_data_that_no_remote_has_is_named(project: Project, server: str) -> None:
    project.add_remotes()
    project.queue("wet-cod", "-S", "lr=2")
    (waiting,) = queued(project.folder)
    project.git("push", "--quiet", "origin", f"{waiting.revision}:{WAITING}/{waiting.revision}")
    outcome = experiment.run(waiting, origin(project.folder), cpus=1)
    assert "exit code" in outcome.failure
    assert "data.txt" in outcome.output
