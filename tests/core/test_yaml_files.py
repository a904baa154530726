"""A list in a YAML file is added to, and all else in it stays as somebody wrote it."""

from pathlib import Path

import pytest

from fishline.core.yaml_files import append, parse_yaml

ROOT = Path(__file__).parents[2]
NEW = ["Atlantic Cod", "it's, so", "001", "no", "- x", "a: b", '"', "#1", "Dorée", "null", " x"]
FORMS = {  # | is where names belong
    "block": "a: 1\nbase:\n  # who\n  species:\n    - A  # 1\n    - 'B'   # 2|\n\n  x: 1.50\n",
    "flush": "base:\n  species:\n  - A\n  - B|",
    "folded": "base:\n  species:\n    - A\n    - B\n      C|\n  x: 1\n",
    "windows": "base:\r\n  species:\r\n    - A # first|\r\n  x: 1\r\n",
    "flow": "base: {species: [A, 'B'|], x: [1, 2]} # all\n",
    "lines": "base:\n  species: [A,\n    B|, # last\n  ]\n  x: 1\n",
    "empty": "base:\n  species: [|]  # none\n  x: 1\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_names_come_behind_the_others_and_nothing_else_changes(form: str) -> None:
    before, after = FORMS[form].split("|")
    expected = parse_yaml(before + after, Path())
    expected["base"]["species"] += NEW
    text = append(before + after, "base", "species", NEW)
    assert parse_yaml(text, Path()) == expected
    assert text.startswith(before) and text.endswith(after)
    assert text.count("\r") == (text.count("\n") if form == "windows" else 0)


def test_names_look_as_a_person_would_write_them() -> None:
    text = (ROOT / "params.yaml").read_text()
    longer = append(text, "base", "species", ["Atlantic Cod", "001"])
    assert '    - Trout\n    - Atlantic Cod\n    - "001"\n  train: auto' in longer
