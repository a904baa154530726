"""dvc.yaml against the code and params.yaml: what DVC is not told, it does not rerun for."""

import ast
from pathlib import Path

import pytest

from fishline.cli import stages
from fishline.core.params import Gate, Params
from fishline.core.roles import ROLES
from fishline.core.validation import keys
from fishline.core.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
GRAPH = read_yaml(ROOT / "dvc.yaml")
STAGES = GRAPH["stages"]
SOURCE = ROOT / "src/fishline"

# Packages that no output of a stage depends on: what goes to MLflow, how a training is taken up
# again (to the same bytes), messages. A change there must not retrain every model.
PLUMBING = ("monitoring", "registry", "serving", "tracking")
# And what of core decides an output.
CORE = ("text",)

# Parameters that change no result: how often a training is saved, what else its run notes, what is
# asked of a champion. As a dependency, each would retrain every model for nothing.
WITHOUT_EFFECT = {"checkpoint_minutes", "system_metrics"}
WITHOUT_EFFECT |= {f"gate.{rule}" for rule in Gate.model_fields}  # asked afterwards


def imported(path: Path, seen: set[Path]) -> set[Path]:
    """The files of fishline that `path` imports, and those that they import."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not str(node.module).startswith("fishline."):
            continue
        module = SOURCE / str(node.module).partition(".")[2].replace(".", "/")
        for file in (module.with_suffix(".py"), *(module / f"{a.name}.py" for a in node.names)):
            if file.is_file() and file not in seen and is_code(file):
                seen.add(file)
                imported(file, seen)
    return seen


def is_code(file: Path) -> bool:
    """Whether an output may depend on it."""
    package = file.relative_to(SOURCE).parts[0]
    return package not in PLUMBING and (package != "core" or file.stem in CORE)


def outputs(stage: str) -> set[str]:
    entries = [entry for kind in ("outs", "metrics") for entry in STAGES[stage].get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def test_the_graph_the_commands_and_the_modules_have_the_same_stages() -> None:
    assert list(STAGES) == list(stages.STAGES)
    modules = {path.stem for path in SOURCE.glob("stages/*.py")} - {"__init__"}
    assert modules == {stage.replace("-", "_") for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    script = SOURCE / f"stages/{stage.replace('-', '_')}.py"
    needed = imported(script, {script})
    declared = [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    missing = {file for file in needed if not any(file.is_relative_to(dep) for dep in declared)}
    assert not missing
    assert all(any(file.is_relative_to(dep) for file in needed) for dep in declared)


@pytest.mark.parametrize("key", dict(keys(Params)))
def test_every_parameter_is_some_stages(key: str) -> None:
    declared = {name for stage in STAGES.values() for name in stage["params"]}
    found = any(key == name or key.startswith(f"{name}.") for name in declared)
    found |= any(f"${{{key}}}" in stage["cmd"] for stage in STAGES.values())
    assert found == (key not in WITHOUT_EFFECT)


def test_artifacts_have_the_names_of_the_registry() -> None:
    paths = {name: entry["path"] for name, entry in GRAPH["artifacts"].items()}
    assert paths == {role.registered: f"models/{role.folder}" for role in ROLES.values()}
    assert set(paths.values()) <= {path for stage in STAGES for path in outputs(stage)}


def test_plots_show_what_stages_write() -> None:
    written = {path for stage in STAGES for path in outputs(stage)}
    shown = set()
    for plot in GRAPH["plots"]:
        settings = next(iter(plot.values())) if isinstance(plot, dict) else {"x": {plot: None}}
        shown |= {path for axis in ("x", "y") for path in settings.get(axis, {})}
    assert shown
    for path in shown:  # an output, or a file in one
        assert any(path == out or path.startswith(f"{out}/") for out in written)


def test_matrices_are_normalised_over_what_it_is() -> None:
    """DVC's template divides by the rows' sums."""
    matrices = [p for plot in GRAPH["plots"] if isinstance(plot, dict) for p in plot.values()]
    matrices = [p for p in matrices if p["template"].startswith("confusion")]
    assert len(matrices) == 4
    for plot in matrices:
        assert list(plot["y"].values()) == ["actual"]
        assert plot["y_label"] == "actual species"
