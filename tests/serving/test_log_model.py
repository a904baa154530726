"""What is registered, as MLflow serves it: logged once, loaded where the project is not."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import uvicorn
from mlflow.pyfunc.scoring_server import init as scoring_app
from PIL import Image

from fishline.models.trained_model import TrainedModel
from fishline.serving import log_model
from fishline.serving.answer_log.reader import read_log
from fishline.serving.predictor import Predictor
from fishline.tracking import store, versions


@pytest.fixture(scope="module")
def version(
    store_root: Path,
    make_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> versions.Version:
    folder = make_model(tmp_path_factory.mktemp("models") / "base")
    model = TrainedModel.load(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(store_root))
        answers = tmp_path_factory.mktemp("answers") / "none"
        patch.setenv("FISHLINE_LOG", str(answers))
        store.connect()
        with mlflow.start_run() as run:
            logged = (run.info.run_id, model, pixels, folder, {"lr": 0.1}, {"run": run.info.run_id})
            model_id = log_model.log_model(*logged)
            assert log_model.log_model(*logged) == model_id  # as a run that is continued does
        assert os.environ["FISHLINE_LOG"] == str(answers) and not answers.exists()
        number = versions.register("base", run.info.run_id, model_id, {"data.hash": "abc"})
        again = versions.register("base", run.info.run_id, model_id, {})
        assert again == number  # asked twice, made once
        return versions.find(f"fish-base/{number}")


@pytest.fixture(scope="module")
def folder(version: versions.Version, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registered model's files."""
    return versions.fetch(version, tmp_path_factory.mktemp("fetched")).parents[1]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    files = [tmp_path_factory.mktemp("photos") / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    return files


def test_it_says_what_it_is(version: versions.Version, folder: Path) -> None:
    assert version.tags == {"data.hash": "abc", "run_id": version.run_id}
    info = mlflow.models.get_model_info(str(folder))
    assert info.metadata == {"species": ["Bream", "Shrimp", "Trout"], "image_size": 48}
    assert [column.name for column in info.signature.inputs] == ["photograph"]
    outputs = ["species", "probability", "probabilities", "error", "rank"]
    assert [column.name for column in info.signature.outputs] == outputs
    assert [param.name for param in info.signature.params] == ["only", "place"]


def test_no_pickle_and_pinned_requirements(folder: Path) -> None:
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not [n for n in names if n.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines)
    assert {line.split("==")[0] for line in lines} == set(log_model.REQUIREMENTS)


def test_it_needs_what_it_pins_and_no_more(folder: Path) -> None:
    """It loads and answers in a process that has neither the project nor anything else of it."""
    code = (
        "import sys, mlflow, json; m = mlflow.pyfunc.load_model(sys.argv[1]); import fishline;"
        "r = json.load(open(sys.argv[1] + '/serving_input_example.json'))['dataframe_split'];"
        "import pandas; print(m.predict(pandas.DataFrame(**r))['species'][0]);"
        "print(fishline.__file__);"
        "print(*{'dvc', 'torch', 'safetensors', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:fishline", "-c", code, str(folder)],
        env=clean, cwd=folder.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    species, source, unwanted = done.stdout.splitlines()
    assert species in ("Bream", "Shrimp", "Trout")
    assert Path(source).is_relative_to(folder)
    assert unwanted == ""


def test_it_answers_as_the_predictor_does(
    folder: Path, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHLINE_SERVE_PATHS", "true")
    served = mlflow.pyfunc.load_model(str(folder))
    content = [photographs[0].read_bytes(), str(photographs[1]), photographs[2].read_bytes()]
    found = served.predict(pd.DataFrame({"photograph": content}))
    expected = list(Predictor(folder / "artifacts/base").predict(photographs))  # by torch
    assert found["species"].tolist() == [answer.species for answer in expected]
    for row, answer in zip(found["probabilities"], expected, strict=True):
        assert row == pytest.approx(answer.probabilities, abs=1e-6)
    for count in (1, 2):  # any batch size
        part = served.predict(pd.DataFrame({"photograph": content[:count]}))
        assert part["species"].tolist() == found["species"].tolist()[:count]


def test_it_reads_no_files_unless_its_owner_says_so(
    folder: Path, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FISHLINE_SERVE_PATHS", raising=False)
    served = mlflow.pyfunc.load_model(str(folder))
    rows = served.predict(pd.DataFrame({"photograph": [str(photographs[0]), "/no/such.png"]}))
    assert rows["species"].tolist() == [None, None]
    assert all(error.startswith("not base64: ") for error in rows["error"])


def test_it_logs_what_it_answers(
    folder: Path, photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the name that it is registered as, and at the place that a request names."""
    monkeypatch.setenv("FISHLINE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FISHLINE_PLACE", "quay")
    before = signal.getsignal(signal.SIGTERM)
    try:
        served = mlflow.pyfunc.load_model(str(folder))
    finally:
        signal.signal(signal.SIGTERM, before)
    rows = pd.DataFrame({"photograph": [path.read_bytes() for path in photographs]})
    served.predict(rows)
    served.predict(rows, params={"place": "MV Test", "only": ["Trout"]})
    served.unwrap_python_model().predictor.flush()
    logged = read_log(str(tmp_path / "log")).to_pandas()
    assert logged["place"].tolist() == ["quay"] * 3 + ["MV Test"] * 3
    assert set(logged["model"]) == {"fish-base/1"}
    assert set(logged["source"]) == {"serve"}


Post = Callable[[object], tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def post(folder: Path) -> Iterator[Post]:
    """A function (body) -> status and answer of the application that `mlflow models serve` runs."""
    app = scoring_app(mlflow.pyfunc.load_model(str(folder)))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    def post(body: object) -> tuple[int, dict[str, Any]]:
        url, kind = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), kind)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    yield post
    server.should_exit = True
    thread.join()


def test_over_http(post: Post, folder: Path, photographs: list[Path]) -> None:
    """The example that is stored with the model can be posted; a bad row spoils no other."""
    status, answer = post(json.loads((folder / "serving_input_example.json").read_text()))
    assert status == 200
    (row,) = answer["predictions"]
    assert list(row) == ["species", "probability", "probabilities", "error", "rank"]

    encoded = base64.b64encode(photographs[0].read_bytes()).decode()
    rows = [{"photograph": each} for each in (encoded, "nonsense", None, encoded)]
    status, answer = post({"dataframe_records": rows})
    assert status == 200
    first, bad, nothing, last = answer["predictions"]
    assert first == last
    assert first["error"] is None
    assert bad["species"] is None and bad["error"]
    assert nothing["error"].startswith("no bytes or base64")


def test_over_http_answers_among_what_there_can_be(post: Post, photographs: list[Path]) -> None:
    asked = {"inputs": [base64.b64encode(photographs[0].read_bytes()).decode()]}
    status, answer = post(asked | {"params": {"only": ["Trout"]}})
    assert (status, answer["predictions"][0]["species"]) == (200, "Trout")
    assert answer["predictions"][0]["probabilities"] == {"Bream": 0, "Shrimp": 0, "Trout": 1}
    status, answer = post(asked | {"params": {"only": ["Cod"]}})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "does not know 'Cod'; it knows Bream, Shrimp, Trout" in answer["message"]


@pytest.mark.parametrize("body", [{}, {"dataframe_records": [{"fish": "x"}]}, {"inputs": 1.5}])
def test_what_is_no_request_is_refused(post: Post, body: dict[str, object]) -> None:
    status, answer = post(body)
    assert status == 400
    assert answer["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")


def test_the_example_is_small_enough_to_paste(folder: Path) -> None:
    text = (folder / "serving_input_example.json").read_text()
    ((encoded,),) = json.loads(text)["dataframe_split"]["data"]
    assert len(text) < 20_000
    assert Image.open(BytesIO(base64.b64decode(encoded))).size == (48, 48)
