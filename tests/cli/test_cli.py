"""The command line: what it loads, and how it says that something is wrong."""

import ast
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fishline.cli.main import SECTIONS, main
from fishline.cli.stages import STAGES
from fishline.core.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "mlflow", "sklearn", "matplotlib", "dvc"}
DrawTree = Callable[[Path, Mapping[str, int]], list[str]]


def fishline(*arguments: str, cwd: Path) -> Result:
    """`fishline ARGUMENTS` in this process: in one of its own, imports would take the time."""
    with contextlib.chdir(cwd):
        return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def no_store_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a new user: tests before these may have named one (MLflow does by itself)."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


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
  train: auto
finetune:
  species: [C, D]
  mode: replace
  train: classifier
  lr: 0.001
  weight_decay: 0
  batch_size: 2
  epochs: 1
  augment: false
  balance: none
"""


def commands(group: click.Group = main, *above: str) -> Iterator[tuple[list[str], click.Command]]:
    """Every command with its words, those of groups as well."""
    for name, command in group.commands.items():
        yield [*above, name], command
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


def loaded_by(lines: list[list[str]], cwd: Path) -> set[str]:
    """Top-level modules loaded once each `fishline LINE` is done, in one process."""
    code = f"""
import sys
from fishline.cli.main import main
for line in {lines!r}:
    main(line, prog_name="fishline", standalone_mode=False)
print("loaded:", *{{name.partition(".")[0] for name in sys.modules}})
"""
    done = process([sys.executable, "-c", code], cwd)
    assert done.returncode == 0, done.stderr
    for mark in ("%|", "\x1b"):  # a pipe gets neither bars nor colours
        assert mark not in done.stdout + done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def process(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    lines = [["--help"], *([*words, "--help"] for words, _ in commands())]
    assert not loaded_by(lines, tmp_path) & (HEAVY | {"numpy", "pandas", "PIL", "streamlit"})


def test_help_is_one_screen_with_every_command(tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["-h"], terminal_width=80, prog_name="fishline").stdout
    lines = said.splitlines()
    assert len(lines) <= 35
    assert max(map(len, lines)) <= 80
    assert [name for names in SECTIONS.values() for name in names] == main.list_commands(
        click.Context(main)
    )
    assert set(main.list_commands(click.Context(main))) == set(main.commands)
    words = [word.strip(",") for word in said.split()]
    assert all(name in words for name in main.commands)
    assert "0 done, 1 refused or failed, 2 usage" in said


@pytest.mark.parametrize(("words", "command"), [*commands()], ids=str)
def test_every_help_has_examples_that_are_understood(
    words: list[str], command: click.Command
) -> None:
    said = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).stdout
    texts = [line.strip() for line in said.splitlines() if "fishline " in line]
    start = " ".join(["fishline", *words])
    examples = [text for text in texts if text.startswith(start) or "$(" + start in text]
    assert examples
    for example in examples:
        line = example.partition("#")[0].partition(" > ")[0].partition("   ")[0]
        line = line.partition("$(")[2].rstrip(')"') if "$(" in line else line
        arguments = shlex.split(line)[len(start.split()) :]
        context = click.Context(command)
        command.make_parser(context).parse_args(arguments)  # refuses what it does not know


@pytest.mark.parametrize("stage", STAGES)
def test_the_help_of_a_stage_says_what_it_writes(stage: str) -> None:
    described = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    written = [entry for kind in ("outs", "metrics") for entry in described.get(kind, [])]
    paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in written]
    promised = [word.strip(",") for word in STAGES[stage][2].split() if "/" in word]
    for path in paths:
        kept_apart = path.endswith(".run.json")  # goes with the model
        assert kept_apart or any(f"{path}/".startswith(name.rstrip("/")) for name in promised)
    for name in promised:
        assert any(f"{path}/".startswith(name.rstrip("/")) for path in paths)


def test_every_progress_bar_vanishes_in_a_pipe() -> None:
    bars = 0
    for path in (ROOT / "src/fishline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tqdm":
                assert any(word.arg == "disable" for word in node.keywords), path
                bars += 1
    assert bars > 5


def test_stages_that_only_read_images_load_neither_torch_nor_mlflow(project: Path) -> None:
    loaded = loaded_by([["preprocess"], ["split"]], project)
    assert "pandas" in loaded
    assert not loaded & HEAVY
    assert (project / "data/split/base.csv").is_file()


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
        (("name: efficientnet_lite0", "name: 5"), "check", "model.name must be a text"),
        (("", ""), "split", "data/cache/manifest.csv is missing"),
        (("", ""), "explore", "data/cache/manifest.csv is missing"),
        (("", ""), "train-base", "data/cache/manifest.csv is missing"),
        (("", ""), "audit", "data/cache/manifest.csv is missing"),
        (("", ""), "curve", "data/cache/manifest.csv is missing"),
        (("species: [C, D]", "species: []"), "curve", "finetune.species is empty"),
        (("species: [C, D]", "species: [C]"), "check", "finetune.species lists C alone"),
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
    from fishline.models.artifact import ModelConfig, build, save

    params = project / "params.yaml"
    params.write_text(params.read_text().replace("image_size: 128", "image_size: 64"))
    for stage in ("preprocess", "split"):
        assert fishline(stage, cwd=project).exit_code == 0
    third = (0.5, 0.5, 0.5)
    description = ModelConfig("notebook", ("A", "B"), 48, third, third, "grouped")
    save(project / "models/base", build(description), description)
    done = fishline("finetune", cwd=project)
    assert done.exit_code == 1
    assert "trained on images of 48 pixels" in done.stderr
    assert isinstance(done.exception, SystemExit)  # and no other: no traceback
    assert not (project / "mlflow.db").exists()  # found before any run was opened


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("check", 0, ""),
        ("check", 1, "unknown key 'learning_rate'"),
        ("predcit a.jpg", 2, "Did you mean 'predict'?"),
        ("models --jsn", 2, "Did you mean '--json'?"),
        ("promote", 2, "Missing argument 'MODEL'"),
        ("ingest photographs --json", 2, "--json is for --dry-run"),
        ("completion tcsh", 2, "'bash', 'zsh', 'fish'"),
        ("predict --model models/none a.jpg", 1, "no project in "),
    ],
)
def test_exit_codes(project: Path, line: str, code: int, said: str) -> None:
    if code == 1:
        params = project / "params.yaml"
        params.write_text(params.read_text().replace("\nlr: ", "\nlearning_rate: "))
    done = fishline(*line.split(), cwd=project)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


@pytest.mark.parametrize(
    ("line", "said"),
    [(stage, "no params.yaml in ") for stage in STAGES]
    + [
        (line, "no params.yaml in ")
        for line in ("check", "labels", "audit", "curve", "promote fish-base")
    ]
    + [(line, "no params.yaml in ") for line in ("species", "species add A")]
    + [(f"{line} fish-base", "no project in ") for line in ("models", "history", "rollback")]
    + [(f"{line} fish-base/1", "no project in ") for line in ("provenance", "reproduce")]
    + [(line, "no project in ") for line in ("compare a b", "runs a", "predict x")]
    + [("app", "no project in "), ("ingest .", "no DVC project here")],
)
def test_outside_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    done = fishline(*line.split(), cwd=tmp_path)
    assert (done.exit_code, said in done.stderr) == (1, True), done.output
    assert not any(tmp_path.iterdir())  # no store, no lock


def test_in_a_folder_of_the_project_its_root_is_named(project: Path) -> None:
    done = fishline("preprocess", cwd=project / "data/sample")
    assert (done.exit_code, f"root folder is {project}: run" in done.stderr) == (1, True)


def test_the_data_of_a_dry_run_as_json(project: Path, tmp_path: Path) -> None:
    (project / ".dvc").mkdir()
    (project / "data/sample/A GT").mkdir()
    (project / "data/sample/A GT/1.png").touch()
    done = fishline("ingest", "data/sample", "--dry-run", "--json", cwd=project)
    found = json.loads(done.stdout)
    assert found["species"]["A"] == {"new": 5, "there": 0}
    assert [(row["files"], row["example"]) for row in found["left_out"]] == [(1, "A GT/1.png")]
    assert found["new_bytes"] == sum(
        path.stat().st_size for path in (project / "data/sample").glob("[ABCD]/*.png")
    )
    (tmp_path / "empty").mkdir()
    done = fishline("ingest", str(tmp_path / "empty"), "--dry-run", "--json", cwd=project)
    assert (done.exit_code, json.loads(done.stdout)["species"]) == (1, {})


def test_colour_unless_it_is_not_wanted(project: Path) -> None:
    @main.command(hidden=True)
    def paint() -> None:
        click.secho("red", fg="red")

    try:
        for value, colour in (("", True), ("1", False)):  # https://no-color.org: empty is unset
            done = CliRunner(env={"NO_COLOR": value}).invoke(main, ["paint"], color=True)
            assert ("\x1b" in done.stdout) == colour
    finally:
        del main.commands["paint"]


def test_the_shell_completes(tmp_path: Path) -> None:
    code = "from fishline.cli.main import main; main(prog_name='fishline')"
    words = {"COMP_WORDS": "fishline pre", "COMP_CWORD": "1"}
    done = process(
        [sys.executable, "-c", code], tmp_path, _FISHLINE_COMPLETE="bash_complete", **words
    )
    assert done.stdout.split() == ["plain,preprocess", "plain,predict"]
    for shell, mark in (("bash", "complete -o nosort"), ("zsh", "#compdef"), ("fish", "complete ")):
        said = fishline("completion", shell, cwd=tmp_path).stdout
        assert mark in said and "_FISHLINE_COMPLETE" in said


def test_the_shell_is_asked_for_where_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "complete --no-files" in fishline("completion", cwd=tmp_path).stdout
    monkeypatch.setenv("SHELL", "/bin/sh")
    done = fishline("completion", cwd=tmp_path)
    assert (done.exit_code, "name your shell" in done.stderr) == (2, True)


@pytest.mark.parametrize("start", [["-m", "fishline"], [str(ROOT / "src/fishline")]])
def test_other_ways_to_start(tmp_path: Path, start: list[str]) -> None:
    done = process([sys.executable, *start, "--version"], tmp_path)
    assert (done.returncode, "version 0" in done.stdout) == (0, True)


def test_a_reader_that_has_gone_is_no_error_to_talk_about(project: Path) -> None:
    (project / ".dvc").mkdir()
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:  # print, which keeps what it is given until the end
        command = [sys.executable, str(ROOT / "src/fishline"), "ingest", "--dry-run", "data/sample"]
        done = subprocess.run(
            command,
            cwd=project,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_ctrl_c_ends_without_a_traceback(project: Path) -> None:
    (project / "params.yaml").unlink()
    os.mkfifo(project / "params.yaml")
    command = [sys.executable, str(ROOT / "src/fishline"), "check"]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as process:
        with (project / "params.yaml").open("w"):  # waits until it is read
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert (process.returncode, said.strip()) == (1, "Aborted!")
