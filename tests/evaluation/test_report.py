"""The report and the model card, of a model that guesses."""

import base64
import contextlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fishline.core.params import load_params
from fishline.core.paths import SUBSETS
from fishline.data.dataset import Images
from fishline.data.prepare.colour_baseline import ColourBaseline
from fishline.evaluation import figures
from fishline.evaluation.comparison import Comparison, FreezeVariant
from fishline.evaluation.mistakes import COUNT, mistakes, write_mistakes
from fishline.evaluation.replicates import Replicates
from fishline.evaluation.report import CARD, card, write_report
from fishline.evaluation.report_data import ReportData, counts, recipe
from fishline.evaluation.shared import Shared
from fishline.evaluation.statistics import difference
from fishline.evaluation.test_run import TestRun, evaluate_model
from fishline.tracking.search import Run
from fishline.tracking.versions import Version

ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT / "params.yaml")
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "train_loss": [2, 1], "val_loss": [2, 1.5], "val_accuracy": [0.2, 0.6]}
)
METRICS = {"test_accuracy": 0.5, "test_accuracy_low": 0.3, "test_accuracy_high": 0.7}
RUN = Run("ab" * 16, "FINISHED", NOW, {"git.commit": "c0ffee"}, METRICS, {"finetune.epochs": "8"})
VERSION = Version("fish-finetuned", 7, RUN.run_id, (), {}, NOW, METRICS, {})
OTHER = replace(VERSION, number=3)


def replicates_of(*accuracies: float) -> Replicates:
    runs = {f"{n}": replace(RUN, metrics={"test_accuracy": a}) for n, a in enumerate(accuracies)}
    return Replicates({}, runs)


@pytest.fixture(scope="module")
def make_images() -> Callable[..., Images]:
    """A function (species) -> pictures of six photographs, two files each."""

    def make(species: Sequence[str] = ("Bream", "Shrimp", "Trout")) -> Images:
        labels = np.repeat(np.arange(12) % len(species), 1)
        pixels = np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), np.uint8)
        names = np.array(species)[labels]
        table = pd.DataFrame({"species": names})
        table["file"] = [f"{name}/{i:02}.png" for i, name in enumerate(names)]
        table["original"] = table["group"] = [f"{name}/{i % 6}" for i, name in enumerate(names)]
        table["sha256"] = [f"{i:064}" for i in range(12)]
        rows = torch.arange(12)
        return Images(torch.from_numpy(pixels), rows, torch.from_numpy(labels), species, table)

    return make


@pytest.fixture(scope="module")
def tested(
    make_images: Callable[..., Images],
    make_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> TestRun:
    project = tmp_path_factory.mktemp("project")
    make_model(project / "models/finetuned")
    with contextlib.chdir(project):
        return evaluate_model("finetuned", make_images(), torch.device("cpu"))


@pytest.fixture(scope="module")
def findings(tested: TestRun, make_images: Callable[..., Images]) -> ReportData:
    test = make_images()
    table = pd.concat([test.table.assign(part=part) for part in SUBSETS])
    a, b = tested.predictions, tested.predictions.assign(predicted=tested.predictions["species"])
    comparison = Comparison(OTHER, difference(a, b), "as recorded", "The difference may be chance.")
    audit = {"test": 12, "test_images_with_a_copy_in_train": 0}
    audit["random"] = {"test": 12, "test_images_with_a_copy_in_train": 11}
    summary = {"accuracy": tested.report.accuracy, "accuracy_low": 0.1, "accuracy_high": 0.9}
    summary |= {"images": 12, "photographs": 6, "macro_f1": 0.5}
    return ReportData(
        model="finetuned",
        name="Fine-tuned model",
        test_run=tested,
        summary=summary | tested.numbers,
        counts=counts(table, tested.config.species),
        recipe=recipe("finetuned", tested, HISTORY, PARAMS),
        audits={"finetune": audit},
        shared=[Shared("haul <1>", 8, 0.875, 4, 0.5)],
        colour_baseline=ColourBaseline(0.25, 1.0),
        shown=[replace(image, aspect=4 / 3) for image in mistakes(tested, test)],
        curves=figures.curves_svg(HISTORY),
        reliability=figures.reliability_svg(np.linspace(0.3, 1, 40), np.arange(40) % 3 > 0),
        version=VERSION,
        run=RUN,
        leaky=[replace(RUN, params={"split.strategy": "random"}, metrics={"test_accuracy": 0.987})],
        champion=comparison,
        over_seeds={"split.seed": replicates_of(0.5, 0.7)},
        freeze_variants=[
            FreezeVariant("head", RUN, OTHER, comparison),
            FreezeVariant("classifier"),
            FreezeVariant("all", RUN, VERSION),
        ],
    )


class Page(HTMLParser):
    """Tags that are open at the end, addresses, and the text."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attributes}
        self.addresses += [found[key] for key in ("src", "href", "srcset") if key in found]
        self.ids |= {found["id"]} if "id" in found else set()
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass  # as SVG has them

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def written(findings: ReportData, folder: Path) -> tuple[str, Page]:
    write_report(folder / "report.html", [replace(findings, freeze_variants=[]), findings], PARAMS)
    text = (folder / "report.html").read_text()
    return text, Page(text)


def test_one_page_that_needs_nothing_else(findings: ReportData, tmp_path: Path) -> None:
    text, page = written(findings, tmp_path)
    assert page.open == []
    inside = [a.removeprefix("#") for a in page.addresses if a.startswith("#")]
    assert inside and set(inside) <= page.ids
    data = [a for a in page.addresses if a.startswith("data:image/jpeg;base64,")]
    assert len(inside) + len(data) == len(page.addresses)
    assert not re.search(r"@import|url\(['\"]?(?!#)|<script", text)
    size = Image.open(io.BytesIO(base64.b64decode(data[0].partition(",")[2]))).size
    assert size[0] / size[1] == pytest.approx(4 / 3, abs=0.01)  # as photographed
    assert "{{" not in text and "{%" not in text


def test_what_it_says(findings: ReportData, tmp_path: Path) -> None:
    _, page = written(findings, tmp_path)
    said = re.sub(r"\s+", " ", "".join(page.words))
    accuracy = f"{findings.test_run.report.accuracy:.3f}"
    for words in (
        accuracy,
        "12 images of 6 photographs, 3 species. 95 % interval, over photographs: 0.100–0.900",
        "0 of 12",
        "11 of 12",  # what a random split would let through
        "0.987 (random, run abababab)",
        "of which",
        "not trained yet: dvc exp run -S finetune.train=classifier",
        "all (this one)",
        "champion fish-finetuned/3",
        "The difference may be chance.",
        "Over seeds",
        "0.600 ± 0.141",
        "c0ffee",
        "2026-01-02 03:04 UTC",
    ):
        assert words in said, words


def test_how_many_others_are_noticed_is_said_or_why_not(
    findings: ReportData, tmp_path: Path
) -> None:
    measured = {"others_told_unknown": 0.45, "unknown_auroc": 0.87}
    known = replace(findings, summary={**findings.summary, **measured})
    for data, words in ((known, "45 % are noticed as"), (findings, "could not be measured")):
        _, page = written(data, tmp_path)
        assert words in "".join(page.words)
        assert words in card(data, PARAMS)


def test_both_matrices_are_the_models(findings: ReportData, tmp_path: Path) -> None:
    text, _ = written(findings, tmp_path)
    tables = re.findall(r'<table class="matrix">.*?</table>', text, flags=re.DOTALL)
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", table) for table in tables]
    matrix = findings.test_run.report.matrix
    counted, shares = (np.array(found, float).reshape(matrix.shape) for found in cells[:2])
    assert (counted == matrix).all()
    np.testing.assert_allclose(shares, matrix / matrix.sum(1, keepdims=True), atol=0.005)


def test_names_are_text_and_not_markup(findings: ReportData, tmp_path: Path) -> None:
    bad = "<b>Bass & co"
    shown = [replace(each, species=bad, file=f"{bad}/1.png") for each in findings.shown]
    text, page = written(replace(findings, shown=shown, recipe={"network": bad}), tmp_path)
    assert bad not in text
    assert bad in "".join(page.words)


def test_the_same_findings_give_the_same_bytes(findings: ReportData, tmp_path: Path) -> None:
    first, _ = written(findings, tmp_path)
    again = replace(findings, curves=figures.curves_svg(HISTORY))
    assert written(again, tmp_path)[0] == first


def test_a_model_that_the_store_does_not_have(findings: ReportData, tmp_path: Path) -> None:
    alone = replace(findings, version=None, run=None, champion=None, freeze_variants=[], leaky=[])
    text, page = written(replace(alone, over_seeds={}), tmp_path)
    assert "Over seeds" not in text
    assert "The tracking store at hand does not have this model." in "".join(page.words)
    assert card(alone, PARAMS).startswith("# Fine-tuned model\n")


def test_a_split_that_leaks_is_named(findings: ReportData, tmp_path: Path) -> None:
    leaky = PARAMS.model_copy(
        update={"split": PARAMS.split.model_copy(update={"strategy": "random"})}
    )
    audits = {"finetune": findings.audits["finetune"] | {"test_images_with_a_copy_in_train": 3}}
    findings = replace(findings, audits=audits)
    write_report(tmp_path / "report.html", [findings], leaky)
    text = (tmp_path / "report.html").read_text()
    assert "these accuracies are not those of new photographs" in text
    assert "nor any copy of them" not in text
    assert "this accuracy is not that of new ones" in card(findings, leaky)


def test_the_card_has_what_a_card_should_have(findings: ReportData) -> None:
    text = card(findings, PARAMS)
    heads = re.findall(r"^## (.*)", text, flags=re.MULTILINE)
    assert heads == ["Intended use", "Test accuracy", "Data and split", "Training", "Limits"]
    assert text.startswith("# Fine-tuned model (fish-finetuned/7)\n")
    for row in findings.test_run.report.species.itertuples():
        assert f"| {row.species} | {row.recall:.3f} | {row.precision:.3f} |" in text
    assert "| images | 12 | 12 | 12 |" in text
    assert "11 of 12 would" in text


def test_a_card_of_many_species_fits_into_mlflow(findings: ReportData) -> None:
    many = [f"Fish number {i} | of many" for i in range(300)]
    table = pd.DataFrame({"species": many, "recall": np.linspace(1, 0, 300), "images": 9})
    table = table.assign(precision=0.5, f1=0.5)
    report = replace(findings.test_run.report, species=table)
    whole = pd.DataFrame(9, index=many, columns=findings.counts.columns)
    text = card(
        replace(findings, test_run=replace(findings.test_run, report=report), counts=whole), PARAMS
    )
    assert len(text) <= CARD
    assert "The 25 species that are recognised worst" in text
    assert r"| Fish number 299 \| of many |" in text
    assert "## Limits" in text


def test_mistakes_are_the_surest_ones_one_of_each_photograph(
    tested: TestRun, make_images: Callable[..., Images], tmp_path: Path
) -> None:
    test = make_images()
    shown = mistakes(tested, test)
    assert 0 < len(shown) <= COUNT
    originals = test.table.set_index("file")["original"]
    assert len({originals[each.file] for each in shown}) == len(shown)
    assert [each.probability for each in shown] == sorted(
        (each.probability for each in shown), reverse=True
    )
    table = tested.predictions.set_index("file")
    for each in shown:
        assert not each.right
        assert each.predicted == table.loc[each.file, "predicted"] != each.species
        position = test.table.index[test.table["file"] == each.file][0]
        assert (each.pixels == test.pixels[position].numpy()).all()
    write_mistakes(tmp_path / "mistakes.png", shown, "Base model")
    with Image.open(tmp_path / "mistakes.png") as picture:
        assert picture.width > 400


def test_without_mistakes_the_least_certain_answers_are_shown(
    tested: TestRun, make_images: Callable[..., Images]
) -> None:
    table = tested.predictions
    right = replace(tested, predictions=table.assign(species=table["predicted"]))
    test = make_images()
    shown = mistakes(right, test)
    assert all(each.right for each in shown)
    assert [each.probability for each in shown] == sorted(each.probability for each in shown)


def test_curves_take_the_colour_of_the_page() -> None:
    for svg in [
        *figures.curves_svg(HISTORY),
        figures.reliability_svg(np.ones(3), np.ones(3, bool)),
    ]:
        assert svg.startswith("<svg")
        assert "currentColor" in svg
        assert figures.INK not in svg
        assert "epoch</text>" in svg or "probability given</text>" in svg
