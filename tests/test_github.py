"""The workflows for GitHub: as GitHub reads them, and what they run, as far as it runs here."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fishline.core.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
EXPERIMENT = ROOT / ".github/workflows/experiment.yml"
COMMIT = "0123456789abcdef"
LINK = "https://github.com/ada/fish/actions/runs/1/artifacts/2"


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in read_yaml(workflow)["jobs"].values() for step in job["steps"]]


def script(name: str) -> str:
    """What the step of this name runs."""
    return next(str(step["run"]) for step in steps(EXPERIMENT) if step.get("name") == name)


def test_they_are_what_github_reads() -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", *WORKFLOWS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert len(WORKFLOWS) == 2


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_what_they_run_is_there(workflow: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    assert commands
    for command in commands:
        subprocess.run(["bash", "-n"], input=command, text=True, check=True)
        for target in re.findall(r"^\s*make (\S+)", command, flags=re.MULTILINE):
            assert target in targets
        for file in re.findall(r"python (\S+)", command):
            assert (ROOT / file).is_file()
        assert "${{" not in command  # what others write comes as environment, not as shell


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_they_may_no_more_than_they_must(workflow: Path) -> None:
    content = read_yaml(workflow)
    assert content["permissions"]["contents"] == "read"
    assert "pull_request_target" not in content["on"]
    for step in steps(workflow):
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))


def dvc(*words: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=cwd, check=True)


def git(*words: str, cwd: Path) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *who, *words], cwd=cwd, check=True)


def write(folder: Path, lr: float, right: int) -> None:
    """What a run leaves: parameters, metrics, answers."""
    (folder / "params.yaml").write_text(f"lr: {lr}\n")
    facts = {"accuracy": right / 4, "accuracy_low": 0.1, "accuracy_high": 0.9, "worst_recall": 0.5}
    scores = facts | {"images": 4, "photographs": 2}
    for name in ("metrics", "plots"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "metrics/evaluate.json").write_text(json.dumps({"base": scores, "finetuned": scores}))
    answers = ["001,001"] * right + ["001,NA|x"] * (4 - right)
    for model in ("base", "finetuned"):
        lines = "\n".join(["actual,predicted", *answers])
        (folder / f"plots/{model}-confusion.csv").write_text(f"{lines}\n")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as the runner has it: the base as origin/main, and another learning rate."""
    folder = tmp_path_factory.mktemp("runner") / "project"
    folder.mkdir()
    git("init", "-q", "-b", "change", cwd=folder)
    dvc("init", "-q", cwd=folder)
    (folder / "dvc.yaml").write_text("metrics: [metrics/evaluate.json]\nparams: [params.yaml]\n")
    write(folder, lr=0.002, right=2)
    git("add", "-A", cwd=folder)
    git("commit", "-q", "-m", "base", cwd=folder)
    git("update-ref", "refs/remotes/origin/main", "HEAD", cwd=folder)
    write(folder, lr=0.004, right=3)
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / ".github", folder / ".github")
    return folder


def run(step: str, folder: Path, **environment: str) -> None:
    """A step of the workflow, as the runner runs it."""
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script(step)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        check=True,
    )


def test_the_comment(checkout: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    run(
        "Write the comment",
        checkout,
        BASE="main",
        COMMIT=COMMIT,
        LINK=LINK,
        GITHUB_STEP_SUMMARY=str(summary),
    )
    said = (checkout / "comment.md").read_text()
    assert summary.read_text() == said
    assert said.startswith("### Models of 0123456 against main\n")
    assert re.search(r"base\.accuracy +\| 0\.5 +\| 0\.75 +\| 0\.25 ", said)
    assert re.search(r"params\.yaml +\| lr +\| 0\.002 +\| 0\.004 ", said)
    cells = re.sub(" +", " ", said)
    assert "| base | **0.750** | 0.100–0.900 | 0.500 | 4 | 2 |" in cells
    assert "| actual \\ predicted | 001 | NA\\|x |" in cells  # names stay as they are
    assert "| **001** | 3 | 1 |\n| **NA\\|x** | · | · |" in cells
    assert f"[Report, curves and pictures]({LINK})" in said


def test_nothing_changed(checkout: Path, tmp_path: Path) -> None:
    same = tmp_path / "same"
    shutil.copytree(checkout, same, symlinks=True)
    write(same, lr=0.002, right=2)
    for model in ("base", "finetuned"):
        names = "\n".join(f"s{number},s{number}" for number in range(40))
        (same / f"plots/{model}-confusion.csv").write_text(f"actual,predicted\n{names}\n")
    output = {"BASE": "main", "COMMIT": COMMIT, "LINK": LINK, "GITHUB_STEP_SUMMARY": "/dev/null"}
    run("Write the comment", same, **output)
    said = (same / "comment.md").read_text()
    assert "No metric changed.\n\nNo parameter changed." in said
    assert "40 species, is in the report" in said


def test_one_comment_is_written_and_then_updated(tmp_path: Path) -> None:
    (tmp_path / "gh").write_text('#!/bin/sh\necho "$@" > call\n')
    (tmp_path / "gh").chmod(0o755)
    run("Post the comment", tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", PULL_REQUEST="5")
    command = "pr comment 5 --edit-last --create-if-none --body-file comment.md\n"
    assert (tmp_path / "call").read_text() == command


LOST = """\
outs:
- md5: 0123456789abcdef0123456789abcdef
  size: 1
  hash: md5
  path: lost
"""


@pytest.mark.parametrize("url", ["", "/dev/null/store", "ssh://ada@127.0.0.1:1/store"])
def test_without_a_remote_that_answers_the_graph_is_run_all_the_same(
    checkout: Path, tmp_path: Path, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, key = tmp_path / "project", tmp_path / "dvc-key"
    shutil.copytree(checkout, folder, symlinks=True)
    if url:
        text = f"[core]\n    remote = far\n['remote \"far\"']\n    url = {url}\n"
        (folder / ".dvc/config").write_text(text)
        (folder / "lost.dvc").write_text(LOST)
    run("Bring what the remote has", folder, DVC_SSH_KEY="key", RUNNER_TEMP=str(tmp_path))
    said = capfd.readouterr().out
    assert ("::warning::dvc pull failed" in said) == bool(url)
    assert ("No remote is configured" in said) != bool(url)
    assert key.is_file() == url.startswith("ssh:")
    if key.is_file():
        assert key.read_text() == "key\n"
        assert key.stat().st_mode & 0o77 == 0
        assert str(key) in (folder / ".dvc/config.local").read_text()
