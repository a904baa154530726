"""The page Review: which photographs it shows, in which order, and what a decision writes."""

import io
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from fishline.core.errors import UserError
from fishline.data.decisions import PHOTOGRAPHS, decide, now, read_decisions, standing
from fishline.serving.answer import Answer
from fishline.serving.answer_log.schema import SCHEMA
from fishline.serving.answer_table import schema
from fishline.serving.app import launch
from fishline.serving.app.review import Item, make_decision
from fishline.serving.app.review_sources import (
    LABELS,
    doubtful_labels,
    dropped,
    unsure_answers,
    unsure_logged,
)

ROOT = Path(__file__).parents[3]
RAW, CACHE = Path("data/raw"), Path("data/cache")
SPECIES = ("Bream", "Shrimp", "Trout", "Cod, young")
FILES = [f"Trout/{n}.png" for n in range(3)] + ["Cod, young/3 [é].png"]
RANKS = {"unknown": "unknown", "Carids": "family"}
PAGE = "from fishline.serving.app.review_page import review_page\nreview_page()"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with `FILES`, of which `preprocess` and `fishline labels` have said something."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    params = (ROOT / "params.yaml").read_text().replace("dir: data/sample", "dir: data/raw")
    for names in (SPECIES[:2], SPECIES[2:]):
        params = re.sub(r"species:.*\n(    - .*\n)+", f"species: {list(names)}\n", params, count=1)
    Path("params.yaml").write_text(params)
    for number, name in enumerate(FILES):
        (RAW / name).parent.mkdir(parents=True, exist_ok=True)
        (RAW / name).write_bytes(photograph(number))
    found([[name] for name in FILES])
    label([(name, "Bream", 0.1 * n, 0.9 - 0.1 * n) for n, name in enumerate(FILES)])
    return tmp_path


def photograph(number: int) -> bytes:
    rng, file = np.random.default_rng(number), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def digest(number: int) -> str:
    return sha256(photograph(number)).hexdigest()


def found(photographs: list[list[str]]) -> None:
    """What `preprocess` said of files that show these photographs."""
    rows = [
        (name, name.split("/")[0], sha256((RAW / name).read_bytes()).hexdigest(), names[0])
        for names in photographs
        for name in names
    ]
    CACHE.mkdir(exist_ok=True)
    table = pd.DataFrame(rows, columns=["file", "species", "sha256", "original"])
    table.to_csv(CACHE / "manifest.csv", index=False)
    (CACHE / "rejected.csv").write_text("file,species,sha256,reason\n")


def label(rows: list[tuple[str, str, float, float]], reason: str = "label") -> None:
    names = ["file", "suggested", "probability", "suggested_probability"]
    table = pd.DataFrame(rows, columns=names)
    LABELS.parent.mkdir(exist_ok=True)
    species = table["file"].str.split("/").str[0]
    table.assign(species=species, reason=reason).to_csv(LABELS, index=False)


def answers(rows: Mapping[str, tuple[str, str, float]], parts: int = 2) -> Path:
    """A table of answers: for a file its content's SHA-256, the answer and its probability."""
    folder = Path("answers.parquet")
    folder.mkdir()
    shares = dict.fromkeys(("Bream", "Shrimp", "Eel"), 0.05)
    table = [
        {"file": file, "sha256": sha, "species": species, "probability": share, "model": "fish/1"}
        | {"rank": RANKS.get(species, "species")}
        | shares
        | {"Shrimp": share}
        for file, (sha, species, share) in rows.items()
    ]
    for part in range(parts):
        rows_of_part = pa.Table.from_pylist(table[part::parts], schema(list(shares)))
        pq.write_table(rows_of_part, folder / f"part-{part:06}.parquet")
    return folder


def test_doubtful_labels_come_as_they_are_ranked_and_a_likelier_label_first() -> None:
    (RAW / FILES[1]).write_bytes(b"another photograph by now")
    items = doubtful_labels(RAW, CACHE, SPECIES)
    assert [item.file for item in items] == FILES
    assert [item.content() for item in items] == [
        photograph(n) if n != 1 else None for n in range(4)
    ]
    assert items[0].choices == (
        ("Bream", 0.9),
        ("Trout", 0),
        ("Shrimp", None),
        ("Cod, young", None),
    )
    assert items[3].species == "Cod, young"
    label([(FILES[0], "Bream", 0.8, 0.1)])
    assert doubtful_labels(RAW, CACHE, SPECIES)[0].choices[0] == ("Trout", 0.8)


def test_labels_of_another_cache_are_left_out() -> None:
    label([("Trout/gone.png", "Bream", 0.1, 0.8), (FILES[2], "Bream", 0.1, 0.8)])
    assert [item.file for item in doubtful_labels(RAW, CACHE, SPECIES)] == [FILES[2]]


@pytest.mark.parametrize("file", ["../secret.png", "/etc/secret.png", "Trout/../../x.png", "x.png"])
def test_labels_lead_to_no_file_outside_the_data(file: str) -> None:
    label([(FILES[0], "Bream", 0.1, 0.8), (file, "Bream", 0.1, 0.8)])
    with pytest.raises(UserError, match=f"labels.csv names {file}, which is no photograph below"):
        doubtful_labels(RAW, CACHE, SPECIES)


@pytest.mark.parametrize("reason", ["duplicate", "look-alike", "label"])
def test_why_a_label_is_doubtful(reason: str) -> None:
    LABELS.write_text(
        "file,species,suggested,probability,suggested_probability,reason\n"
        f"Trout/0.png,Trout,Bream,,,{reason}\n"
    )
    (item,) = doubtful_labels(RAW, CACHE, SPECIES)
    assert "**Trout**" in item.why
    assert "**Bream**" in item.why
    assert item.choices[:2] == (("Bream", None), ("Trout", None))


def test_answers_come_with_the_least_sure_first_and_unknown_before_them() -> None:
    sure, unsure, strange = (
        (digest(n), "Shrimp", share) for n, share in enumerate((0.9, 0.4, 0.6))
    )
    table = answers(
        {
            str(RAW / FILES[1]): unsure,
            "sure.png": sure,
            "copy.png": unsure,
            "strange.png": (strange[0], "unknown", 0.6),
            "shrimp.png": (digest(7), "Carids", 0.95),
            "done.png": (digest(3), "Shrimp", 0.1),
        }
    )
    Path("strange.png").write_bytes(photograph(2))
    Path("shrimp.png").write_bytes(photograph(7))
    Path("sure.png").write_bytes(b"another photograph by now")
    items = unsure_answers(table, RAW, SPECIES, lambda sha: None if sha == digest(3) else sha)
    assert [item.file for item in items] == ["strange.png", "shrimp.png", FILES[1], "sure.png"]
    assert [item.species for item in items] == ["", "", "Trout", ""]
    assert [item.content() is None for item in items] == [False, False, False, True]
    assert [name for name, _ in items[0].choices] == ["Shrimp", "Bream", "Trout", "Cod, young"]
    assert "The model does not know it" in items[0].why
    assert items[0].model == "fish/1"


def test_what_is_no_table_of_answers_is_a_message() -> None:
    Path("other.parquet").mkdir()
    pq.write_table(pa.table({"x": [1]}), "other.parquet/part-0.parquet")
    with pytest.raises(UserError, match="other.parquet is no table of answers"):
        unsure_answers(Path("other.parquet"), RAW, SPECIES, str)


def log_answers(rows: list[tuple[str, float, bool]]) -> None:
    """A log whose rows have answer and probability, and whether the photograph was kept."""
    Path("log/_pictures").mkdir(parents=True)
    table = []
    for number, (answer, share, kept) in enumerate(rows):
        name = f"{digest(number)}.png" if kept else ""
        Path("log/_pictures", name or "none").write_bytes(photograph(number))
        row = {"sha256": digest(number), "answer": answer, "model": "fish/1", "picture": name}
        row |= {"rank": RANKS.get(answer, "species"), "probability": share}
        row |= {"probabilities": [("Eel", 0.0), ("Trout", share), ("Bream", 1 - share)]}
        table.append(row | {"time": datetime.now(UTC)})
    pq.write_table(pa.Table.from_pylist(table * 2, SCHEMA), "log/rows.parquet")


def test_unsure_answers_of_the_log_are_those_whose_photograph_was_kept() -> None:
    unknown = "unknown"
    log_answers(
        [("Trout", 0.9, True), (unknown, 0.5, True), (unknown, 0.4, False), ("", 0.6, True)]
    )
    items = unsure_logged("log", SPECIES, lambda sha: None if sha == digest(3) else sha)
    assert [item.content() for item in items] == [photograph(1), photograph(0)]
    assert (items[0].species, items[0].model) == ("", "fish/1")
    assert items[0].choices[:2] == (("Trout", 0.5), ("Bream", 0.5))
    assert "does not know it" in items[0].why


def test_dropped_photographs_come_with_the_least_sure_first() -> None:
    said = [Answer("Trout", 0.9, {"Trout": 0.9, "Bream": 0.1}), Answer(None, None, None, "bad"),
            Answer("unknown", 0.8, {"Trout": 0.2, "Bream": 0.8}, rank="unknown")]  # fmt: skip
    files = [(f"{n}.jpg", digest(n), bytes, answer) for n, answer in enumerate(said)]
    items = dropped(files, "fish/1", SPECIES)
    assert [item.file for item in items] == ["2.jpg", "0.jpg"]
    assert items[0].choices[0] == ("Bream", 0.8)


@pytest.mark.parametrize(
    ("lies", "says", "kind"),
    [
        ("Trout", "Trout", "confirm"),
        ("Trout", "Bream", "correct"),
        ("Trout", "", "none"),
        ("", "Bream", "confirm"),
        ("", "Trout", "correct"),
    ],
)
@pytest.mark.parametrize("name", ["a.PNG", "no ending", "a.docx"])
def test_what_a_decision_says(lies: str, says: str, kind: str, name: str) -> None:
    item = Item(name, digest(0), lies, (("Bream", 0.7), ("Trout", 0.3)), "", "fish/1", bytes)
    row = make_decision(item, photograph(0), says, "Ann")
    file = name if lies else digest(0) + ".png"
    assert (row.file, row.before, row.decision, row.after) == (file, lies, kind, says)
    assert (row.reviewer, row.model, row.time <= now()) == ("Ann", "fish/1", True)


@pytest.fixture
def page() -> AppTest:
    st.cache_resource.clear()
    opened = AppTest.from_string(PAGE, default_timeout=60).run()
    opened.text_input(key="reviewer").set_value(" Ann  A. ")
    return opened.run()


def press(page: AppTest, label: str) -> AppTest:
    """Press a button by the beginning of its label."""
    next(button for button in page.button if button.label.startswith(label)).click()
    page.run()
    assert not page.exception
    return page


def shows(page: AppTest) -> str:
    return str(page.markdown[0].value).partition("  \n")[0].strip("*")


def decided() -> list[tuple[str, str, str]]:
    return [(row.reviewer, row.file, row.after) for row in standing(read_decisions()).values()]


def test_photographs_are_put_right_one_after_the_other(page: AppTest) -> None:
    assert [shows(page), shows(press(page, "Bream")), shows(press(page, "Skip"))] == FILES[:3]
    assert shows(press(page, "None of these")) == r"Cod, young/3 \[é\].png"
    press(page, "Cod, young · 30.0 %")
    assert "All of these have been looked at." in page.info[0].value
    assert decided() == [
        ("Ann A.", FILES[0], "Bream"),
        ("Ann A.", FILES[2], ""),
        ("Ann A.", FILES[3], "Cod, young"),
    ]
    press(page, "Undo")
    assert shows(press(page, "Undo")) == FILES[2]
    assert decided() == [("Ann A.", FILES[0], "Bream")]
    page.toggle[0].set_value(True)
    assert shows(page.run()) == FILES[0]
    assert "Ann A. decided on" in page.info[0].value
    press(page, "Trout")
    assert decided() == [("Ann A.", FILES[0], "Trout")]


def test_who_was_quicker_is_said_and_stays(page: AppTest) -> None:
    (first, *_) = doubtful_labels(RAW, CACHE, SPECIES)
    decide(make_decision(first, photograph(0), "Shrimp", "Bob"), None)
    press(page, "Bream")
    assert "Bob was quicker with Trout/0.png: **Shrimp**" in page.warning[0].value
    assert (decided(), shows(page)) == ([("Bob", FILES[0], "Shrimp")], FILES[1])


def test_a_photograph_is_asked_about_once_whatever_its_files(page: AppTest) -> None:
    found([FILES[:3], FILES[3:]])
    page.run()
    assert "3 files show this photograph" in page.caption[0].value
    assert shows(press(page, "Bream")) == r"Cod, young/3 \[é\].png"


def test_nobody_decides_nothing(page: AppTest) -> None:
    page.text_input(key="reviewer").set_value(" =")
    page.run()
    assert all(button.disabled for button in page.button if button.label != "Skip")


def test_choices_are_in_order_where_they_stand_below_each_other(page: AppTest) -> None:
    page.run()
    keys = [str(button.key).partition("-")[0] for button in page.button]
    assert keys[:6] == ["1", "2", "3", "4", "N", "skip"]


def test_without_labels_the_page_says_what_to_run(page: AppTest) -> None:
    LABELS.unlink()
    page.run()
    assert page.error[0].value == "plots/labels.csv is missing: \\`fishline labels\\` makes it"


def test_a_table_of_answers_is_chosen_from_those_of_the_project(page: AppTest) -> None:
    page.segmented_control[0].set_value("Unsure answers")
    page.run()
    assert "There is no table of answers" in page.error[0].value
    answers({str(RAW / FILES[n]): (digest(n), "Shrimp", 0.9 - n / 10) for n in range(3)})
    assert shows(page.run()) == FILES[2]
    assert shows(press(page, "Shrimp · 70.0 %")) == FILES[1]
    assert decided() == [("Ann A.", FILES[2], "Shrimp")]
    assert read_decisions()[-1].model == "fish/1"


def test_a_photograph_that_the_log_kept_is_put_right(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHLINE_LOG", "log")
    log_answers([("unknown", 0.5, True)])
    page.segmented_control[0].set_value("Unsure answers")
    page.run()
    press(page, "Trout · 50.0 %")
    assert decided() == [("Ann A.", f"{digest(0)}.png", "Trout")]
    assert (PHOTOGRAPHS / f"{digest(0)}.png").read_bytes() == photograph(0)


def test_a_dropped_photograph_is_kept_once_it_is_decided_on(
    page: AppTest, make_model: Callable[..., Path]
) -> None:
    make_model(Path("models/finetuned"))
    page.segmented_control[0].set_value("New photographs")
    page.run()
    page.file_uploader[0].set_value([("catch.JPG", photograph(9), "image/jpeg")])
    page.run()
    assert not PHOTOGRAPHS.exists()
    press(page, "None of these")
    assert not PHOTOGRAPHS.exists()
    press(press(page, "Undo"), "Cod, young")
    kept = PHOTOGRAPHS / f"{digest(9)}.jpg"
    assert kept.read_bytes() == photograph(9)
    row = read_decisions()[-1]
    assert (row.file, row.model, row.before) == (kept.name, "models/finetuned", "")


def test_the_page_is_there_for_a_project_alone() -> None:
    page = AppTest.from_file(launch.SCRIPT, default_timeout=60).run()
    assert not page.exception
    assert {info["url_pathname"] for info in page._registered_pages.values()} == {"", "review"}
