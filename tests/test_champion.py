"""Compare, promote, ask, serve, reproduce: the README's section, in a tiny clone of its own."""

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from clone import CHAMPION, Clone, free_port, patient_get, readme_commands, stages_run, started

from fishline.predictor import Predictor

COMMANDS = readme_commands(CHAMPION)
SERVE = next(c for c in COMMANDS if c.startswith("mlflow models serve"))
ASK = next(c for c in COMMANDS if "curl " in c)
STAGES = ["sample", "preprocess", "split", "train-base", "finetune", "evaluate"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """Two versions of fish-finetuned; `explore` is left out."""
    made = Clone(tmp_path_factory.mktemp("clone"))
    assert stages_run(made.run("dvc repro evaluate")) == STAGES
    second = made.run("dvc exp run -S finetune.lr=0.001 evaluate")
    assert stages_run(second) == ["finetune", "evaluate"]
    yield made


@pytest.mark.parametrize("model", ["base", "finetuned"])
def test_what_is_served_is_what_was_evaluated(clone: Clone, model: str) -> None:
    """Photograph by photograph: from the files as served, from the cache as evaluated."""
    table = pd.read_csv(clone.folder / f"plots/{model}-predictions.csv")
    predictor = Predictor(clone.folder / "models" / model)
    files = [clone.folder / "data/sample" / file for file in table["file"]]
    answers = list(predictor.predict(files))
    assert [answer.species for answer in answers] == table["answer"].tolist()
    species = list(predictor.description.species)
    served = [[answer.probabilities[name] for name in species] for answer in answers]
    np.testing.assert_allclose(served, table[species], atol=2e-6)
    best = table[species].idxmax(axis=1)
    assert best.tolist() == table["predicted"].tolist()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=pytest.mark.slow if c.startswith("fishline reproduce") else ())
        for c in COMMANDS
        if c not in (SERVE, ASK)
    ],
)
def test_a_command_of_the_readme(clone: Clone, command: str) -> None:
    before = len(clone.runs())
    said = clone.run(command)
    if command.startswith("fishline reproduce"):
        assert stages_run(said) == STAGES
        assert "the same bytes and test metrics" in said
        assert "\nWarning: " not in said
    assert len(clone.runs()) == before


def test_the_champion_is_served_as_the_readme_says(clone: Clone) -> None:
    """After its commands: they promote a version."""
    port = free_port()
    with started(clone, SERVE.replace("5001", str(port))) as server:
        assert patient_get(f"http://127.0.0.1:{port}/ping", server) is not None
        (served,) = json.loads(clone.run(ASK.replace("5001", str(port))))["predictions"]
    said = clone.run("fishline predict --json 'data/sample/Red Mullet/00001.png'")
    asked = json.loads(said)
    assert served["error"] is None
    assert served["species"] == asked["species"]
    assert served["probabilities"] == pytest.approx(asked["probabilities"], abs=1e-6)
