"""`fishline species`: what it lists, where it adds, and what it refuses."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fishline.cli.main import main
from fishline.core.params import load_params

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, draw_tree: Callable[[Path, Mapping[str, int]], list[str]]) -> Path:
    """The project's own params.yaml, and photographs of Trout and Whiting."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    draw_tree(tmp_path / "data/sample", {"Trout": 2, "Whiting": 3})
    return tmp_path


def species(project: Path, *words: str) -> Result:
    with contextlib.chdir(project):
        return CliRunner().invoke(main, ["species", *words])


def test_each_is_listed_with_its_images_and_folders_without_a_list(project: Path) -> None:
    rows = [line.split() for line in species(project).stdout.splitlines()[2:]]
    assert ["base", "Trout", "2"] in rows
    assert ["finetune", "Sea", "Bass", "no", "folder"] in rows
    assert rows[-1] == ["Whiting", "3"]


@pytest.mark.parametrize(
    ("words", "base", "new"),
    [
        ((), (), ("Whiting", "Atlantic Cod")),
        (("--to", "base"), ("Whiting", "Atlantic Cod"), ()),
    ],
)
def test_names_go_to_the_end_of_a_list(
    project: Path, words: tuple[str, ...], base: tuple[str, ...], new: tuple[str, ...]
) -> None:
    before = load_params(project / "params.yaml")
    said = species(project, "add", "Whiting", "Atlantic Cod", *words).stdout
    after = load_params(project / "params.yaml")
    assert after.base.species == before.base.species + base
    assert after.finetune.species == before.finetune.species + new
    assert "Whiting: 3 images in data/sample/Whiting\n" in said
    assert "Atlantic Cod: no folder data/sample/Atlantic Cod\n" in said
    assert "no images of Black Sea Sprat, " in said and "Next" not in said


def test_where_there_is_one_list_names_go_there(project: Path) -> None:
    params = project / "params.yaml"
    text = params.read_text()
    for name in set(load_params(params).species) - {"Trout", "Shrimp"}:
        text = text.replace(f"    - {name}\n", "")
    params.write_text(text.replace("finetune:\n  species:", "finetune:\n  species: []"))
    (project / "data/sample/Shrimp").symlink_to("Trout")
    said = species(project, "add", "Whiting").stdout
    assert load_params(params).base.species == ("Shrimp", "Trout", "Whiting")
    assert said.endswith("Next: dvc repro\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Whiting", "Trout"), "names Trout already; nothing was added"),
        (("answer",), "finetune.species lists answer, which tables of predictions have"),
        (("Whiting", "Whiting"), "finetune.species lists Whiting more than once"),
        (("Whiting", " "), "would not be valid"),
        (("a\x7f", "--to", "base"), "would not be valid"),
    ],
)
def test_what_would_not_be_valid_leaves_the_file_as_it_was(
    project: Path, words: tuple[str, ...], said: str
) -> None:
    done = species(project, "add", *words)
    assert (done.exit_code, said in done.stderr) == (1, True), done.output
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_a_list_in_a_form_that_is_not_understood_is_left_to_its_author(project: Path) -> None:
    params = project / "params.yaml"
    text = params.read_text().replace("finetune:\n  species:", "finetune:\n  species: !!seq")
    params.write_text(text)
    load_params(params)
    done = species(project, "add", "Whiting")
    assert (done.exit_code, "cannot be added to by a program" in done.stderr) == (1, True)
    assert params.read_text() == text
