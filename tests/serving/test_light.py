"""The light installation: what asks a model loads nothing but what a plain `pip install` brings."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fishline.models.onnx_export import export
from fishline.models.trained_model import TrainedModel
from fishline.serving.answer_log.reader import read_log
from fishline.serving.predictor import Predictor

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Each line in one process: what was printed, and the exit code.
RUN = """
import json, sys
allowed = set(sys.argv[1].split()) | sys.stdlib_module_names
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Finder())
from click.testing import CliRunner
from fishline import Predictor
from fishline.cli.main import main
results = [CliRunner().invoke(main, line) for line in json.loads(sys.argv[2])]
(answer,) = Predictor.load("model.onnx").predict(["a.png"])
print(json.dumps([[[r.exit_code, r.output] for r in results], answer.as_dict()]))
"""


@pytest.fixture
def project(make_model: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with a model, its file and a photograph, which a store is named for."""
    export(TrainedModel.load(make_model(tmp_path / "model")), tmp_path / "model.onnx")
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path


def light() -> set[str]:
    """The names of the base dependencies and of all that they need, in lower case."""
    found: set[str] = set()
    lines = list(PROJECT["dependencies"])
    while lines:
        line = lines.pop()
        name = re.match(r"[\w.-]+", line)[0].lower()  # type: ignore[index]
        if "extra ==" not in line and name not in found:
            found.add(name)
            lines += requires(name) or [] if "platform_system" not in line else []
    return found


def run(project: Path, names: set[str], lines: list[list[str]], **variables: str) -> Any:
    """Lines in one process that can import these distributions; see `RUN`."""
    allowed = [
        module
        for module, owners in packages_distributions().items()
        if names & {owner.lower() for owner in owners}
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MLFLOW_TRACKING_URI": "http://x"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, " ".join([*allowed, "fishline"]), json.dumps(lines)],
        cwd=project, env=environment | variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_asking_a_model_loads_the_base_dependencies_alone(project: Path) -> None:
    names = light()
    assert len(names) < 12
    lines = [
        ["predict", "--json", "--model", "model.onnx", "a.png"],
        ["predict", "--csv", "--only", "Trout,Bream", "--model", "model.onnx", "a.png"],
        ["predict", "--model", "model.onnx", "a.png"],
        ["predict", "--model", "fish-finetuned/3", "a.png"],
        ["predict", "--model", "model", "a.png"],
        ["predict", "--model", "model.onnx", "--out", "answers.parquet", "a.png"],
        ["models"],
    ]
    results, answer = run(project, names, lines)
    assert [code for code, _ in results] == [0] * 3 + [1] * 4, results
    (expected,) = Predictor(project / "model").predict([project / "a.png"])  # by torch
    assert answer["species"] == expected.species
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
    assert json.loads(results[0][1]) == {"file": "a.png", **answer}
    for _, said in results[3:]:
        assert "needs fishline[train]: pip install 'fishline[train]'" in said


def test_answers_are_logged_by_one_extra_alone(project: Path) -> None:
    extra = {re.match(r"\w+", line)[0] for line in PROJECT["optional-dependencies"]["log"]}  # type: ignore[index]
    lines = [["predict", "--model", "model.onnx", "a.png", "--place", "Deck 1"]]
    log = str(project / "answers")
    (((code, said),), _) = run(project, light(), lines, FISHLINE_LOG=log)
    assert code == 1
    assert "FISHLINE_LOG needs fishline[log]: pip install 'fishline[log]'" in said
    (((code, said),), _) = run(project, light() | extra, lines, FISHLINE_LOG=log)
    assert code == 0, said
    assert read_log(log)["place"].to_pylist() == ["Deck 1"]


@pytest.mark.slow  # it downloads what a plain installation brings
def test_a_plain_installation_is_small_and_answers(project: Path) -> None:
    source, place = project / "source", project / "venv"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)

    def call(*command: object) -> str:
        words = [str(word) for word in command]
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run(words, cwd=project, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("uv", "venv", "--quiet", "--python", sys.executable, place)
    call("uv", "pip", "install", "--quiet", "--python", place, source)
    size = sum(path.stat().st_size for path in place.rglob("*") if not path.is_symlink())
    assert size < 250e6
    assert not [path for path in place.rglob("*") if path.name in ("torch", "pandas", "mlflow")]
    said = call(place / "bin/fishline", "predict", "--json", "--model", "model.onnx", "a.png")
    (expected,) = Predictor(project / "model.onnx").predict([project / "a.png"])
    assert json.loads(said) == {"file": "a.png", **expected.as_dict()}
