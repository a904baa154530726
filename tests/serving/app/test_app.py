"""The page on which photographs are dropped: what it says, and the command that serves it."""

import csv
import io
import os
import re
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
import streamlit.web.cli
from click.testing import CliRunner, Result
from clone import free_port
from PIL import Image
from streamlit.testing.v1 import AppTest

from fishline.cli.main import main
from fishline.core.errors import UserError
from fishline.models.artifact import ModelConfig
from fishline.serving.answer import Answer
from fishline.serving.app import answers as app_answers
from fishline.serving.app import launch, models
from fishline.serving.app import page as app_page
from fishline.serving.app import views as app_views
from fishline.serving.app.answers import (
    Model,
    agreement,
    difference,
    explain,
    percent,
    picture,
    places,
)
from fishline.serving.app.models import Choice
from fishline.serving.predictor import Predictor
from fishline.tracking import versions as tracking_versions
from fishline.tracking.versions import Version

Make = Callable[..., Path]
CREATED = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def photograph(number: int = 0, form: str = "PNG") -> bytes:
    rng, file = np.random.default_rng(number), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(file, form)
    return file.getvalue()


def blank(*size: int) -> bytes:
    """A photograph that is quickly made, however large."""
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    return file.getvalue()


def answer(species: str | None, **shares: float) -> Answer:
    rank = "species" if species in shares else "unknown" if species == "unknown" else "genus"
    return Answer(species, max(shares.values()), shares, rank=rank)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (1e-5, "< 0.1 %"), (0.5, "50.0 %"), (0.9996, "> 99.9 %"), (1, "100.0 %")],
)
def test_only_what_is_certain_is_called_so(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a letter", "This is no photograph that can be read. JPEG,"),
        (b"", "This is no photograph that can be read. JPEG,"),
        (photograph(form="JPEG")[:900], "The file is damaged"),
        (photograph()[:5000], "The file is damaged"),
        (blank(66_000, 1), "The picture is too large: 66000 × 1 pixels: no side may"),
        (blank(9500, 9500), "The picture is too large: 90250000 pixels is over"),
    ],
)
def test_what_is_no_photograph_gets_a_sentence(
    make_model: Make, tmp_path: Path, content: bytes, sentence: str
) -> None:
    (said,) = Model(Predictor(make_model(tmp_path))).ask([content])
    assert explain(said.error or "").startswith(sentence)


def test_an_error_that_nobody_foresaw_is_told_as_it_is() -> None:
    assert explain("gone") == "The file could not be read: gone."
    assert explain(app_answers.too_many(3).error or "").startswith("not looked at: 3 photographs")


@pytest.mark.parametrize(
    ("size", "turned", "shape"),
    [((80, 60), 1, (480, 640)), ((80, 60), 6, (640, 480)), ((4000, 2), 1, (1, 640))],
)
def test_a_picture_has_its_photographs_proportions(
    size: tuple[int, int], turned: int, shape: tuple[int, int]
) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = turned
    Image.new("RGB", size, "red").save(file, "JPEG", exif=exif)
    assert picture(file.getvalue()).shape == (*shape, 3)


def test_heat_lies_over_the_picture(make_model: Make, tmp_path: Path) -> None:
    model = Model(Predictor(make_model(tmp_path)))
    views = [model.view(photograph(1), species) for species in model.config.species]
    for view in views:
        assert view.picture.shape == view.heat.shape == (480, 640, 3)
        assert (view.maps.shape, view.maps.min() >= 0, view.maps.max() <= 1) == ((480, 640), 1, 1)
        cold = view.maps < 1e-4
        np.testing.assert_allclose(view.heat[cold], view.picture[cold], atol=2)
    hot = max(views, key=lambda view: view.maps.max())
    assert hot.maps.max() > 0.5
    assert (hot.heat != hot.picture).any()


def test_visitors_do_not_disturb_each_other(make_model: Make, tmp_path: Path) -> None:
    model = Model(Predictor(make_model(tmp_path)))
    contents = [photograph(number) for number in range(8)]

    def one(content: bytes) -> tuple[Answer, Any]:
        (said,) = model.ask([content])
        return said, model.view(content, "Trout").maps

    alone = [one(content) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(one, contents * 4))
    for (said, maps), (answer, others) in zip(alone * 4, together, strict=True):
        assert answer == said
        np.testing.assert_array_equal(maps, others)


A, B = "fish-a/1", "fish-b/2"


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (
            answer("Cod", Cod=0.9, Ling=0.1),
            answer("Cod", Cod=0.6, Ling=0.4),
            "Both models say **Cod**. "
            f"They are furthest apart on Cod: 90.0 % by {A}, 60.0 % by {B}.",
        ),
        (
            answer("Cod", Cod=0.9, Ling=0.1),
            answer("Cod", Cod=0.9, Ling=0.1),
            "Both models say **Cod**. Their probabilities are nearly the same.",
        ),
        (
            answer("Cod", Cod=0.9, Ling=0.1),
            answer("unknown", Cod=0.2, Ling=0.7),
            f"The models differ: {A} says **Cod**, {B} says **unknown**. "
            f"They are furthest apart on Cod: 90.0 % by {A}, 20.0 % by {B}.",
        ),
        (
            answer("Cod", Cod=0.9, Ling=0.1),
            answer("Gadus", Cod=0.4, Ling=0.2),
            f"The models differ: {A} says **Cod**, {B} says **Gadus**. "
            f"They are furthest apart on Cod: 90.0 % by {A}, 40.0 % by {B}.",
        ),
        (
            answer("Cod", Cod=0.9),
            answer("Hake", Hake=0.7),
            f"The models differ: {A} says **Cod**, {B} says **Hake**. {A} does not know Hake. "
            f"{B} does not know Cod. They have no species in common.",
        ),
    ],
)
def test_where_two_models_differ(first: Answer, second: Answer, sentence: str) -> None:
    assert difference(first, second, (A, B)) == sentence


def test_where_two_models_looked() -> None:
    left, right = np.zeros((2, 4, 6), np.float32)
    left[:, :3], right[:, 3:] = 1, 1
    both = np.ones((4, 6), np.float32)
    said = [places(*maps) for maps in ((left, left), (left, both), (left, right))]
    where = [re.sub("They looked at (.*) places.", r"\1", text) for text in said]
    assert where == ["much the same", "partly the same", "different"]


def test_on_how_many_photographs_two_models_agree() -> None:
    cod, ling, broken = answer("Cod", Cod=1), answer("Ling", Ling=1), Answer(None, None, None, "x")
    said = agreement([cod, cod, broken], [cod, ling, broken])
    assert said == "The two models say the same of 1 of 2 photographs."


def version(name: str, number: int, *aliases: str, **metrics: float) -> Version:
    tags = {"git.commit": "0123456789", "git.dirty": "true", "data.hash": "abc"}
    run_id = f"{name[-4:]}{number}".encode().hex()
    return Version(
        name, number, run_id, aliases, {**tags, "split.strategy": "random"}, CREATED, metrics, {}
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing in it but what says that it is a project."""
    (tmp_path / ".dvc").mkdir()
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(project: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """Versions, which the test may change."""
    found = [
        version("fish-base", 1, "champion"),
        version("fish-finetuned", 3),
        version("fish-finetuned", 2, "champion", test_accuracy=0.9),
    ]
    (project / "mlflow.db").touch()

    def find(name: str) -> Version:
        return next(each for each in found if str(each) == name)

    def fetch(wanted: Version, folder: Path) -> Path:
        return make_model(folder / str(wanted), seed=wanted.number)

    def versions(name: str) -> list[Version]:
        return [each for each in found if each.name == name]

    for function in (find, fetch, versions):
        monkeypatch.setattr(tracking_versions, function.__name__, function)
    return found


def test_champions_come_first(store: list[Version]) -> None:
    labels = [choice.label for choice in models.registered()]
    champions = ["fish-finetuned/2 (champion)", "fish-base/1 (champion)"]
    assert labels == [*champions, "fish-finetuned/3"]
    store[:] = [replace(each, aliases=()) for each in store]
    first, *_ = models.registered()
    assert first.label == "fish-finetuned/3"
    second, *_ = models.others(first, models.registered())
    assert second.label == "fish-finetuned/2"


def test_what_is_known_of_a_model(config: ModelConfig) -> None:
    metrics = {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95, "images": 40,
               "photographs": 12, "others_told_unknown": 0.25}  # fmt: skip
    full = version("fish-base", 3, "champion", **{f"test_{k}": v for k, v in metrics.items()})
    said = models.about(Choice("fish-base/3", "", full), config)
    assert said == {
        "Model": "fish-base/3 (champion)",
        "Species it knows": "Bream, Shrimp, Trout",
        "Accuracy": "right on 90.0 % of the test images (40, made of 12 photographs); "
        "95 % interval 80.0 % to 95.0 %",
        "Fish of other species": "of test images of species that it does not know, 25.0 % are "
        "called unknown",
        "Test and training data": "by single images: with copies in training, the accuracy "
        "promises too much",
        "Trained": "2026-01-02 03:04:00 UTC",
        "MLflow run": full.run_id,
        "Git commit": "0123456789, with changes beyond it",
        "Data (hash)": "abc",
    }
    bare = models.about(Choice("fish-base/1", "", version("fish-base", 1)), config)
    assert bare["Accuracy"] == "not tested yet; `dvc repro evaluate` does"


def test_a_folder_trained_anew_is_another_choice(project: Path, make_model: Make) -> None:
    assert models.folders() == []
    make_model(project / "models/finetuned")
    (project / "models/finetuned.run.json").write_text('{"run_id": "r1"}')
    (first,) = models.folders()
    os.utime(project / "models/finetuned/model.json", (1, 1))
    (second,) = models.folders()
    assert (first.name, first.state != second.state) == ("models/finetuned", True)
    described = Predictor(Path("models/finetuned")).model.config
    assert models.about(first, described)["MLflow run"] == "r1"


@pytest.fixture
def page() -> AppTest:
    st.cache_resource.clear()
    return AppTest.from_file(launch.SCRIPT, default_timeout=60)


def texts(page: AppTest, *kinds: str) -> str:
    """What a page shows; fails if it ended with an exception."""
    assert not page.exception
    return "\n".join(str(each.value) for kind in kinds for each in page.get(kind))


def drop(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    page.run()
    page.file_uploader[0].set_value([(*file, "application/octet-stream") for file in files])
    return page.run()


def test_without_a_model_the_page_says_what_to_do(project: Path, page: AppTest) -> None:
    page.run()
    assert "`dvc repro` in the project's folder" in texts(page, "error")
    assert not page.file_uploader
    assert list(project.iterdir()) == [project / ".dvc"]


def test_a_photograph(store: list[Version], page: AppTest) -> None:
    drop(page, ("a [fish].png", photograph()))
    species, share = re.findall(r"### (\w+)\nProbability (\d+\.\d %)", texts(page, "info"))[0]
    assert species in ("Bream", "Shrimp", "Trout")
    bars = [each.proto.text for each in page.get("progress")]
    assert (bars[0], len(bars)) == (f"{species}: {share}", 3)
    assert r"#### a \[fish\].png" in texts(page, "markdown")
    assert "right on 90.0 % of the test images" in texts(page, "markdown")
    assert "fish-finetuned/2 knows Bream, Shrimp, Trout" in texts(page, "caption")
    assert len(page.image) == 2
    assert not page.dataframe


def test_an_unknown_photograph(project: Path, page: AppTest, make_model: Make) -> None:
    make_model(project / "models/finetuned", recall=0.01)
    drop(page, ("fish.png", photograph()))
    assert "### Unknown\nLikeliest of what the model knows: " in texts(page, "warning")
    assert app_answers.UNKNOWN_MEANS in texts(page, "markdown")
    assert "unknown" not in texts(page, "info")


def test_an_unsure_photograph(project: Path, page: AppTest, make_model: Make) -> None:
    make_model(project / "models/finetuned", genera=("G", "", "G"), confidence_threshold=0.6)
    drop(page, ("fish.png", photograph()))
    said = texts(page, "info")
    assert re.match(r"### G\nThe genus, with probability \d+\.\d %; no species is likely", said)
    assert re.search(r"The likeliest: \w+, \d+\.\d %", said)


def test_answers_among_what_there_can_be(store: list[Version], page: AppTest) -> None:
    drop(page, ("fish.png", photograph()))
    said = texts(page, "info")
    other = next(name for name in ("Bream", "Shrimp") if f"### {name}" not in said)
    page.multiselect[0].select(other)
    page.run()
    assert texts(page, "info") == f"### {other}\nProbability 100.0 %"
    assert other in page.session_state["views"].popitem()[0]  # what speaks for it is shown
    page.multiselect[0].unselect(other)
    page.run()
    assert texts(page, "info") == said


def test_two_models_side_by_side(store: list[Version], page: AppTest) -> None:
    page.run().toggle[0].set_value(True)
    drop(page, ("fish.png", photograph()))
    assert [box.value.label for box in page.selectbox] == [
        "fish-finetuned/2 (champion)",
        "fish-finetuned/3",
    ]
    said = texts(page, "markdown")
    assert re.search(r"(Both models say|The models differ: ).* by fish-finetuned/3\.", said)
    assert re.search(r"They looked at .* places\.", said)
    assert (len(page.image), len(page.get("progress"))) == (3, 6)


def test_a_batch_with_files_that_are_no_photographs(
    project: Path, make_model: Make, page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(project / "models/finetuned")
    monkeypatch.setattr(app_views, "SHOWN", 2)
    good = [(f"{n}.png", photograph(n)) for n in range(3)]
    drop(page, good[0], ("notes.docx", b"PK"), good[1], ("cut.png", photograph()[:2000]), good[2])
    said = texts(page, "error")
    assert "2 files of 5 left out; all others were looked at." in said
    assert "**notes.docx**: This is no photograph" in said
    assert "**cut.png**: The file is damaged" in said
    table = page.dataframe[0].value
    assert table["file"].tolist() == ["0.png", "notes.docx", "1.png", "cut.png", "2.png"]
    np.testing.assert_allclose(table[["Bream", "Shrimp", "Trout"]].dropna().sum(axis=1), 100)
    box = page.selectbox[1]
    assert [option.split(" (")[0] for option in box.options] == ["1: 0.png", "3: 1.png", "5: 2.png"]
    box.set_value(4)
    page.run()
    assert "#### 2.png" in texts(page, "markdown")


def test_files_beyond_the_limit_are_named(
    project: Path, make_model: Make, page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(project / "models/finetuned")
    monkeypatch.setattr(app_page, "MOST", 2)
    drop(page, *((f"{n}.png", photograph(n)) for n in range(3)))
    assert "**2.png**: not looked at: 2 photographs at a time" in texts(page, "error")
    assert page.dataframe[0].value["species"].notna().tolist() == [True, True, False]


def test_a_photograph_is_asked_about_once(
    store: list[Version], page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    ask = Model.ask

    def count(model: Model, *arguments: Any) -> list[Answer]:
        answers = ask(model, *arguments)
        asked.append(len(answers))
        return answers

    monkeypatch.setattr(Model, "ask", count)
    drop(page, ("1.png", photograph(1)), ("2.png", photograph(2)))
    page.run()
    page.selectbox[0].select_index(1)
    page.run()
    page.selectbox[0].select_index(0)
    page.run()
    assert asked == [2, 2]


def test_a_promotion_is_seen_when_the_page_is_loaded_again(
    store: list[Version], page: AppTest
) -> None:
    page.run()
    store[:] = [replace(e, aliases=("champion",) if e.number == 3 else ()) for e in store]
    first = [
        each.run().selectbox[0].value.label for each in (page, AppTest.from_file(launch.SCRIPT))
    ]
    assert first == ["fish-finetuned/2 (champion)", "fish-finetuned/3 (champion)"]


def test_a_store_out_of_reach_leaves_the_folders(
    store: list[Version],
    project: Path,
    make_model: Make,
    page: AppTest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(name: str) -> list[Version]:
        raise UserError("the store cannot be reached")

    monkeypatch.setattr(tracking_versions, "versions", unreachable)
    make_model(project / "models/base")
    page.run()
    assert texts(page, "warning") == "the store cannot be reached"
    assert page.selectbox[0].value.label == "models/base (not registered)"


def test_a_model_whose_files_are_gone_is_a_message(
    store: list[Version], page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(wanted: Version, folder: Path) -> Path:
        raise UserError(f"the files of {wanted} are gone")

    monkeypatch.setattr(tracking_versions, "fetch", gone)
    page.run()
    said = texts(page, "error")
    assert said == "the files of fish-finetuned/2 are gone Choose another model."


def test_the_table_is_that_of_predict(project: Path, make_model: Make) -> None:
    make_model(project / "model")
    files = {"a,b.png": photograph(1), "bad.png": b"bad"}
    for name, content in files.items():
        Path(name).write_bytes(content)
    printed = CliRunner().invoke(main, ["predict", "--csv", "--model", "model", *files]).stdout
    model = Model(Predictor(Path("model")))
    answers = zip(files, model.ask(files.values()), strict=True)
    rows = [
        list(csv.reader(io.StringIO(text)))
        for text in (printed, app_answers.as_csv(answers, model.config.species))
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3


@pytest.fixture
def served(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What Streamlit is started with, which here ends at once."""
    calls: list[list[str]] = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(streamlit.web.cli, "main", lambda words, **_: calls.append(words))
    return calls


def start(*words: str) -> Result:
    return CliRunner().invoke(main, ["app", *words])


def test_the_page_is_served_to_this_machine_alone(served: list[list[str]]) -> None:
    port = free_port()
    done = start("--port", str(port), "--max-upload-mb", "7")
    assert done.output == f"The page is at http://127.0.0.1:{port}; Ctrl-C ends it.\n"
    options = ["address=127.0.0.1", f"port={port}", "maxUploadSize=7"]
    assert served == [["run", str(launch.SCRIPT), *(f"--server.{each}" for each in options)]]
    assert os.environ["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] == "false"
    assert "localhost" in os.environ["STREAMLIT_SERVER_ALLOWED_HOSTS"]


def test_serving_to_others_is_warned_of(served: list[list[str]]) -> None:
    done = start("--host", "0.0.0.0", "--port", str(free_port()))
    assert "it has no log-in" in done.stderr
    assert "http://localhost:" in done.stdout
    assert (len(served), "STREAMLIT_SERVER_ALLOWED_HOSTS" in os.environ) == (1, False)


def test_an_address_that_cannot_be_had(served: list[list[str]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = start("--port", str(port))
    assert f"127.0.0.1 port {port} cannot be had: Address already in use" in done.output
    assert (done.exit_code, served) == (1, [])
    assert "cannot be had" in start("--host", "no such name.invalid").output


def test_without_streamlit_the_command_says_how_to_get_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "streamlit.web.cli", None)
    done = start()
    assert "pip install -e '.[app]'" in done.output
    assert (done.exit_code, "Traceback" in done.output) == (1, False)


@pytest.mark.parametrize(
    ("keep", "said"), [("", "none is kept"), ("unsure", "keeps those"), ("all", "keeps all")]
)
def test_visitors_are_told_whether_their_photographs_are_kept(
    monkeypatch: pytest.MonkeyPatch, keep: str, said: str
) -> None:
    monkeypatch.setenv("FISHLINE_LOG_PICTURES", keep)
    monkeypatch.setenv("FISHLINE_LOG", "")
    assert "none is kept" in app_page.where_they_go()
    monkeypatch.setenv("FISHLINE_LOG", "log")
    assert said in app_page.where_they_go()
