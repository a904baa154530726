"""fishline against the course notebook's way of working (notebook.py), on the same photographs.

    python benchmarks/training.py [--quick] [--seeds 42 43] [--threads N] [--json PATH]
    python benchmarks/training.py --memory [--json PATH]

Run it in a project folder: its params.yaml says which photographs and how they are trained on. The
folder stays as it is. For each seed (of split and training), in turn: all stages as a user starts
them, from the files to two tested models; then the notebook, on the same split. Every command is a
new process. A stage's seconds are its command's, less those of a process that only imports; of
them, `epochs` are those from the beginning of its MLflow run to the end of its last epoch. `end to
end` is all, with imports; `one more experiment` is `dvc exp run` with another learning rate,
everything included that DVC and MLflow do, and the notebook's two trainings and its test. Peak
memory is that of the largest process. `--quick` (minutes) ends each training of the notebook after
some seconds and scales its time to all its epochs, which leaves it without an accuracy, and trains
no variants.

Then what the training loop costs besides its arithmetic. `--memory` measures what reading takes, by
the number of photographs, and nothing else. See loop.py for both.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from report import Rows, Values, print_table, show, show_loop, summaries, write
from ruamel.yaml import YAML

import fishline
from fishline.core.params import load_params

PACKAGE = Path(fishline.__file__).parent
HERE = Path(__file__).parent
QUICK = 8  # seconds for each training of the notebook
VARIANTS = {  # finetune.train, finetune.mode
    "classifier": ("classifier", "replace"),
    "head": ("head", "replace"),
    "all": ("all", "replace"),
    "extend": ("classifier", "extend"),
}
COUNTS = (5_000, 20_000, 50_000, 200_000)  # photographs; up to 21,845 are kept in memory


def command(*arguments: str | Path, cwd: Path = Path()) -> tuple[float, float]:
    """Run a Python process; its seconds and its peak memory in MiB."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=cwd, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode:
            output.seek(0)
            sys.exit(f"{output.read()}\n{' '.join(map(str, arguments))} failed")
    print(f"{seconds:6.1f} s  {' '.join(map(str, arguments))}", file=sys.stderr, flush=True)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return seconds, usage.ru_maxrss / unit


def answer(*arguments: str | Path, cwd: Path = Path()) -> Any:
    """What a script of this folder writes with --json."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "found.json").resolve()
        command(HERE / arguments[0], "--json", file, *arguments[1:], cwd=cwd)
        return json.loads(file.read_text())


def set_environment(threads: int | None) -> None:
    """For all processes: this package's code, a tracking store in the project folder."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT"):
        os.environ.pop(name, None)
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (PACKAGE.parent, HERE)))
    # The commands of dvc.yaml say `python`.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)


@contextmanager
def project(seed: int) -> Iterator[Path]:
    """A new project folder with this one's parameters and nothing else."""
    data = Path(load_params().data.dir).resolve()
    with tempfile.TemporaryDirectory(prefix="fishline-benchmark-") as temporary:
        folder = Path(temporary)
        (folder / "data").mkdir()
        for file in ("dvc.yaml", "params.yaml", "data/taxonomy.csv"):
            shutil.copy(file, folder / file)
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        (folder / ".dvc").mkdir()
        (folder / ".dvc" / "config").touch()
        set_params(folder, {"seed": seed, "split.seed": seed, "data.dir": str(data)})
        yield folder


def set_params(folder: Path, values: dict[str, Any]) -> None:
    yaml = YAML()
    path = folder / "params.yaml"
    tree = yaml.load(path)
    for key, value in values.items():
        *sections, name = key.split(".")
        section = tree
        for part in sections:
            section = section[part]
        section[name] = value
    yaml.dump(tree, path)


def imports() -> tuple[dict[str, float], float]:
    """Seconds that a stage's process spends on its imports, and the notebook's."""
    modules = {name: f"fishline.stages.{name}" for name in ("preprocess", "split")}
    modules["train-base"] = "fishline.stages.train_base"
    found = {stage: command("-c", f"import {name}")[0] for stage, name in modules.items()}
    others = ("embed", "finetune", "evaluate")
    found |= dict.fromkeys(others, found["train-base"])  # they import the same
    return found, command("-c", "import notebook")[0]


def run_stages(folder: Path, rows: Rows, imported: dict[str, float]) -> float:
    """All stages, as a user runs them. Returns when base training was started, as Unix time."""
    total = peak = 0.0
    params = load_params(folder / "params.yaml")
    names = {
        "preprocess": "ingest",
        "embed": "features",
        "split": "split",
        "train-base": "base training",
        "finetune": f"fine-tuning: {variant_of(params.finetune)}",
        "evaluate": "evaluation",
    }
    for stage, name in names.items():
        began = time.time()
        seconds, memory = command(PACKAGE, stage, cwd=folder)
        total, peak = total + seconds, max(peak, memory)
        rows[f"{name}, s"]["fishline"].append(seconds - imported[stage])
        if stage in ("train-base", "finetune"):
            note_epochs(folder, rows, "base" if stage == "train-base" else "finetuned", name)
        if stage == "train-base":
            started = began
    rows["imports for training, s"]["fishline"].append(imported["train-base"])
    rows["end to end, s"]["fishline"].append(total)
    rows["peak memory, MiB"]["fishline"].append(peak)
    note_accuracies(folder, rows)
    rows["one more experiment, s"]["fishline"].append(one_more_experiment(folder, list(names)))
    return started


def one_more_experiment(folder: Path, stages: list[str]) -> float:
    """`dvc exp run` with another learning rate, as it is once all is stored; its seconds."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "src" / "fishline", ignore=ignored)
    (folder / ".gitignore").write_text("/mlflow.db*\n/mlartifacts\n/.fishline\n")
    command("-m", "dvc", "commit", "--quiet", "--force", *stages, cwd=folder)
    author = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(["git", *author, "commit", "--quiet", "-m", "State"], cwd=folder, check=True)
    return command("-m", "dvc", "exp", "run", "-S", "lr=0.0015", "evaluate", cwd=folder)[0]


def variant_of(finetune: Any) -> str:
    names = {way: name for name, way in VARIANTS.items()}
    return names.get((finetune.train, finetune.mode), f"{finetune.mode} {finetune.train}")


def note_accuracies(folder: Path, rows: Rows, base: bool = True) -> None:
    found = json.loads((folder / "metrics/evaluate.json").read_text())
    name = variant_of(load_params(folder / "params.yaml").finetune)
    if base:
        rows["test accuracy: base"]["fishline"].append(found["base"]["accuracy"])
    rows[f"test accuracy: {name}"]["fishline"].append(found["finetuned"]["accuracy"])


def run_variants(folder: Path, rows: Rows, imported: float) -> None:
    """The other ways to fine-tune the same base model."""
    done = variant_of(load_params(folder / "params.yaml").finetune)
    others = {name: way for name, way in VARIANTS.items() if name != done}
    for name, (train, mode) in others.items():
        set_params(folder, {"finetune.train": train, "finetune.mode": mode})
        seconds, _ = command(PACKAGE, "finetune", cwd=folder)
        rows[f"fine-tuning: {name}, s"]["fishline"].append(seconds - imported)
        note_epochs(folder, rows, "finetuned", f"fine-tuning: {name}")
        command(PACKAGE, "evaluate", cwd=folder)
        note_accuracies(folder, rows, base=False)


def epochs_of(folder: Path, model: str) -> tuple[float, list[tuple[float, float]]]:
    """When a model's run began, when each epoch ended (Unix times); each validation accuracy."""
    run = json.loads((folder / f"models/{model}.run.json").read_text())["run_id"]
    query = "SELECT timestamp, value FROM metrics WHERE run_uuid = ? AND key = 'val_accuracy'"
    with sqlite3.connect(folder / "mlflow.db") as store:
        ends = store.execute(f"{query} ORDER BY step", (run,)).fetchall()
        ((began,),) = store.execute("SELECT start_time FROM runs WHERE run_uuid = ?", (run,))
    return began / 1000, [(moment / 1000, accuracy) for moment, accuracy in ends]


def note_epochs(folder: Path, rows: Rows, model: str, name: str) -> None:
    began, ends = epochs_of(folder, model)
    rows[f"{name}: epochs, s"]["fishline"].append(ends[-1][0] - began)


def run_notebook(folder: Path, rows: Rows, imported: float, seed: int, quick: bool) -> Any:
    limits = ["--seconds", str(QUICK)] if quick else ["--variants"]
    found = answer("notebook.py", "--seed", str(seed), *limits, cwd=folder)
    seconds = found["seconds"]
    names = {"ingest": "ingest", "base": "base training", "evaluate": "evaluation"}
    for name, value in seconds.items():
        row = names.get(name, f"fine-tuning: {name}")
        rows[f"{row}, s"]["notebook"].append(value)
        if name in found["epochs"]:  # the notebook does nothing else
            rows[f"{row}: epochs, s"]["notebook"].append(value)
    rows["imports for training, s"]["notebook"].append(imported)
    whole = ("ingest", "base", "classifier", "evaluate")
    rows["end to end, s"]["notebook"].append(imported + sum(seconds[name] for name in whole))
    again = ("base", "classifier", "evaluate")
    rows["one more experiment, s"]["notebook"].append(sum(seconds[name] for name in again))
    rows["peak memory, MiB"]["notebook"].append(found["peak_mib"])
    if not quick:
        for name, value in found["accuracy"].items():
            rows[f"test accuracy: {name}"]["notebook"].append(value)
    return found


def compare(seeds: list[int], quick: bool) -> tuple[Rows, Any, dict[str, Values]]:
    rows: Rows = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        with project(seed) as folder:
            of_stages, of_notebook = imports()
            started = run_stages(folder, rows, of_stages)
            found = run_notebook(folder, rows, of_notebook, seed, quick)
            if not quick:
                # The notebook validates nothing: this is its last epoch's, computed afterwards.
                goal = found["base_validation_accuracy"]
                _, ends = epochs_of(folder, "base")
                taken = [end - started for end, accuracy in ends if accuracy >= goal]
                row = rows["from the start of base training to the notebook's accuracy, s"]
                row["fishline"] += taken[:1]
                row["notebook"].append(of_notebook + found["seconds"]["base"])
                run_variants(folder, rows, of_stages["finetune"])
            if seed == seeds[-1]:
                limits = ("3", "--seconds", "2", "--images", "512") if quick else ("5",)
                loop = answer("loop.py", "ratios", "--rounds", *limits, cwd=folder)
    return rows, found["epochs"], loop


def measure_memory(path: Path | None) -> None:
    """Memory while photographs are read, by their number."""
    found = {count: answer("loop.py", "reading", str(count)) for count in COUNTS}
    table = [["photographs", "before, MiB", "most, MiB", "of it allocated", "images/s"]]
    for count, values in found.items():
        before, most = values["before"], values["most"]
        numbers = (before["VmRSS"], values["peak"], most["RssAnon"], values["images_per_second"])
        table.append([f"{count:,}", *(f"{number:.0f}" for number in numbers)])
    print_table(table)
    write(path, {"reading": found})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--threads", type=int, help="of torch; all cores, if it is not given")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", action="store_true")
    chosen = parser.parse_args()
    set_environment(chosen.threads)
    if chosen.memory:
        return measure_memory(chosen.json)
    seeds = chosen.seeds or ([42] if chosen.quick else [42, 43])
    rows, epochs, loop = compare(seeds, chosen.quick)
    print(f"Median (lowest–highest) of seeds {', '.join(map(str, seeds))}")
    show(rows, epochs)
    print()
    show_loop(loop)
    found: dict[str, Any] = {"quick": chosen.quick, "seeds": seeds, "notebook_epochs": epochs}
    found["rows"] = {name: summaries(sides) for name, sides in rows.items()}
    found |= {name: summaries(values) for name, values in loop.items()}
    write(chosen.json, found)


if __name__ == "__main__":
    main()
