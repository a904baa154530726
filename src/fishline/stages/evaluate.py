"""Stage `evaluate`: the models on their test images, which nothing else looks at.

Writes `metrics/evaluate.json` (the headline), `metrics/reliability.json` (calibration, how well
unknown species are told, accuracy where trip, day or camera are new), `metrics/species.json`
(precision, recall and F1 of each species) and, for each model, confusion and one-against-the-rest
matrices, its worst mistakes, a table of its predictions and a model card to `plots/`, and
`plots/report.html`, a page that says it all. The same is added to the MLflow run that trained the
model, and what `fishline watch` compares with. Of a fine-tuned model that there is not, tables are
empty and pictures say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pandas as pd

from fishline.core.files import read_json, write_csv, write_json, write_text
from fishline.core.params import Params, load_params
from fishline.core.paths import METRICS, PLOTS, run_record
from fishline.core.roles import NO_FINETUNED, ROLES, active
from fishline.data.dataset import Images, model_images
from fishline.evaluation import figures, retest
from fishline.evaluation.examples import draw_examples
from fishline.evaluation.metrics import by_species, headline, of_species
from fishline.evaluation.mistakes import write_mistakes
from fishline.evaluation.report import card, write_report
from fishline.evaluation.report_data import ReportData, gather
from fishline.evaluation.statistics import accuracy_interval
from fishline.evaluation.test_run import TestRun, evaluate_model
from fishline.models.devices import find_device, seed_everything
from fishline.models.novelty import separation
from fishline.monitoring.reference import write_reference
from fishline.tracking import test_results
from fishline.tracking.measurements import dataset_of
from fishline.tracking.store import tracking_uri

REPORT = PLOTS / "report.html"
TABLES = {  # and their columns, besides those of species
    "confusion": ["actual", "predicted"],
    "one-vs-rest": "species true_negative false_positive false_negative true_positive".split(),
    "predictions": [*retest.COLUMNS, "predicted", "answer", "rank"],
}


def main() -> None:
    params = load_params()
    seed_everything(params.seed)
    device = find_device(params.device)
    images = {role.folder: model_images(role, params) for role in active(params)}
    tested = {
        model: evaluate_model(model, subsets["test"], device) for model, subsets in images.items()
    }
    summaries = {model: _summary(model, run, params) for model, run in tested.items()}
    reliability = {
        model: run.numbers | _unknown(run, images) | _shared(run, images[model])
        for model, run in tested.items()
    }
    write_json(METRICS / "evaluate.json", summaries)
    write_json(METRICS / "reliability.json", reliability)
    write_json(METRICS / "species.json", {m: by_species(t.report) for m, t in tested.items()})
    measured = {model: summaries[model] | reliability[model] for model in images}
    for model in ROLES.keys() - images:
        _leave_out(model)
    for model, run in tested.items():
        title = f"{ROLES[model].title(params)}, test images"
        _publish(model, title, run, measured[model], images[model])
    models = [
        gather(model, tested[model], subsets, measured[model], params)
        for model, subsets in images.items()
    ]
    _report(models, params)
    for model, run in tested.items():
        n, accuracy = len(run.predictions), run.report.accuracy
        print(f"evaluate: {model}: test accuracy {accuracy:.3f}, {n} images")
    print(f"evaluate: {REPORT}")


def _summary(model: str, tested: TestRun, params: Params) -> dict[str, float]:
    """The headline; of a model for old and new species also the accuracy on either."""
    report, both = tested.report, ROLES[model].tasks(params)
    low, high = accuracy_interval(tested.predictions)
    summary = headline(report) | {
        "photographs": tested.predictions["original"].nunique(),
        "accuracy_low": low,
        "accuracy_high": high,
    }
    if len(both) == 1:
        return summary
    accuracies = {task: of_species(report, getattr(params, task).species) for task in both}
    return summary | {f"{task}_accuracy": accuracy for task, accuracy in accuracies.items()}


def _unknown(tested: TestRun, images: Mapping[str, Mapping[str, Images]]) -> dict[str, float]:
    """How well a model tells other species' test images as unknown, where there are any."""
    others = [_others(subsets["test"], tested.config.species) for subsets in images.values()]
    unseen = [test for test in others if len(test)]
    if not unseen:
        return {}
    embeddings, _ = tested.model.embed_images(unseen[0])
    predictions = tested.model.answer(embeddings)
    return {"others_told_unknown": float(predictions.unknown.mean())} | separation(
        tested.distances, predictions.distances
    )


def _shared(tested: TestRun, subsets: Mapping[str, Images]) -> dict[str, float]:
    """Accuracy on test images that share a trip, a day, … with training, and on the others."""
    return {
        name: value
        for shared in tested.shared_with(subsets["train"].table)
        for name, value in shared.numbers().items()
    }


def _others(test: Images, species: Sequence[str]) -> Images:
    """Those of `test` that show none of `species`."""
    return test.where(~test.table["species"].isin(species))


def _publish(
    model: str,
    title: str,
    tested: TestRun,
    summary: dict[str, float],
    subsets: Mapping[str, Images],
) -> None:
    """Draw a model's matrices, and add metrics and pictures to the run that trained it."""
    report = tested.report
    files = figures.write_confusion(PLOTS / f"{model}-confusion", report, title)
    files += figures.write_one_vs_rest(PLOTS / f"{model}-one-vs-rest", report, title)
    write_csv(PLOTS / f"{model}-predictions.csv", tested.predictions)
    record = read_json(run_record(model))
    with TemporaryDirectory() as folder:
        files.append(write_reference(tested, subsets, Path(folder)))
        logged = test_results.log_tests(
            record,
            summary,
            by_species(report),
            files,
            tested.predictions,
            dataset_of(ROLES[model].stage, "test", subsets["test"].table),
            draw_examples(tested.model, subsets["test"], title),
        )
    if not logged:
        click.echo(
            f"evaluate: {tracking_uri()} does not have run {record['run_id']}, which "
            f"trained models/{model}, so its test metrics stand in metrics/ only. Set "
            "MLFLOW_TRACKING_URI to the store it was trained with.",
            err=True,
        )


def _leave_out(model: str) -> None:
    """Write what DVC expects, and plots, of a model that there is not."""
    for name, columns in TABLES.items():
        write_csv(PLOTS / f"{model}-{name}.csv", pd.DataFrame(columns=columns))
    for name in ("confusion", "mistakes", "one-vs-rest"):
        figures.write_words(PLOTS / f"{model}-{name}.png", NO_FINETUNED)
    write_text(PLOTS / f"{model}-card.md", f"{NO_FINETUNED}\n")


def _report(models: Sequence[ReportData], params: Params) -> None:
    """Write the page, the cards and the mistakes; add them to the runs and registered versions."""
    write_report(REPORT, models, params)
    for data in models:
        picture = PLOTS / f"{data.model}-mistakes.png"
        write_mistakes(picture, data.shown, data.name)
        text = card(data, params)
        path = PLOTS / f"{data.model}-card.md"
        write_text(path, text)
        if data.version:
            test_results.describe(data.version, text, {REPORT: "", path: "", picture: "test"})
