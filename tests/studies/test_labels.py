"""`fishline labels`: its table, its pictures, and what it says where there is nothing to ask."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from fishline.core.errors import UserError
from fishline.core.files import read_csv
from fishline.core.params import Data
from fishline.core.yaml_files import read_yaml
from fishline.data.explore.label_errors import COLUMNS
from fishline.stages.preprocess import preprocess
from fishline.studies import labels

ROOT = Path(__file__).parents[2]
SPECIES = ["Dorade, royale", "001", "Bar é", "D"]
BOTH = ("D/both.png", "001/01.png")
Tree = Callable[[Path, Mapping[str, int]], list[str]]


class SpeciesOf:
    """Features that tell the species of each file's folder, or what `shown` says."""

    def __init__(self, cache: Path, shown: Mapping[str, str]) -> None:
        both = pd.concat([read_csv(cache / f"{name}.csv") for name in ("manifest", "rejected")])
        species = both["file"].map(shown).fillna(both["species"])
        self._features = np.zeros((len(both), len(SPECIES)), np.float32)
        self._features[both["index"], species.map(SPECIES.index)] = 1

    def plain(self, rows: np.ndarray) -> np.ndarray:
        return self._features[rows]


def write_params(folder: Path, **model: Any) -> None:
    params = read_yaml(ROOT / "params.yaml")
    params["base"]["species"], params["finetune"]["species"] = SPECIES[:2], SPECIES[2:]
    params["model"] |= model
    (folder / "params.yaml").write_text(json.dumps(params))


@pytest.fixture
def project(tmp_path: Path, draw_tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four species of five photographs, one of them under two; preprocessed, not embedded."""
    draw_tree(tmp_path / "raw", dict.fromkeys(SPECIES, 5))
    with Image.open(tmp_path / "raw" / BOTH[1]) as image:
        ImageOps.mirror(image).save(tmp_path / "raw" / BOTH[0])
    data = Data(dir=str(tmp_path / "raw"), conflicts="drop", personal="drop")
    preprocess(data, SPECIES, 48, tmp_path / "data/cache")
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def embed(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """A function (species by file, where the features tell another one than the folder)."""
    (project / "data/features").mkdir()
    (project / "data/features/made_by.json").write_text("{}")

    def make(shown: Mapping[str, str]) -> None:
        features = SpeciesOf(project / "data/cache", dict.fromkeys(BOTH, "001") | shown)
        monkeypatch.setattr(labels.Features, "open", lambda folder, cache: features)

    return make


def test_the_table_names_what_lies_wrong(
    project: Path,
    embed: Callable[[Mapping[str, str]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    embed({"Bar é/03.png": "Dorade, royale"})
    labels.main(top=1)
    said = capsys.readouterr().out
    assert "1 of 19 photographs lie under a wrong species" in said
    assert "For 2 something speaks against it" in said
    assert "D/both.png" in said and "Bar é/03.png" not in said
    table = read_csv(project / "plots/labels.csv")
    assert list(table) == COLUMNS
    assert table[["file", "species", "suggested", "reason"]].to_numpy().tolist() == [
        ["D/both.png", "D", "001", "duplicate"],
        ["Bar é/03.png", "Bar é", "Dorade, royale", "label"],
    ]
    assert (project / "plots/labels.png").is_file()
    labels.main(top=5, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == table.to_dict("records")
    assert (found["photographs"], found["thought_wrong"], found["doubtful"]) == (19, 1, 2)


def test_without_a_doubt_there_are_no_pictures_left(
    project: Path,
    embed: Callable[[Mapping[str, str]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    embed({})
    (project / "data/cache/rejected.csv").write_text("file,species,index,reason\n")
    (project / "plots").mkdir()
    (project / "plots/labels.png").touch()
    labels.main(top=20)
    assert "For none is another species likelier than its own." in capsys.readouterr().out
    assert read_csv(project / "plots/labels.csv").empty
    assert not (project / "plots/labels.png").exists()


def test_what_is_missing_is_named(project: Path) -> None:
    with pytest.raises(UserError, match=r"made_by\.json is missing; `dvc repro embed`"):
        labels.main(20)
    write_params(project, name="fishline")
    with pytest.raises(UserError, match=r"fishline starts from nothing.* model\.weights"):
        labels.main(20)
    write_params(project)
    manifest = project / "data/cache/manifest.csv"
    read_csv(manifest).query("species != 'D'").to_csv(manifest, index=False)
    with pytest.raises(UserError, match="of other species than params"):
        labels.main(20)
    manifest.unlink()
    with pytest.raises(UserError, match=r"manifest\.csv is missing; `dvc repro preprocess`"):
        labels.main(20)
    assert not (project / "plots").exists()
