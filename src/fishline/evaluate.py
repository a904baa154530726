"""Stage `evaluate`: both models on their test images, which nothing else looks at.

Writes `metrics/evaluate.json` (the headline), `metrics/species.json` (precision, recall and F1
of each species) and, for each model, confusion and one-against-the-rest matrices to `plots/`.
The same is added to the MLflow run that trained the model.
"""

from __future__ import annotations

import click

from fishline import models, plots, tracking
from fishline.dataset import Images, load_images
from fishline.errors import UserError
from fishline.files import read_json, write_json
from fishline.metrics import Report, by_species, headline
from fishline.models import Description, Normalize
from fishline.params import load_params
from fishline.paths import CACHE, METRICS, MODELS, PLOTS, SPLIT, TASKS, run_record
from fishline.training import assess, device, seed_everything


def main() -> None:
    params = load_params()
    seed_everything(params.seed)
    reports: dict[str, Report] = {}
    for model, task in TASKS.items():
        species = getattr(params, task).species
        network, description = models.load(MODELS / model)
        test = load_images(CACHE, SPLIT / f"{task}.csv", species)["test"]
        _require_fit(model, description, test)
        place = device()
        reports[model] = assess(network.to(place), Normalize(description).to(place), test)
    write_json(METRICS / "evaluate.json", {m: headline(r) for m, r in reports.items()})
    write_json(METRICS / "species.json", {m: by_species(r) for m, r in reports.items()})
    for model, found in reports.items():
        _publish(model, found)
        print(f"evaluate: {model}: test accuracy {found.accuracy:.3f}, {len(found.pairs)} images")


def _require_fit(model: str, description: Description, images: Images) -> None:
    if (description.species, description.image_size) != (images.species, images.size):
        raise UserError(
            f"{MODELS / model} is for {description.image_size} pixels and the species "
            f"{', '.join(description.species)}; the test images have {images.size} pixels and "
            f"{', '.join(images.species)}. `dvc repro` trains it anew."
        )


def _publish(model: str, found: Report) -> None:
    """Draw a model's matrices, and add metrics and pictures to the run that trained it."""
    title = f"{model}: test"
    files = plots.write_confusion(PLOTS / f"{model}-confusion", found, title)
    files += plots.write_one_vs_rest(PLOTS / f"{model}-one-vs-rest", found, title)
    record = read_json(run_record(model))
    if not tracking.log_report(record, found, files):
        click.echo(
            f"evaluate: {tracking.tracking_uri()} does not have run {record['run_id']}, which "
            f"trained models/{model}, so its test metrics stand in metrics/ only. Set "
            "MLFLOW_TRACKING_URI to the store it was trained with.",
            err=True,
        )
