"""Where a version comes from, and that what it needs is kept, whatever is removed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
from toy import Toy, toy_project

from fishline.core.errors import UserError
from fishline.core.files import write_csv
from fishline.core.paths import CACHE, SPLIT
from fishline.registry import champion, experiment_runs, lineage
from fishline.registry.git_tags import follow, keep, kept
from fishline.tracking import search as tracking_search
from fishline.tracking.provenance import data_hash
from fishline.tracking.search import Run
from fishline.tracking.snapshot import REF
from fishline.tracking.versions import Version

# DVC, in this process, leaves packs of git open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """Version 1 is in a commit before HEAD, 2 was never committed, 3 and 4 are experiments.

    4 is removed, and so is all that git and DVC do not keep for it; 5 is what dvc.lock has now.
    """
    with toy_project(tmp_path_factory.mktemp("toy")) as made:
        made.train()
        made.commit()
        keep(made.versions[0])
        (made.folder / "params.yaml").write_text("lr: 2\n")
        made.train()
        for lr, name in ((3, "wet-cod"), (4, "dry-eel")):
            made.train("exp", "run", "--quiet", "-n", name, "-S", f"lr={lr}", experiment=name)
        keep(made.versions[3])
        made.dvc("exp", "remove", "--quiet", "dry-eel")
        (made.folder / "params.yaml").write_text("lr: 5\n")
        (made.folder / "src/new.py").write_text("new")
        made.train()
        made.git("reflog", "expire", "--expire=now", "--all")
        made.git("gc", "--quiet", "--prune=now")
        made.dvc("gc", "--quiet", "--all-tags", "--all-experiments", "--force")
        yield made


def params(toy: Toy, revision: str) -> str:
    return toy.git("show", f"{revision}:params.yaml")


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_the_state_of_every_version_can_be_found(toy: Toy, number: int) -> None:
    ref = f"{REF}/{toy.versions[number - 1].run_id}"
    assert params(toy, ref) == f"lr: {number}"


@pytest.mark.parametrize("number", [1, 3, 4, 5])
def test_dvc_gets_a_kept_version_with_the_bytes_that_were_registered(
    toy: Toy, number: int, tmp_path: Path
) -> None:
    tag = keep(toy.versions[number - 1])
    assert tag == f"fish-base@v{number}.0.0"
    assert keep(toy.versions[number - 1]) == tag  # done once
    assert params(toy, tag) == f"lr: {number}"
    toy.dvc("artifacts", "get", ".", "fish-base", "--quiet",
            "--rev", f"v{number}.0.0", "--out", str(tmp_path / "got"))  # fmt: skip
    for path in toy.models[number].iterdir():
        assert (tmp_path / "got" / path.name).read_bytes() == path.read_bytes()


def test_of_a_version_that_no_lock_has_the_state_is_kept(toy: Toy) -> None:
    tag = keep(toy.versions[1])
    state = toy.versions[1].tags["git.snapshot"]
    assert toy.git("rev-parse", f"{tag}^{{commit}}") == state


def test_untracked_code_is_in_what_is_kept(toy: Toy) -> None:
    assert toy.git("show", f"{keep(toy.versions[4])}:src/new.py") == "new"


def test_the_same_number_of_another_store_gets_a_tag_of_its_own(toy: Toy) -> None:
    first, third = toy.versions[0], toy.versions[2]
    keep(first)
    other = Version("fish-base", 1, third.run_id, (), {}, third.created, {}, {})
    assert kept(other) == ""
    assert keep(other) == f"fish-base@v1.0.0+{third.run_id[:8]}"
    assert kept(other) == f"fish-base@v1.0.0+{third.run_id[:8]}"
    assert kept(first) == "fish-base@v1.0.0"


def test_what_git_cannot_keep_is_a_remark(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Version("fish-base", 9, "9" * 32, (), {}, datetime.now(UTC), {}, {})
    assert keep(elsewhere) == ""
    assert f"git fetch THERE '{REF}/*:{REF}/*'" in capsys.readouterr().err
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert keep(toy.versions[0]) == ""
    assert "fish-base/1 is not kept in git" in capsys.readouterr().err


def test_dvc_knows_the_champion_wherever_the_alias_goes(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert follow("fish-base") == ""  # there is none
    for move, number in enumerate((5, 4, 5), 1):
        monkeypatch.setattr(toy, "champion", number)
        keep(toy.versions[number - 1])
        assert follow("fish-base") == f"fish-base#champion#{move}"
        assert follow("fish-base") == f"fish-base#champion#{move}"  # nothing moved
        got = tmp_path / str(move)
        toy.dvc("artifacts", "get", ".", "fish-base", "--quiet",
                "--stage", "champion", "--out", str(got))  # fmt: skip
        expected = toy.models[number] / "model.safetensors"
        assert (got / "model.safetensors").read_bytes() == expected.read_bytes()


def run_of(version: Version) -> Run:
    tags = {**version.tags, "dvc.stage": "train-base", "data.hash": "abc", "git.commit": "def",
            "git.dirty": "true", "git.dirty.files": "params.yaml"}  # fmt: skip
    return Run(version.run_id, "FINISHED", version.created, tags, version.metrics, {"lr": "1"})


@pytest.fixture
def store_of_toy(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Runs of all versions, as from a store; version 3 was promoted."""
    known = {version.run_id: run_of(version) for version in toy.versions}
    by_experiment = {run.tags.get("dvc.exp", ""): run for run in known.values()}

    def search(condition: str = "") -> list[Run]:
        found = by_experiment.get(condition.rpartition("= ")[2].strip("'"))
        return [found] if found else []

    entry = SimpleNamespace(
        done=True, champion=3, action="promote", who="Ann", when="2026", reason=""
    )
    monkeypatch.setattr(tracking_search, "runs", search)
    monkeypatch.setattr(tracking_search, "get_run", known.get)
    monkeypatch.setattr(champion, "history", lambda model: [entry])
    return toy


@pytest.mark.parametrize(("name", "exists"), [("wet-cod", True), ("dry-eel", False)])
def test_the_runs_of_an_experiment_here_or_removed(
    store_of_toy: Toy, name: str, exists: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    version = store_of_toy.versions[2 if exists else 3]
    experiment_runs.main(name, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["run"], found["version"]) == (version.run_id, str(version))
    assert not found["restored"]
    experiment_runs.main(name, as_json=False)
    assert "train-base" in capsys.readouterr().out
    assert lineage.origin(version.run_id)["experiment"] == {"name": name, "exists": exists}


def test_an_experiment_that_dvc_restored_leads_to_the_run_that_computed_it(
    store_of_toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    store_of_toy.dvc("exp", "run", "--quiet", "-n", "old-ray", "-S", "lr=3")
    experiment_runs.main("old-ray", as_json=False)
    said = capsys.readouterr().out
    assert store_of_toy.versions[2].run_id in said and "(restored" in said


def test_an_experiment_that_nobody_knows(store_of_toy: Toy) -> None:
    with pytest.raises(UserError, match="no experiment 'none'.*wet-cod"):
        experiment_runs.main("none", as_json=False)


def test_an_origin_says_where_everything_is(
    store_of_toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store_of_toy.versions[2])
    found = lineage.origin("fish-base/3")
    assert found["code"] == {
        "commit": "def",
        "dirty": True,
        "changed": ["params.yaml"],
        "snapshot": store_of_toy.versions[2].tags["git.snapshot"],
        "snapshot_here": True,
        "kept": "fish-base@v3.0.0",
    }
    assert found["data"] == {"hash": "abc", "split": "unknown", "in_cache_now": False}
    assert found["environment"] == {"requirements.txt": "unknown", "same_now": False}
    lineage.main("fish-base/3", as_json=False)
    said = capsys.readouterr().out
    assert "def, changed: params.yaml" in said
    assert "git tag fish-base@v3.0.0" in said
    assert "promote by Ann" in said
    assert "    lr: 1\n" in said


def test_the_base_model_is_traced_too(
    store_of_toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, other = store_of_toy.versions[0], "e" * 32
    known: dict[str, Any] = {base.run_id: base.run_id, other: "not there"}
    for run_id in known:
        tags = {"base.run_id": run_id, "base.model_version": "fish-base/7"}
        tuned = Version("fish-finetuned", 1, "d" * 32, (), tags, base.created, {}, {})
        monkeypatch.setattr(store_of_toy, "versions", [base, tuned])
        found = lineage.origin("fish-finetuned/1")["base"]
        assert found["run"] == run_id
        assert found["version"] == ("fish-base/1" if run_id == base.run_id else "fish-base/7")
    lineage.main("fish-finetuned/1", as_json=False)
    assert f"{other}, not in this store" in capsys.readouterr().out


def test_whether_the_data_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(lineage.present_data()) == []
    manifest = pd.DataFrame({"file": ["A/1", "B/1", "C/1"], "sha256": ["1", "2", "3"]})
    write_csv(CACHE / "manifest.csv", manifest)
    write_csv(SPLIT / "base.csv", manifest[["file"]][:1])
    write_csv(SPLIT / "finetune.csv", manifest[["file"]][1:2])
    base, finetuned, both = (
        data_hash(manifest[part]) for part in (slice(1), slice(1, 2), slice(2))
    )
    assert list(lineage.present_data()) == [base, finetuned, both]
    (SPLIT / "finetune.csv").unlink()
    assert set(lineage.present_data()) == {base}


def test_a_run_that_registered_nothing_has_an_origin(store: mlflow.MlflowClient) -> None:
    experiment = store.get_experiment_by_name("fishline")
    assert experiment is not None
    tags = {"git.commit": "def", "dvc.stage": "train-base", "dvc.exp": "it's"}
    run_id = store.create_run(experiment.experiment_id, tags=tags).info.run_id
    for reference in (run_id, run_id[:8]):
        found = lineage.origin(reference)
        assert (found["run"], found["version"], found["status"]) == (run_id, None, "RUNNING")
    assert [each["run"] for each in experiment_runs.runs_of("it's")] == [run_id]
    with pytest.raises(UserError, match="0 runs have an id that begins with 0123456789"):
        lineage.origin("0123456789")
    assert tracking_search.get_run("0" * 32) is None
