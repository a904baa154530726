"""docs/edge.md and the page for the browser: what has the file alone answers as the model."""

import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clone import ROOT
from PIL import ExifTags, Image

from fishline.data.decode import decode
from fishline.models.onnx_export import describe, export
from fishline.models.trained_model import TrainedModel
from fishline.serving.answer import Answer
from fishline.serving.predictor import Predictor

WEB = ROOT / "deploy/web"
RUNTIME = WEB / "node_modules/onnxruntime-web/dist"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SECONDS = 60  # for a page on a busy machine
HEADER = "onnxruntime_cxx_api.h"
INCLUDES = [Path("/usr/include/onnxruntime"), Path("/usr/local/include/onnxruntime")]


def snippet(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/edge.md").read_text(), re.S)
    return str(block)


@pytest.fixture
def answer(
    make_model: Callable[..., Path],
    draw_photograph: Callable[[int], Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Answer:
    """Of a model, for catch.jpg in the working folder, where the model's file is, too."""
    monkeypatch.chdir(tmp_path)
    folder = make_model(tmp_path / "model", temperature=0.1, genera=("Sparus", "", "Salmo"))
    model = TrainedModel.load(folder)
    export(model, Path("fish.onnx"))
    Path("fish.json").write_text(json.dumps(describe(model)))
    draw_photograph(1).resize((100, 590)).save("catch.png")  # resized height first, if Pillow may
    Path("catch.rgb").write_bytes(decode(Path("catch.png").read_bytes(), 48).pixels.tobytes())
    (answer,) = Predictor(folder).predict([tmp_path / "catch.png"])
    return answer


def answered(command: list[str]) -> list[str]:
    """What a program prints: a name and a probability, which may be of several words."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_in_python(answer: Answer) -> None:
    code = snippet("python").replace("catch.jpg", "catch.png")
    heavy = "import sys; print({'torch', 'onnx', 'fishline', 'pandas'} & {*sys.modules} or 'light')"
    seen = "\nimport hashlib; print(hashlib.sha256(pixels.tobytes()).hexdigest())"
    *said, loaded, digest = answered([sys.executable, "-I", "-c", code + heavy + seen])
    assert loaded == "light"
    assert digest == hashlib.sha256(Path("catch.rgb").read_bytes()).hexdigest()
    assert said[0] == answer.species
    assert float(said[1]) == pytest.approx(answer.probability, abs=1e-4)


@pytest.mark.slow
def test_in_cpp(answer: Answer) -> None:
    include = next((folder for folder in INCLUDES if (folder / HEADER).is_file()), None)
    if include is None or shutil.which("g++") is None:
        pytest.skip("g++, or what libonnxruntime-dev has, is not installed")
    Path("edge.cpp").write_text(snippet("cpp"))
    build = f"g++ -std=c++17 edge.cpp -I{include} -lonnxruntime -o edge"
    subprocess.run(build.split(), check=True)
    position, share = answered(["./edge"])[:2]
    assert list(answer.probabilities or {})[int(position)] == answer.likeliest
    assert float(share) == pytest.approx((answer.probabilities or {})[answer.likeliest], abs=1e-4)


@pytest.fixture
def runtime() -> Path:
    """ONNX Runtime for JavaScript, from npm."""
    if not RUNTIME.is_dir():
        pytest.skip(f"onnxruntime-web is not installed: `npm install` in {WEB.relative_to(ROOT)}")
    return RUNTIME


@pytest.mark.slow
def test_in_javascript(answer: Answer, runtime: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    Path("node_modules").symlink_to(runtime.parents[1])
    Path("edge.mjs").write_text(snippet("js"))
    name, share = answered(["node", "edge.mjs"])
    assert name == answer.species
    assert float(share) == pytest.approx(answer.probability, abs=1e-4)


@pytest.mark.slow
def test_in_a_browser_without_a_network(
    runtime: Path,
    make_model: Callable[..., Path],
    draw_photograph: Callable[[int], Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    taxonomy = {"genera": ("G", "G", ""), "families": ("F", "F", "F")}
    unsure = {"confidence_threshold": 0.75, "temperature": 0.1}
    folder = make_model(tmp_path / "model", **taxonomy, **unsure)
    export(TrainedModel.load(folder), tmp_path / "fish.onnx")
    monkeypatch.syspath_prepend(str(WEB))
    made = importlib.import_module("page").page(tmp_path / "fish.onnx", runtime)
    (tmp_path / "fish.html").write_text(made)
    files = [str(tmp_path / f"{number}.png") for number in range(5)]
    for number, file in enumerate(files):
        draw_photograph(number).save(file)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.open(files[0]).save(files[0], exif=turned)
    Image.open(files[1]).resize((30, 90)).convert("LA").save(files[1])
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_context(offline=True).new_page()
        page.goto((tmp_path / "fish.html").as_uri())
        page.wait_for_selector("#files:enabled", state="attached", timeout=SECONDS * 1000)
        page.set_input_files("#files", files)
        page.wait_for_function(f"document.querySelectorAll('.done').length == {len(files)}")
        found = page.evaluate("[...document.querySelectorAll('.done')].map(item => item.answer)")
        browser.close()
    expected = list(Predictor(folder).predict(files))
    assert [(a["name"], a["rank"]) for a in found] == [(a.species, a.rank) for a in expected]
    assert len({answer.rank for answer in expected}) > 1
    shares = [list((answer.probabilities or {}).values()) for answer in expected]
    made_there = [answer["shares"] for answer in found]
    np.testing.assert_allclose(made_there[1:], shares[1:], atol=1e-5)
    np.testing.assert_allclose(made_there[0], shares[0], atol=0.02)  # turned before it is resized
