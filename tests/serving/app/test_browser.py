"""The page in a browser, served as a user serves it."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from clone import ROOT, free_port
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("neither chromium nor google-chrome is installed", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.slow  # half a minute; test_app.py asks the page without a browser
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SECONDS = 15  # for a page on a busy machine
KNOWN = "models/finetuned"  # the default
DOUBTS = "models/base"  # calls nearly everything unknown


@pytest.fixture(scope="module")
def address(
    make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Of the page, in a folder with two models that are not registered."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".dvc").mkdir()
    make_model(folder / KNOWN)
    make_model(folder / DOUBTS, seed=1, recall=0.01)
    shutil.copy(ROOT / "params.yaml", folder)  # with it the page Review
    port = free_port()
    unset = ("MLFLOW_TRACKING_URI", "DVC_ROOT")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    process = subprocess.Popen(
        [sys.executable, "-m", "fishline", "app", "--port", str(port), "--max-upload-mb", "1"],
        cwd=folder,
        env=environment | {"STREAMLIT_SERVER_HEADLESS": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=4 * SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, "Traceback" in printed) == (0, False), printed


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"the page was not served: {process.communicate()[0]}")


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(address: str, browser: "sync_api.Browser") -> Iterator["sync_api.Page"]:
    """The page, loaded; no request may go to another server."""
    opened = browser.new_page()
    opened.set_default_timeout(SECONDS * 1000)
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.get_by_test_id("stFileUploaderDropzone").wait_for()
    yield opened
    opened.close()
    here = ("data:", "blob:", address, address.replace("http", "ws"))
    assert [url for url in asked if not url.startswith(here)] == []


def photograph(number: int, form: str = "PNG") -> bytes:
    rng, file = np.random.default_rng(number), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).save(file, form)
    return file.getvalue()


def drop(page: "sync_api.Page", **files: bytes) -> None:
    page.locator("input[type=file]").set_input_files(
        [
            {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": content}
            for name, content in files.items()
        ]
    )


def choose(page: "sync_api.Page", label: str, option: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option).click()


def expect(page: "sync_api.Page", kind: str, text: str) -> None:
    found = page.get_by_test_id(kind).filter(has_text=re.compile(text, re.DOTALL))
    sync_api.expect(found.first).to_be_visible(timeout=SECONDS * 1000)


def test_a_photograph_gets_an_answer(page: "sync_api.Page") -> None:
    drop(page, catch=photograph(1))
    expect(page, "stAlert", r"(Bream|Shrimp|Trout)\s*Probability \d+\.\d %")
    expect(page, "stProgress", r"(Bream|Shrimp|Trout): \d+\.\d %")
    pictures = page.get_by_test_id("stImage").locator("img")
    sync_api.expect(pictures).to_have_count(2)
    page.wait_for_function("[...document.images].every(image => image.naturalWidth > 0)")
    sizes = pictures.evaluate_all("all => all.map(i => i.naturalWidth / i.naturalHeight)")
    assert sizes == pytest.approx([1.5, 1.5], abs=0.01)
    page.get_by_text(f"About {KNOWN}").click()
    expect(page, "stExpander", f"{KNOWN} \\(not registered\\)")


def test_a_wrong_file_gets_a_sentence_and_spoils_no_other(page: "sync_api.Page") -> None:
    drop(page, letter=b"Dear Sir", catch=photograph(1), large=bytes(2**21))
    expect(page, "stAlert", "1 file of 2 left out.*letter.jpg: This is no photograph")
    expect(page, "stAlert", "Probability")
    expect(page, "stFileUploader", "File must be 1.0MB or smaller")


def test_an_unknown_photograph_is_called_so(page: "sync_api.Page") -> None:
    choose(page, "Model", DOUBTS)
    drop(page, catch=photograph(50, "JPEG"))
    expect(page, "stAlert", r"Unknown\s*Likeliest of what the model knows")
    expect(page, "stMarkdown", "unlike those that the model was trained on")


def test_two_models_are_compared(page: "sync_api.Page") -> None:
    page.get_by_text("Compare with a second model").click()
    drop(page, catch=photograph(50, "JPEG"))
    expect(page, "stMarkdown", f"The models differ: {KNOWN} says .*, {DOUBTS} says unknown")
    expect(page, "stMarkdown", "They looked at .* places")
    sync_api.expect(page.get_by_test_id("stImage").locator("img")).to_have_count(3)


def test_a_batch_is_downloaded_as_a_table(page: "sync_api.Page", tmp_path: Path) -> None:
    files = {f"fish{number}": photograph(number) for number in range(8)}
    drop(page, **files, letter=b"Dear Sir")
    with page.expect_download() as waiting:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    waiting.value.save_as(tmp_path / "table.csv")
    assert waiting.value.suggested_filename == "models-finetuned.csv"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    columns = "file species rank probability Bream Shrimp Trout error".split()
    assert list(rows[0]) == columns
    assert [row["file"] for row in rows] == [f"{name}.jpg" for name in [*files, "letter"]]
    assert [row["error"] for row in rows] == [""] * 8 + ["not an image that Pillow can read"]
    shown = page.get_by_role("combobox", name="Show one photograph")
    sync_api.expect(shown).to_have_value(re.compile(r"1: fish0.jpg \((Bream|Shrimp|Trout)\)"))


def test_dropped_photographs_are_put_right_by_keys(page: "sync_api.Page", tmp_path: Path) -> None:
    page.get_by_role("link", name="Review").click()
    expect(page, "stAlert", "plots/labels.csv is missing")
    page.get_by_text("New photographs").click()
    drop(page, **{f"fish{number}": photograph(number) for number in range(3)})
    for key, left in (("2", 2), ("n", 1), ("u", 2)):
        sync_api.expect(page.get_by_role("button", name="Skip")).to_be_visible()
        page.wait_for_selector("[data-test-script-state=notRunning]")  # all keys are in place
        page.keyboard.press(key)
        expect(page, "stProgress", f"{left} of 3 left to look at")
