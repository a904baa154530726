"""A trained model that is asked about photographs."""

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fishline.core.errors import UserError
from fishline.data import decode as data_decode
from fishline.data.dataset import Images
from fishline.data.decode import decode
from fishline.models.onnx_export import export
from fishline.models.onnx_model import OnnxModel
from fishline.models.trained_model import TrainedModel
from fishline.serving import content as serving_content
from fishline.serving import predictor
from fishline.serving.predictor import Predictor
from fishline.tracking import versions


@pytest.fixture
def asked(make_model: Callable[..., Path], tmp_path: Path) -> Predictor:
    return Predictor(make_model(tmp_path / "model"))


def photograph(number: int, form: str = "PNG") -> bytes:
    rng = np.random.default_rng(number)
    file = BytesIO()
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(file, form)
    return file.getvalue()


def test_answers_are_what_evaluation_makes_of_the_same_photographs(asked: Predictor) -> None:
    contents = [photograph(number) for number in range(70)]  # over two batches
    pixels = np.stack([decode(content, 48).pixels for content in contents])
    rows = torch.arange(70)
    cached = Images(torch.from_numpy(pixels), rows, rows * 0, asked.species, None)
    logits = asked.model.logits(asked.model.embed_images(cached)[0])
    answers = list(asked.predict(contents))
    names = asked.species
    assert [a.species for a in answers] == [names[best] for best in logits.argmax(1)]
    shares = np.array([list(a.probabilities.values()) for a in answers])
    np.testing.assert_allclose(shares, logits.softmax(1), atol=1e-6)
    assert [a.probability for a in answers] == shares.max(1).tolist()
    assert len({a.probability for a in answers}) == 70


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_photograph_is_the_same_however_it_comes(
    asked: Predictor, tmp_path: Path, form: str
) -> None:
    content = photograph(1, form)
    file = tmp_path / "a photograph"
    file.write_bytes(content)
    encoded = base64.b64encode(content).decode()
    lines = "\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    ways = [
        content, bytearray(content), memoryview(content), file, str(file), encoded, lines,
        f"data:image/{form.lower()};base64,{encoded}",
    ]  # fmt: skip
    first, *others = asked.predict(ways)
    assert first.error is None
    for other in others:
        assert other.species == first.species
        assert other.probabilities == pytest.approx(first.probabilities, abs=1e-6)


def big(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_content, "MAX_BYTES", 100)


def huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_decode, "MAX_SIDE", 50)


@pytest.mark.parametrize(
    ("bad", "error", "limit"),
    [
        (b"", "not an image that Pillow can read", None),
        (b"nonsense", "not an image that Pillow can read", None),
        (photograph(0)[:200], "truncated|broken|cut|Unexpected|ended", None),
        ("no such file.jpg", "neither a file nor base64: no such file.jpg", None),
        ("x" * 5000, "neither a file nor base64|not an image", None),
        ("name\0with zero", "neither a file nor base64", None),
        (Path("nowhere.png"), "No such file or directory", None),
        (None, "no path, bytes or base64 but None", None),
        (float("nan"), "no path, bytes or base64 but nan", None),
        (7, "no path, bytes or base64 but 7", None),
        (photograph(0), "bytes; the limit is 100", big),
        (base64.b64encode(photograph(0)).decode(), "characters of base64; the limit is 100", big),
        (photograph(0), "80 × 60 pixels: no side may be over 50", huge),
    ],
)
def test_what_is_no_photograph_is_an_error_of_its_own_row(
    asked: Predictor,
    monkeypatch: pytest.MonkeyPatch,
    bad: object,
    error: str,
    limit: Callable[[pytest.MonkeyPatch], None] | None,
) -> None:
    if limit:
        limit(monkeypatch)
    (answer,) = asked.predict([bad])
    assert (answer.species, answer.probability, answer.probabilities) == (None, None, None)
    with pytest.raises(ValueError, match=error):
        raise ValueError(answer.error)


def test_good_rows_beside_bad_ones_are_answered(asked: Predictor) -> None:
    good = [photograph(number) for number in range(40)]
    alone = list(asked.predict(good))
    mixed = list(asked.predict([b"bad", *good[:35], b"bad", *good[35:], b"bad"]))
    errors = [place for place, answer in enumerate(mixed) if answer.error]
    assert errors == [0, 36, 42]
    kept = [answer for answer in mixed if not answer.error]
    assert [a.species for a in kept] == [a.species for a in alone]
    assert list(asked.predict([])) == []
    assert [a.error is None for a in asked.predict([b"bad"] * 33)] == [False] * 33


def test_a_far_photograph_is_unknown_but_keeps_its_probabilities(asked: Predictor) -> None:
    (known,) = asked.predict([photograph(1)])
    near = asked.model
    detector = replace(near.detector, limit=-1.0)  # now everything is too far
    asked.model = TrainedModel(near.network, near.config, detector)
    (far,) = asked.predict([photograph(1)])
    assert (known.species in asked.species, far.species) == (True, "unknown")
    assert far.probabilities == known.probabilities


def test_temperature_changes_probabilities_alone(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    cold, warm = (
        next(iter(Predictor(make_model(tmp_path / str(t), temperature=t)).predict([photograph(1)])))
        for t in (1.0, 4.0)
    )
    assert cold.species == warm.species
    assert warm.probability < cold.probability


def test_photographs_are_taken_as_answers_are(asked: Predictor) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield photograph(0)

    answers = asked.predict(endless())
    for _ in range(3):
        next(answers)
    assert taken < 1000
    answers.close()


def test_a_folder_without_a_model_is_a_message(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"model.json not found; `dvc repro` makes it"):
        Predictor(tmp_path)
    (make_model(tmp_path) / "known.safetensors").unlink()
    with pytest.raises(UserError, match=r"known.safetensors cannot be read"):
        Predictor(tmp_path)


def test_a_registered_model_knows_its_version(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "registered")
    monkeypatch.setattr(versions, "find", lambda reference: "fish-finetuned/3")
    monkeypatch.setattr(versions, "fetch", lambda version, into: folder)
    assert Predictor.load("fish-finetuned@champion").version == "fish-finetuned/3"
    assert Predictor.load(str(folder)).version == str(folder)
    file = tmp_path / "exported.onnx"
    export(TrainedModel.load(folder), file)
    assert Predictor.load(str(file)).version == str(file)
    export(TrainedModel.load(folder), file, {"version": "fish-finetuned/3"})
    assert Predictor.load(str(file)).version == "fish-finetuned/3"


def test_where_there_is_no_gpu_torch_is_not_asked_for_one(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "registered")
    export(TrainedModel.load(folder), tmp_path / "model.onnx")
    monkeypatch.setattr(versions, "find", lambda reference: reference)
    monkeypatch.setattr(versions, "fetch", lambda version, into: folder)
    monkeypatch.setattr(predictor, "may_have_gpu", lambda: False)
    monkeypatch.setattr(predictor, "find_device", lambda wanted: pytest.fail("asked torch"))
    assert isinstance(Predictor.load("fish-finetuned/3").model, OnnxModel)
    assert isinstance(Predictor.load("fish-finetuned/3", "cpu").model, TrainedModel)


def test_where_paths_are_off_no_file_is_read_nor_betrayed(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "there.png"
    file.write_bytes(photograph(1))
    asked = Predictor(make_model(tmp_path / "model"), paths=False)
    answers = list(asked.predict([str(file), str(tmp_path / "here.png"), file]))
    assert all("not base64" in str(a.error) or "no bytes" in str(a.error) for a in answers)
    encoded = base64.b64encode(photograph(1)).decode()
    assert next(asked.predict([encoded])).error is None


def test_the_lines_of_the_readme_answer_photographs(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    folder = make_model(tmp_path / "registered")
    monkeypatch.setattr(versions, "find", lambda reference: reference)
    monkeypatch.setattr(versions, "fetch", lambda version, into: folder)
    file = tmp_path / "there.png"
    file.write_bytes(photograph(1))
    *lines, last = code.strip().splitlines()
    names = {"paths": [file, tmp_path / "nowhere.png"]}
    exec("\n".join(lines), names)
    good, bad = list(eval(last.partition("#")[0].partition("= ")[2] or last, names))
    assert good.species in (*good.probabilities, "unknown")
    assert sum(good.probabilities.values()) == pytest.approx(1)
    assert (bad.species, bad.error) == (None, "No such file or directory")
