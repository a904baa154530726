"""The stages where there is one list of species: one model, and nothing said of another."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from fishline.core.files import read_json
from fishline.serving import log_model
from fishline.stages import embed, evaluate, explore, finetune, preprocess, split, train_base
from fishline.tracking import checkpoints, test_results, versions

ROOT = Path(__file__).parents[2]
CHANGES = {
    r"^  name: efficientnet_lite0": "  name: fishline",
    r"^image_size: \d+": "image_size: 48",
    r"^( *)epochs: \d+": r"\1epochs: 1",
    r"^base:(.|\n)*^finetune:": "base:\n  species: [A, B]\n  train: all\nfinetune:",
    r"^finetune:(.|\n)*  mode:": "finetune:\n  species: []\n  mode:",
}
STALE = ("models/finetuned/model.json", "models/finetuned.run.json", "data/split/finetune.csv")


@pytest.fixture
def project(
    tmp_path: Path,
    store: MlflowClient,
    draw_tree: Callable[[Path, Mapping[str, int]], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Photographs of two species, and what earlier stages left of a fine-tuned model."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    for pattern, tiny in CHANGES.items():
        text = re.sub(pattern, tiny, text, flags=re.MULTILINE)
    Path("params.yaml").write_text(text)
    draw_tree(Path("data/sample"), {"A": 5, "B": 5})
    for name in STALE:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")
    monkeypatch.setattr(checkpoints, "project_root", lambda: tmp_path)
    monkeypatch.setattr(log_model, "log_model", lambda *arguments: "m-1")
    monkeypatch.setattr(versions, "register", lambda *arguments: 1)
    monkeypatch.setattr(test_results, "log_tests", lambda *arguments: True)
    return tmp_path


def test_one_model_is_trained_tested_and_reported(project: Path) -> None:
    for stage in (preprocess, embed, split, explore, train_base, finetune, evaluate):
        stage.main()
    assert [path.name for path in Path("models/finetuned").iterdir()] == ["README.md"]
    assert [path.name for path in Path("data/split").iterdir()] == ["base.csv"]
    assert read_json(Path("models/finetuned.run.json")) == {}
    assert read_json(Path("metrics/finetune.json")) == {}
    for name in ("split", "evaluate", "reliability", "species"):
        assert list(read_json(Path(f"metrics/{name}.json"))) == ["base"]
    for name in ("report.html", "base-card.md", "explore/explore.md"):
        assert "fine-tun" not in Path("plots", name).read_text().lower()


def test_what_dvc_plots_of_no_model_has_columns_and_no_rows(project: Path) -> None:
    finetune.main()
    evaluate._leave_out("finetuned")
    for stem in ("finetune", "finetuned-confusion", "finetuned-one-vs-rest"):
        assert pd.read_csv(f"plots/{stem}.csv").empty
