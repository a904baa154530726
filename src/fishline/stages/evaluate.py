"""Stage `evaluate`: both models on their test images, which nothing else looks at.

Writes `metrics/evaluate.json` (the headline), `metrics/reliability.json` (calibration, and how
well unknown species are told), `metrics/species.json` (precision, recall and F1 of each species)
and, for each model, confusion and one-against-the-rest matrices, its worst mistakes, a table of its
predictions and a model card to `plots/`, and `plots/report.html`, a page that says it all. The same
is added to the MLflow run that trained the model.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from fishline.core.files import read_json, write_csv, write_json, write_text
from fishline.core.params import Params, load_params
from fishline.core.paths import METRICS, PLOTS, run_record
from fishline.core.roles import ROLES
from fishline.data.dataset import Images, model_images
from fishline.evaluation import figures
from fishline.evaluation.metrics import by_species, headline, of_species
from fishline.evaluation.mistakes import write_mistakes
from fishline.evaluation.report import card, write_report
from fishline.evaluation.report_data import ReportData, gather
from fishline.evaluation.statistics import accuracy_interval
from fishline.evaluation.test_run import TestRun, evaluate_model
from fishline.models.artifact import Normalize
from fishline.models.devices import find_device, seed_everything
from fishline.models.inference import embed
from fishline.models.novelty import separation
from fishline.tracking import test_results
from fishline.tracking.store import tracking_uri

REPORT = PLOTS / "report.html"


def main() -> None:
    params = load_params()
    seed_everything(params.seed)
    device = find_device(params.device)
    images = {model: model_images(role, params) for model, role in ROLES.items()}
    tested = {
        model: evaluate_model(model, subsets["test"], device) for model, subsets in images.items()
    }
    summaries = {model: _summary(model, found, params) for model, found in tested.items()}
    reliability = {
        model: found.numbers | _unknown(found, images) for model, found in tested.items()
    }
    write_json(METRICS / "evaluate.json", summaries)
    write_json(METRICS / "reliability.json", reliability)
    write_json(METRICS / "species.json", {m: by_species(t.report) for m, t in tested.items()})
    measured = {model: summaries[model] | reliability[model] for model in ROLES}
    for model, role in ROLES.items():
        title = f"{role.title(params)}, test images"
        _publish(model, title, tested[model], measured[model])
    findings = [
        gather(model, tested[model], subsets, measured[model], params)
        for model, subsets in images.items()
    ]
    _report(findings, params)
    for each in findings:
        n, accuracy = len(each.test_run.predictions), each.test_run.report.accuracy
        print(f"evaluate: {each.model}: test accuracy {accuracy:.3f}, {n} images")
    print(f"evaluate: {REPORT}")


def _summary(model: str, tested: TestRun, params: Params) -> dict[str, float]:
    """The headline; of a model for old and new species also the accuracy on either."""
    found, both = tested.report, ROLES[model].tasks(params)
    low, high = accuracy_interval(tested.predictions)
    summary = headline(found) | {
        "photographs": tested.predictions["original"].nunique(),
        "accuracy_low": low,
        "accuracy_high": high,
    }
    if len(both) == 1:
        return summary
    subsets = {task: of_species(found, getattr(params, task).species) for task in both}
    return summary | {f"{task}_accuracy": accuracy for task, accuracy in subsets.items()}


def _unknown(tested: TestRun, images: Mapping[str, Mapping[str, Images]]) -> dict[str, float]:
    """How well a model tells other species' test images as unknown, where there are any."""
    mine = set(tested.config.species)
    others = [p["test"] for p in images.values() if not mine & set(p["test"].species)]
    if not others:
        return {}
    embeddings, _ = embed(tested.network, Normalize(tested.config), others[0])
    distances = tested.known.distances(embeddings.numpy())
    told = float((distances > tested.known.limit).mean())
    return {"others_told_unknown": told} | separation(tested.distances, distances)


def _publish(model: str, title: str, tested: TestRun, summary: dict[str, float]) -> None:
    """Draw a model's matrices, and add metrics and pictures to the run that trained it."""
    found = tested.report
    files = figures.write_confusion(PLOTS / f"{model}-confusion", found, title)
    files += figures.write_one_vs_rest(PLOTS / f"{model}-one-vs-rest", found, title)
    table = PLOTS / f"{model}-predictions.csv"
    write_csv(table, tested.predictions)
    record = read_json(run_record(model))
    if not test_results.log_tests(record, summary, by_species(found), files, table):
        click.echo(
            f"evaluate: {tracking_uri()} does not have run {record['run_id']}, which "
            f"trained models/{model}, so its test metrics stand in metrics/ only. Set "
            "MLFLOW_TRACKING_URI to the store it was trained with.",
            err=True,
        )


def _report(found: list[ReportData], params: Params) -> None:
    """Write the page, the cards and the mistakes; add them to the runs and registered versions."""
    write_report(REPORT, found, params)
    for each in found:
        picture = PLOTS / f"{each.model}-mistakes.png"
        write_mistakes(picture, each.shown, each.name)
        text = card(each, params)
        path = PLOTS / f"{each.model}-card.md"
        write_text(path, text)
        if each.version:
            test_results.describe(each.version, text, {REPORT: "", path: "", picture: "test"})
