"""Optuna proposes parameters, `dvc exp run` tries them: a sweep that learns from its own results.

    pip install optuna
    python examples/optuna_sweep.py --trials 20

In the project's environment, from the project's folder, with everything committed. Each trial is a
DVC experiment named optuna-N and two MLflow runs, like any other; `dvc exp show` lists them. Ctrl-C
stops; the same command goes on with the next trial. Delete .fishline/optuna.db, and the
experiments with `dvc exp remove`, to begin anew.

What is made large is the accuracy on the *validation* images. Whoever chooses among many trials by
their test accuracy has fitted them to the test images, and the winner's test accuracy is then too
good by as much as it was lucky. The test images answer once, for the trial that was chosen.
"""

import argparse
import subprocess
from pathlib import Path

import dvc.api
import optuna

# The base model does not depend on these: DVC trains it once for all trials.
METRICS = "metrics/finetune.json"


def parameters(trial: optuna.Trial) -> dict[str, object]:
    """What a trial changes in params.yaml, and within which bounds."""
    return {
        "finetune.lr": trial.suggest_float("finetune.lr", 3e-4, 1e-2, log=True),
        "finetune.weight_decay": trial.suggest_float("finetune.weight_decay", 0.1, 10, log=True),
        "finetune.train": trial.suggest_categorical("finetune.train", ["head", "classifier"]),
    }


def objective(trial: optuna.Trial) -> float:
    """Run one experiment in a workspace of its own; its validation accuracy, 0 to 1."""
    name = f"optuna-{trial.number}"
    changes = [f"--set-param={key}={value}" for key, value in parameters(trial).items()]
    subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *changes], check=True)
    return float(dvc.api.metrics_show(METRICS, rev=name)["val_accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Optuna drives `dvc exp run`.")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first proposals")
    given = parser.parse_args()
    Path(".fishline").mkdir(exist_ok=True)
    study = optuna.create_study(
        study_name="finetune",
        storage="sqlite:///.fishline/optuna.db",
        sampler=optuna.samplers.TPESampler(seed=given.seed),
        direction="maximize",
        load_if_exists=True,
    )
    # An experiment that fails costs its trial, not the study.
    study.optimize(objective, n_trials=given.trials, catch=subprocess.CalledProcessError)
    best = study.best_trial
    print(f"optuna-{best.number}: validation accuracy {best.value:.3f} with {best.params}")
    print(f"`dvc exp apply optuna-{best.number}` brings it into the workspace.")


if __name__ == "__main__":
    main()
