"""What is answered, species or coarser, and the table that says what belongs where."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fishline.core.errors import UserError
from fishline.core.params import load_params
from fishline.core.paths import TAXONOMY
from fishline.models.artifact import ModelConfig
from fishline.models.taxonomy import choose, read_taxonomy, with_taxonomy

ROOT = Path(__file__).parents[2]
NAMES = ("Red Mullet", "Striped Mullet", "Goatfish", "Bream, red", "Shrimp")
TABLE = """\
species,genus,family,source
Red Mullet,Mullus,Mullidae,
Striped Mullet, Mullus ,Mullidae,"a book, page 3"
Goatfish,Upeneus,Mullidae
"Bream, red",,Sparidae,
Whale,Physeter,,of no model
,,,
,,,
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "taxonomy.csv").write_text(TABLE, encoding="utf-8-sig")
    return tmp_path / "taxonomy.csv"


@pytest.fixture
def mullets(config: ModelConfig, path: Path) -> ModelConfig:
    return with_taxonomy(replace(config, species=NAMES), 0.5, path)


def test_a_species_that_the_table_lacks_belongs_nowhere(mullets: ModelConfig) -> None:
    assert mullets.genera == ("Mullus", "Mullus", "Upeneus", "", "")
    assert mullets.families == ("Mullidae", "Mullidae", "Mullidae", "Sparidae", "")


@pytest.mark.parametrize(
    ("shares", "answer"),
    [
        ([0.5, 0.2, 0.1, 0.1, 0.1], ("Red Mullet", "species", 0.5)),
        ([0.4, 0.2, 0.2, 0.1, 0.1], ("Mullus", "genus", 0.6)),
        ([0.2, 0.25, 0.4, 0.1, 0.05], ("Mullidae", "family", 0.85)),
        ([0.3, 0.1, 0.05, 0.1, 0.45], ("unknown", "unknown", 0.45)),
        ([0.1, 0.1, 0.0, 0.4, 0.4], ("unknown", "unknown", 0.4)),  # one bream is no family
    ],
    ids=str,
)
def test_the_most_specific_that_is_sure_enough(
    mullets: ModelConfig, shares: list[float], answer: tuple[str, str, float]
) -> None:
    said = choose(np.array([shares] * 2), np.array([False, True]), mullets)
    assert (said.names[0], said.ranks[0]) == answer[:2]
    assert said.confidence.tolist() == pytest.approx([answer[2], max(shares)])
    assert (said.names[1], said.ranks[1]) == ("unknown", "unknown")  # too far away


def test_without_a_threshold_or_a_table_there_are_species(config: ModelConfig) -> None:
    shares, near = np.array([[0.4, 0.3, 0.3]]), np.array([False])
    assert choose(shares, near, config).names.tolist() == ["Bream"]
    bare = with_taxonomy(config, 0.5, Path("no such file"))
    assert choose(shares, near, bare).names.tolist() == ["unknown"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species,genus\nA,B\n", r"taxonomy\.csv has no column 'family'; it needs species, genus"),
        ("", r"taxonomy\.csv has no column 'species'"),
        ("species,genus,family\nA,B,C\n\nA,B,C\n", "line 4: A stands there a second time"),
        ("species,genus,family\nA,G,F\nB,G,E\n", "line 3: G is a genus of 'E' here and of 'F'"),
        ("species,genus,family\nA,unknown,F\n", "line 2: leave empty what is not known"),
        ("species,genus,family\nA,G,F,x, y\n", "line 2: more fields than columns; quote"),
        ('species,genus,family\n"A,G,F\n', "cannot be read as CSV: unexpected end of data"),
        ("species,genus,family\nÅ,G,F\n", "cannot be read as CSV: 'utf-8' codec"),
    ],
    ids=str,
)
def test_a_wrong_table_is_a_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "taxonomy.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        read_taxonomy(path)


def test_the_table_of_the_project_is_of_its_species(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    known = read_taxonomy(TAXONOMY)
    assert set(known) == set(load_params().species)
    assert known["Red Mullet"] == {**known["Striped Red Mullet"], "species": "Red Mullet"}
