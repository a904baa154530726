"""`fishline export`: the file, what the registry says of it, and int8 put to the test."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from champions import Shelf, store_in
from click.testing import CliRunner, Result

from fishline.cli.main import main
from fishline.data.dataset import Images
from fishline.edge import export as command
from fishline.edge import int8
from fishline.edge.export import Test
from fishline.models.novelty import fit_detector
from fishline.models.onnx_export import PROPERTY
from fishline.models.trained_model import TrainedModel
from fishline.tracking import versions


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def description(file: Path) -> dict[str, object]:
    (said,) = onnx.load(file).metadata_props
    assert said.key == PROPERTY
    return dict(json.loads(said.value))


@pytest.fixture(scope="module")
def shelf(store_root: Path) -> Iterator[Shelf]:
    with store_in(store_root) as client, pytest.MonkeyPatch.context() as patch:
        patch.chdir(store_root)
        made = Shelf(store_root, client)
        made.version("fish-base")
        yield made


def test_the_registry_knows_the_file_by_its_hash(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "fish.onnx"
    done = run("fish-base/1", out)
    assert done.exit_code == 0, done.output
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert digest in done.output and "fish-base/1, float32" in done.output
    version = versions.find("fish-base/1")
    assert version.tags["export.sha256"] == digest
    assert version.tags["export.file"] == "fish.onnx"
    assert (
        description(out).items()
        >= {
            "version": "fish-base/1",
            "run": version.run_id,
            "git_commit": version.tags["git.commit"],
            "data_hash": "d1",
        }.items()
    )


def test_a_folder_will_do(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    assert run(folder, tmp_path / "a.onnx").exit_code == 0
    assert "version" not in description(tmp_path / "a.onnx")
    refused = run(folder, tmp_path / "a.pt")
    assert refused.exit_code == 2 and "ends in .onnx" in refused.output
    nowhere = run(folder, "/proc/a.onnx")
    assert nowhere.exit_code == 1 and "/proc/a.onnx cannot be written" in nowhere.output


@pytest.fixture
def model(make_model: Callable[..., Path], tmp_path: Path, images: Images) -> TrainedModel:
    """A model that calls a quarter of `images` unknown."""
    made = TrainedModel.load(make_model(tmp_path / "model", temperature=0.1))
    embeddings = made.embed_images(images)[0].numpy()
    detector = fit_detector(embeddings, images.labels.numpy(), embeddings, 0.75)
    model = TrainedModel(made.network, made.config, detector)
    model.save(tmp_path / "model")
    return model


@pytest.fixture
def parts(
    images: Images, model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Images]:
    """What the command takes for the project's images, however many it gets wrong."""
    table = images.table.assign(original=images.table["file"])
    parts = dict.fromkeys(("train", "validation", "test"), replace(images, table=table))
    monkeypatch.setattr(command, "_images", lambda *_: parts)
    return parts


@pytest.fixture
def in_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def test_int8_answers_nearly_as_float32(
    model: TrainedModel,
    parts: dict[str, Images],
    in_project: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "_by_photograph", lambda *_: 0.5)  # it has learnt nothing
    done = run(tmp_path / "model", tmp_path / "a.onnx", "--int8")
    assert done.exit_code == 0, done.output
    kinds = [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node]
    assert kinds.count("QuantizeLinear") > 1
    batches = int8.answers(tmp_path / "a.onnx", parts["test"])
    found = [np.concatenate(output) for output in zip(*batches, strict=True)]
    expected = model.answer(model.embed_images(parts["test"])[0])
    assert 0 < abs(found[0] - expected.probabilities).max() < 0.1
    said = description(tmp_path / "a.onnx")
    assert said["precision"] == "int8" and said["limit"] != model.detector.limit
    np.testing.assert_array_equal(found[2], found[1] > np.float32(said["limit"]))  # type: ignore[arg-type]
    assert abs(int(found[2].sum()) - int(expected.unknown.sum())) <= 1


def test_int8_that_loses_more_than_the_margin_is_refused(
    model: TrainedModel,
    parts: dict[str, Images],
    in_project: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tests = iter([Test(0.9, 0.1), Test(0.889, 0.1)])
    monkeypatch.setattr(command, "_test", lambda *_: next(tests))
    refused = run(tmp_path / "model", tmp_path / "a.onnx", "--int8")
    assert refused.exit_code == 1 and "falls from 0.900 to 0.889" in refused.output
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_int8_needs_the_photographs(
    make_model: Callable[..., Path], in_project: None, tmp_path: Path
) -> None:
    refused = run(make_model(tmp_path / "model"), tmp_path / "a.onnx", "--int8")
    assert (
        refused.exit_code == 1
        and "photographs of Bream, Shrimp, Trout in 48 pixels" in refused.output
    )


def test_every_photograph_counts_the_same() -> None:
    table = pd.DataFrame({"original": ["a", "a", "a", "b"]})
    right = np.array([True, True, False, False])
    assert command._by_photograph(right, table) == pytest.approx(1 / 3)
