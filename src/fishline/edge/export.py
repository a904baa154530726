"""`fishline export`: a model as one file for devices without Python, float32 or int8."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pandas as pd
from tabulate import tabulate  # type: ignore[import-untyped]

from fishline.core.errors import UserError
from fishline.core.files import replacing
from fishline.core.params import Params, load_params
from fishline.core.roles import active
from fishline.core.text import many
from fishline.data.dataset import Images, model_images
from fishline.edge import int8
from fishline.models.onnx_export import OPSET, describe, export, write
from fishline.models.trained_model import TrainedModel
from fishline.tracking import versions
from fishline.tracking.aliases import RegisteredModel, needs_registry
from fishline.tracking.versions import Version

TAGS = {"git_commit": "git.commit", "data_hash": "data.hash"}  # in the file: of the version


@dataclass(frozen=True)
class Test:
    """A file put to the test.

    accuracy: over photographs: of each, the share of its images that is told right
    unknown:  the share of the images that is unlike all that is known
    """

    accuracy: float
    unknown: float


def main(reference: str, out: Path, as_int8: bool) -> None:
    """Write the model that `reference` names to `out`; sign it in the registry if it is of there.

    Raises:
        UserError: there is no such model, `out` cannot be written; with int8, there are no
            photographs to calibrate and test it on, or it is too much worse.
    """
    model, version = _load(reference)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.onnx"
        (_export_int8 if as_int8 else export)(model, made, _origin(version))
        try:
            with replacing(out) as temporary:
                shutil.copyfile(made, temporary)
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error.strerror}") from None
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    kind = "int8" if as_int8 else "float32"
    click.echo(f"{out}: {reference}, {kind}, {_size(out)}, ONNX opset {OPSET}, sha256 {digest}")
    if version:
        _sign(version, "export.int8" if as_int8 else "export", out, digest)


def _load(reference: str) -> tuple[TrainedModel, Version | None]:
    """The model, and the registered version that it is; None for a folder."""
    if Path(reference, "model.json").is_file():
        return TrainedModel.load(Path(reference)), None
    version = versions.find(reference)
    with tempfile.TemporaryDirectory() as folder:
        return TrainedModel.load(versions.fetch(version, Path(folder))), version


def _origin(version: Version | None) -> dict[str, str]:
    """Where a registered version comes from, for the file's metadata."""
    if version is None:
        return {}
    known = {key: version.tags[tag] for key, tag in TAGS.items() if tag in version.tags}
    return {"version": str(version), "run": version.run_id} | known


def _sign(version: Version, prefix: str, out: Path, digest: str) -> None:
    """Have the registry say which file was made of `version`."""
    registered = RegisteredModel(version.name)
    with needs_registry():
        registered.tag_version(version.number, f"{prefix}.sha256", digest)
        registered.tag_version(version.number, f"{prefix}.file", out.name)


def _export_int8(model: TrainedModel, out: Path, origin: dict[str, str]) -> None:
    """Write the model in int8 to `out`, and say what it is worth.

    Raises:
        UserError: there are no photographs to calibrate and test it on, or it is too much worse.
    """
    params = load_params()
    images = _images(model, params)
    whole = out.with_suffix(".float32")
    export(model, whole, origin)
    graph = int8.quantize(whole, images["train"])
    description = describe(model) | {"precision": "int8"} | origin
    write(graph, description, model.detector, out)
    limit = _limit(model, out, images.get("validation"))
    if limit is not None:
        int8.set_limit(graph, limit)
        write(graph, description | {"limit": limit}, model.detector, out)
    before, after = _test(whole, images["test"]), _test(out, images["test"])
    _show(before, after, images["test"], _size(whole), _size(out))
    margin = params.gate.accuracy_margin
    if after.accuracy < before.accuracy - margin:
        raise UserError(
            f"accuracy by photograph falls from {before.accuracy:.3f} to {after.accuracy:.3f} in "
            f"int8, by more than gate.accuracy_margin in params.yaml ({margin:g}); nothing is "
            "written. Export the model without --int8."
        )


def _images(model: TrainedModel, params: Params) -> dict[str, Images]:
    """The project's images of the model's own species, by part.

    Raises:
        UserError: the project has none, or of another size.
    """
    config = model.config
    for role in active(params):
        names = [name for task in role.tasks(params) for name in getattr(params, task).species]
        if (tuple(names), params.image_size) == (config.species, config.image_size):
            images = model_images(role, params)
            if "test" in images:
                return images
    raise UserError(
        f"--int8 is calibrated and tested on photographs of {', '.join(config.species)} in "
        f"{config.image_size} pixels; params.yaml names no such model, or its split has no test "
        "image. Run it in the project that trained the model, with the parameters of then."
    )


def _limit(model: TrainedModel, file: Path, validation: Images | None) -> float | None:
    """The distance that keeps as large a share of validation as the model's own limit does.

    None if everything is known to the model, or there is nothing to measure on.
    """
    limit = model.detector.limit
    if validation is None or not np.isfinite(limit):
        return None
    before = model.detector.distances(model.embed_images(validation)[0].numpy())
    after = np.concatenate([batch[1] for batch in int8.answers(file, validation)])
    return float(np.quantile(after, (before <= limit).mean()))


def _test(file: Path, images: Images) -> Test:
    batches = [batch[:3] for batch in int8.answers(file, images)]
    probabilities, _, unknown = (np.concatenate(part) for part in zip(*batches, strict=True))
    right = probabilities.argmax(1) == images.labels.numpy()
    return Test(_by_photograph(right, images.table), float(unknown.mean()))


def _by_photograph(right: npt.NDArray[np.bool_], table: pd.DataFrame) -> float:
    return float(pd.Series(right).groupby(table["original"].to_numpy()).mean().mean())


def _show(before: Test, after: Test, images: Images, size: str, smaller: str) -> None:
    photographs = many(images.table["original"].nunique(), "photograph")
    rows = [
        ["size", size, smaller],
        [f"accuracy, {photographs}", f"{before.accuracy:.3f}", f"{after.accuracy:.3f}"],
        ["taken for unknown", f"{before.unknown:.1%}", f"{after.unknown:.1%}"],
    ]
    click.echo(tabulate(rows, ["", "float32", "int8"], disable_numparse=True))


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB"
