"""The command line: what it loads, and how it says that something is wrong."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fishline.cli import main

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "mlflow", "sklearn", "matplotlib", "dvc"}
DrawTree = Callable[[Path, Mapping[str, int]], list[str]]


def fishline(*arguments: str, cwd: Path) -> Result:
    """`fishline ARGUMENTS` in this process: in one of its own, imports would take the time."""
    with contextlib.chdir(cwd):
        return CliRunner().invoke(main, arguments)


@pytest.fixture
def project(tmp_path: Path, draw_tree: DrawTree) -> Path:
    """A folder with params.yaml and a few photographs of two and two species."""
    text = (ROOT / "params.yaml").read_text()
    start = text.index("base:\n")
    text = text[:start] + FEW_SPECIES
    (tmp_path / "params.yaml").write_text(text.replace("strategy: grouped", "strategy: stratified"))
    draw_tree(tmp_path / "data/sample", {"A": 5, "B": 5, "C": 5, "D": 5})
    return tmp_path


FEW_SPECIES = """\
base:
  species: [A, B]
finetune:
  species: [C, D]
  mode: replace
  train: classifier
  views: 1
  lr: 0.001
  weight_decay: 0
  batch_size: 2
  epochs: 1
  augment: false
  balance: none
"""


def loaded_by(arguments: list[str], cwd: Path) -> set[str]:
    """Top-level modules loaded once `fishline ARGUMENTS` is done."""
    code = f"""
import sys
from fishline.cli import main
main({arguments!r}, prog_name="fishline", standalone_mode=False)
print("loaded:", *{{name.partition(".")[0] for name in sys.modules}})
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded_by(["--help"], tmp_path) & (HEAVY | {"numpy", "pandas", "PIL"})


@pytest.mark.parametrize("stages", [["preprocess"], ["preprocess", "split"]])
def test_stages_that_only_read_images_load_neither_torch_nor_mlflow(
    project: Path, stages: list[str]
) -> None:
    for stage in stages:
        loaded = loaded_by([stage], project)
        assert "pandas" in loaded
        assert not loaded & HEAVY
    assert (project / "data/cache/manifest.csv").is_file()


def test_help_names_every_stage_of_the_graph(tmp_path: Path) -> None:
    done = fishline("--help", cwd=tmp_path)
    for stage in ("sample", "preprocess", "split", "train-base", "finetune", "evaluate"):
        assert f"\n  {stage} " in done.stdout


@pytest.mark.parametrize(
    ("change", "stage", "said"),
    [
        (
            ("lr: 0.002", "learning_rate: 0.002"),
            "preprocess",
            "'learning_rate'. Did you mean 'lr'",
        ),
        (("species: [A, B]", "species: [A, Bass]"), "preprocess", "no folder 'Bass'"),
        (("species: [C, D]", "species: [A, D]"), "preprocess", "A stands in base.species"),
        (("test: 0.20", "test: 0.25"), "preprocess", "must be 1, not 1.05"),
        (("dir: data/sample", "dir: data/none"), "preprocess", "no folder data/none"),
        (("conflicts: fail", "conflicts: ask"), "preprocess", "fail, drop, not 'ask'"),
        (("warmup: 0.25", "warmup: 0"), "check", "one_cycle needs warmup above 0"),
        (("weights: none", "weights: default"), "check", "model.name fishline has none"),
        (("", ""), "split", "data/cache/manifest.csv is missing"),
        (("", ""), "explore", "data/cache/manifest.csv is missing"),
        (("", ""), "train-base", "data/cache/manifest.csv is missing"),
        (("", ""), "audit", "data/cache/manifest.csv is missing"),
        (("", ""), "curve", "data/cache/manifest.csv is missing"),
    ],
)
def test_what_a_user_can_cause_is_one_message_and_no_traceback(
    project: Path, change: tuple[str, str], stage: str, said: str
) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace(*change, 1))
    done = fishline(stage, cwd=project)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.startswith("Error: ")
    assert isinstance(done.exception, SystemExit)  # and no other: no traceback


def test_a_species_with_too_few_photographs_is_named(project: Path) -> None:
    for path in sorted((project / "data/sample/C").iterdir())[2:]:
        path.unlink()
    assert fishline("preprocess", cwd=project).exit_code == 0
    done = fishline("split", cwd=project)
    assert done.exit_code == 1
    assert "C: 2 images cannot be split" in done.stderr


def test_a_base_model_of_another_image_size_is_refused(project: Path) -> None:
    from fishline.models import Description, build, save

    params = project / "params.yaml"
    params.write_text(params.read_text().replace("image_size: 128", "image_size: 64"))
    for stage in ("preprocess", "split"):
        assert fishline(stage, cwd=project).exit_code == 0
    arguments = {"classes": 2, "image_size": 48}
    third = (0.5, 0.5, 0.5)
    description = Description("notebook", arguments, ("A", "B"), 48, third, third, "grouped")
    save(project / "models/base", build(description), description)
    done = fishline("finetune", cwd=project)
    assert done.exit_code == 1
    assert "trained on images of 48 pixels" in done.stderr
    assert isinstance(done.exception, SystemExit)  # and no other: no traceback
    assert not (project / "mlflow.db").exists()  # found before any run was opened
