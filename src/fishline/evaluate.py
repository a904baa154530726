"""Stage `evaluate`: both models on their test images, which nothing else looks at.

Writes `metrics/evaluate.json` (the headline), `metrics/species.json` (precision, recall and F1
of each species) and, for each model, confusion and one-against-the-rest matrices to `plots/`.
The same is added to the MLflow run that trained the model.
"""

from __future__ import annotations

import click

from fishline import models, plots, tracking
from fishline.dataset import Images
from fishline.devices import find_device, seed_everything
from fishline.errors import UserError
from fishline.files import read_json, write_json
from fishline.metrics import Report, by_species, headline, of_species
from fishline.models import Description, Normalize
from fishline.params import Params, load_params
from fishline.paths import METRICS, MODELS, PLOTS, TASKS, run_record
from fishline.prediction import assess
from fishline.tasks import model_images, tasks


def main() -> None:
    params = load_params()
    seed_everything(params.seed)
    device = find_device(params.device)
    reports: dict[str, Report] = {}
    for model in TASKS:
        network, description = models.load(MODELS / model)
        test = model_images(model, params)["test"]
        _require_fit(model, description, test)
        reports[model] = assess(network.to(device), Normalize(description), test)
    summaries = {model: _summary(model, found, params) for model, found in reports.items()}
    write_json(METRICS / "evaluate.json", summaries)
    write_json(METRICS / "species.json", {m: by_species(r) for m, r in reports.items()})
    for model, found in reports.items():
        _publish(model, found, summaries[model])
        print(f"evaluate: {model}: test accuracy {found.accuracy:.3f}, {len(found.pairs)} images")


def _summary(model: str, found: Report, params: Params) -> dict[str, float]:
    """The headline; of a model for old and new species also the accuracy on either."""
    both = tasks(model, params)
    if len(both) == 1:
        return headline(found)
    parts = {task: of_species(found, getattr(params, task).species) for task in both}
    return headline(found) | {f"{task}_accuracy": accuracy for task, accuracy in parts.items()}


def _require_fit(model: str, description: Description, images: Images) -> None:
    if (description.species, description.image_size) != (images.species, images.size):
        raise UserError(
            f"{MODELS / model} is for {description.image_size} pixels and the species "
            f"{', '.join(description.species)}; the test images have {images.size} pixels and "
            f"{', '.join(images.species)}. `dvc repro` trains it anew."
        )


def _publish(model: str, found: Report, summary: dict[str, float]) -> None:
    """Draw a model's matrices, and add metrics and pictures to the run that trained it."""
    title = f"{model}: test"
    files = plots.write_confusion(PLOTS / f"{model}-confusion", found, title)
    files += plots.write_one_vs_rest(PLOTS / f"{model}-one-vs-rest", found, title)
    record = read_json(run_record(model))
    if not tracking.log_report(record, summary, by_species(found), files):
        click.echo(
            f"evaluate: {tracking.tracking_uri()} does not have run {record['run_id']}, which "
            f"trained models/{model}, so its test metrics stand in metrics/ only. Set "
            "MLFLOW_TRACKING_URI to the store it was trained with.",
            err=True,
        )
