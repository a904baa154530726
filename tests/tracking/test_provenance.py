"""Where a result comes from: git, DVC, the data's hash, the parameters that a stage depends on."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from fishline.core.params import load_params
from fishline.tracking import provenance

ROOT = Path(__file__).parents[2]


def git(*arguments: str, cwd: Path) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=cwd, text=True).strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with the project's settings and graph, one commit old."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    git("init", "--quiet", cwd=tmp_path)
    git("add", "--all", cwd=tmp_path)
    git("commit", "--quiet", "--message", "first", cwd=tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_BASELINE_REV", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    commit = git("rev-parse", "HEAD", cwd=checkout)
    assert provenance.git_tags() == {"git.commit": commit, "git.dirty": "false"}


def test_changed_parameters_and_new_code_make_it_dirty(checkout: Path) -> None:
    (checkout / "params.yaml").write_text("lr: 1")
    (checkout / "src").mkdir()
    (checkout / "src/new.py").touch()
    tags = provenance.git_tags()
    assert tags["git.dirty"] == "true"
    assert tags["git.dirty.files"] == "params.yaml src/"


def test_below_the_root_of_its_repository_files_are_named_from_the_project(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = checkout / "café project"
    (project / "src").mkdir(parents=True)
    for name in ("params.yaml", "src/model.py"):
        (project / name).touch()
    git("add", "--all", cwd=checkout)
    git("commit", "--quiet", "--message", "below", cwd=checkout)
    (project / "params.yaml").write_text("lr: 1")
    (checkout / "params.yaml").write_text("of another project")
    monkeypatch.chdir(project)
    assert provenance.git_tags()["git.dirty.files"] == "params.yaml"
    (project / "src/new.py").touch()
    assert provenance.git_tags()["git.dirty.files"] == "params.yaml src/new.py"


def test_what_stages_write_does_not_make_it_dirty(checkout: Path) -> None:
    (checkout / "dvc.lock").touch()
    (checkout / "metrics").mkdir()
    (checkout / "metrics/split.json").touch()
    assert provenance.git_tags()["git.dirty"] == "false"


def test_an_experiment_is_traced_to_the_commit_it_started_from(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    monkeypatch.setenv("DVC_EXP_NAME", "wet-cod")
    assert provenance.git_tags()["git.commit"] == "abc"
    assert provenance.dvc_tags("finetune") == {"dvc.stage": "finetune", "dvc.exp": "wet-cod"}


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_EXP_BASELINE_REV", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert provenance.git_tags() == {"git.commit": "unknown", "git.dirty": "unknown"}


def test_a_run_says_what_machine_it_ran_on(checkout: Path) -> None:
    tags = provenance.machine_tags()
    assert tags["threads"] == "1"  # as conftest.py has it
    assert tags["environment"] == "unknown"
    (checkout / "requirements.txt").write_text("torch\n")
    assert provenance.machine_tags() == tags | {
        "environment": hashlib.sha256(b"torch\n").hexdigest()[:16]
    }
    assert all(tags.values())


def test_the_project_is_found_from_a_folder_inside(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / ".dvc").mkdir()
    (checkout / "docs").mkdir()
    monkeypatch.chdir(checkout / "docs")
    assert provenance.project_root() == checkout


def test_the_data_hash_is_of_names_and_contents_in_any_order() -> None:
    table = pd.DataFrame({"file": ["a", "b"], "sha256": ["1", "2"]})
    same = provenance.data_hash(table.iloc[::-1])
    assert provenance.data_hash(table) == same
    assert provenance.data_hash(table.assign(sha256=["1", "3"])) != same
    assert provenance.data_hash(table.assign(file=["a", "c"])) != same


@pytest.mark.parametrize(
    ("stage", "has", "has_not"),
    [
        ("sample", {"sample.seed"}, {"image_size", "lr"}),
        ("train-base", {"lr", "image_size", "sample.seed", "split.train"}, {"finetune.lr"}),
        ("finetune", {"lr", "finetune.lr", "finetune.species", "split.seed"}, set()),
    ],
)
def test_a_stage_depends_on_its_own_parameters_and_those_before_it(
    monkeypatch: pytest.MonkeyPatch, stage: str, has: set[str], has_not: set[str]
) -> None:
    monkeypatch.chdir(ROOT)
    keys = set(provenance.stage_params(stage, load_params()))
    assert has <= keys
    assert not has_not & keys


def test_outside_a_dvc_project_all_parameters_count(checkout: Path) -> None:
    assert "finetune.lr" in provenance.stage_params("sample", load_params())
