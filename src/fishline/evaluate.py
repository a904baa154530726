"""Stage `evaluate`: both models on their test images, which nothing else looks at.

Writes `metrics/evaluate.json` (the headline), `metrics/reliability.json` (calibration, and how
well unknown species are told), `metrics/species.json` (precision, recall and F1 of each species)
and, for each model, confusion and one-against-the-rest matrices and a table of its predictions to
`plots/`. The same is added to the MLflow run that trained the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import click
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fishline import models, plots, tracking
from fishline.calibration import calibration_error, probabilities
from fishline.dataset import Images
from fishline.devices import find_device, seed_everything
from fishline.errors import UserError
from fishline.files import read_json, write_csv, write_json
from fishline.known import UNKNOWN, Known, read_known, separation
from fishline.metrics import Report, by_species, headline, of_species, report
from fishline.models import Description, Normalize
from fishline.networks import Network
from fishline.paired import accuracy_interval
from fishline.params import Params, load_params
from fishline.paths import METRICS, MODELS, PLOTS, TASKS, run_record
from fishline.prediction import classify, embed
from fishline.tasks import model_images, tasks


@dataclass(frozen=True)
class Tested:
    """One model and what it makes of its test images.

    distances:   float (n,), of each image to the nearest of the model's species
    predictions: a row per image: file, sha256, original, species, predicted, answer (predicted,
                 or "unknown") and the probability of each species
    numbers:     calibration, and how much is taken for unknown
    """

    network: Network
    description: Description
    known: Known
    report: Report
    distances: npt.NDArray[np.float64]
    predictions: pd.DataFrame
    numbers: dict[str, float]


def main() -> None:
    params = load_params()
    seed_everything(params.seed)
    device = find_device(params.device)
    images = {model: model_images(model, params)["test"] for model in TASKS}
    tested = {model: evaluate(model, test, device) for model, test in images.items()}
    summaries = {model: _summary(model, found, params) for model, found in tested.items()}
    reliability = {
        model: found.numbers | _unknown(found, images) for model, found in tested.items()
    }
    write_json(METRICS / "evaluate.json", summaries)
    write_json(METRICS / "reliability.json", reliability)
    write_json(METRICS / "species.json", {m: by_species(t.report) for m, t in tested.items()})
    for model, found in tested.items():
        _publish(model, found, summaries[model] | reliability[model])
        n, accuracy = len(found.predictions), found.report.accuracy
        print(f"evaluate: {model}: test accuracy {accuracy:.3f}, {n} images")


def evaluate(model: str, test: Images, device: torch.device) -> Tested:
    """Test `models/<model>`.

    Raises:
        UserError: it is not for these images.
    """
    network, description = models.load(MODELS / model)
    known = read_known(MODELS / model)
    _require_fit(model, description, test)
    embeddings, labels = embed(network.to(device), Normalize(description), test)
    logits, truth = classify(network, embeddings).numpy(), labels.numpy()
    found = report(truth, logits.argmax(1), test.species)
    shares = probabilities(logits, description.temperature)
    distances = known.distances(embeddings.numpy())
    unknown = distances > known.limit
    numbers = {
        "calibration_error": calibration_error(shares, truth),
        "calibration_error_before": calibration_error(probabilities(logits), truth),
        "temperature": description.temperature,
        "taken_for_unknown": float(unknown.mean()),
    }
    table = test.table[["file", "sha256", "original", "species"]].assign(
        predicted=found.pairs["predicted"],
        answer=found.pairs["predicted"].mask(unknown, UNKNOWN),
    )
    rounded = pd.DataFrame(shares.round(6), columns=list(test.species))
    predictions = pd.concat([table, rounded], axis=1)
    return Tested(network, description, known, found, distances, predictions, numbers)


def _summary(model: str, tested: Tested, params: Params) -> dict[str, float]:
    """The headline; of a model for old and new species also the accuracy on either."""
    found, both = tested.report, tasks(model, params)
    low, high = accuracy_interval(tested.predictions)
    summary = headline(found) | {
        "photographs": tested.predictions["original"].nunique(),
        "accuracy_low": low,
        "accuracy_high": high,
    }
    if len(both) == 1:
        return summary
    parts = {task: of_species(found, getattr(params, task).species) for task in both}
    return summary | {f"{task}_accuracy": accuracy for task, accuracy in parts.items()}


def _unknown(tested: Tested, images: dict[str, Images]) -> dict[str, float]:
    """How well a model tells other species' test images as unknown, where there are any."""
    mine = set(tested.description.species)
    others = [test for test in images.values() if not mine & set(test.species)]
    if not others:
        return {}
    embeddings, _ = embed(tested.network, Normalize(tested.description), others[0])
    distances = tested.known.distances(embeddings.numpy())
    told = float((distances > tested.known.limit).mean())
    return {"others_told_unknown": told} | separation(tested.distances, distances)


def _require_fit(model: str, description: Description, images: Images) -> None:
    if (description.species, description.image_size) != (images.species, images.size):
        raise UserError(
            f"{MODELS / model} is for {description.image_size} pixels and the species "
            f"{', '.join(description.species)}; the test images have {images.size} pixels and "
            f"{', '.join(images.species)}. `dvc repro` trains it anew."
        )


def _publish(model: str, tested: Tested, summary: dict[str, float]) -> None:
    """Draw a model's matrices, and add metrics and pictures to the run that trained it."""
    found, title = tested.report, f"{model}: test"
    files = plots.write_confusion(PLOTS / f"{model}-confusion", found, title)
    files += plots.write_one_vs_rest(PLOTS / f"{model}-one-vs-rest", found, title)
    table = PLOTS / f"{model}-predictions.csv"
    write_csv(table, tested.predictions)
    record = read_json(run_record(model))
    if not tracking.log_report(record, summary, by_species(found), files, table):
        click.echo(
            f"evaluate: {tracking.tracking_uri()} does not have run {record['run_id']}, which "
            f"trained models/{model}, so its test metrics stand in metrics/ only. Set "
            "MLFLOW_TRACKING_URI to the store it was trained with.",
            err=True,
        )
