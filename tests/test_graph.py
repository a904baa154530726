"""dvc.yaml against the code and params.yaml: what DVC is not told, it does not rerun for."""

import ast
import typing
from pathlib import Path

import pytest

from fishline.params import Gate, Params
from fishline.schema import keys, read_yaml

ROOT = Path(__file__).parents[1]
GRAPH = read_yaml(ROOT / "dvc.yaml")
STAGES = GRAPH["stages"]

# Modules that no output of a stage depends on: how files are written and named, messages, what
# goes to MLflow, and how a training is taken up again (to the same bytes). A change there must not
# retrain every model.
PLUMBING = {
    "checkpoints",
    "errors",
    "files",
    "git",
    "moves",
    "params",
    "paths",
    "provenance",
    "registry",
    "results",
    "run_log",
    "schema",
    "serving",
    "snapshot",
    "tracking",
}

# Parameters that change no result: how often a training is saved, what else its run notes, what is
# asked of a champion. As a dependency, each would retrain every model for nothing.
WITHOUT_EFFECT = {"checkpoint_minutes", "system_metrics"}
WITHOUT_EFFECT |= {f"gate.{rule}" for rule in typing.get_type_hints(Gate)}  # asked afterwards


def imported(module: str, seen: set[str]) -> set[str]:
    """The modules of fishline that `module` imports, and those that they import."""
    tree = ast.parse((ROOT / f"src/fishline/{module}.py").read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("fishline"):
            continue
        whole = node.module == "fishline"
        names = [a.name for a in node.names] if whole else [str(node.module).split(".")[1]]
        for name in names:
            if name not in seen and (ROOT / f"src/fishline/{name}.py").is_file():
                seen.add(name)
                imported(name, seen)
    return seen


def outputs(stage: str) -> set[str]:
    entries = [entry for kind in ("outs", "metrics") for entry in STAGES[stage].get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def test_the_stages_are_the_promised_ones() -> None:
    promised = "sample preprocess split explore train-base finetune evaluate"
    assert list(STAGES) == promised.split()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    module = stage.replace("-", "_")
    modules = imported(module, {module})
    needed = {f"src/fishline/{m}.py" for m in modules - PLUMBING}
    if "report" in modules:
        needed |= {str(p.relative_to(ROOT)) for p in (ROOT / "src/fishline/templates").iterdir()}
    assert {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")} == needed


@pytest.mark.parametrize("key", list(keys(Params)))
def test_every_parameter_is_some_stages(key: str) -> None:
    declared = {name for stage in STAGES.values() for name in stage["params"]}
    found = any(key == name or key.startswith(f"{name}.") for name in declared)
    found |= any(f"${{{key}}}" in stage["cmd"] for stage in STAGES.values())
    assert found == (key not in WITHOUT_EFFECT)


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_another(stage: str) -> None:
    others = {name.replace("-", "_") for name in STAGES if name != stage}
    assert not imported(stage.replace("-", "_"), set()) & others


def test_artifacts_have_the_names_of_the_registry() -> None:
    paths = {name: entry["path"] for name, entry in GRAPH["artifacts"].items()}
    assert paths == {"fish-base": "models/base", "fish-finetuned": "models/finetuned"}
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


def test_only_the_rooms_that_may_import_mlflow() -> None:
    for path in sorted((ROOT / "src/fishline").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "mlflow" for name in names):
                assert path.stem in {
                    "aliases",
                    "probe_store",
                    "registry",
                    "results",
                    "run_log",
                    "served",
                    "serving",
                    "tracking",
                }
