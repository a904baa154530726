"""`fishline predict`: which species is on each photograph, by a registered model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import click
from tqdm import tqdm

from fishline.core.errors import UserError
from fishline.core.parallel import usable_cores
from fishline.models.onnx_model import OnnxModel
from fishline.models.taxonomy import SPECIES, UNKNOWN
from fishline.serving.answer import Answer
from fishline.serving.photographs import names, photograph, readers
from fishline.serving.predictor import Predictor

if TYPE_CHECKING:
    import torch

    from fishline.serving.answer_log.recorder import Source

Form = Literal["text", "json", "csv"]


def predict(sources: Sequence[str], model: str, form: Form, only: Sequence[str] = ()) -> int:
    """Print an answer for each photograph, as soon as there is one.

    Args:
        sources: files, folders, lists and URLs, see photographs.py.
        model: as `Predictor.load` has it.
        only: lines of CSV, with the species that the answers are among; all if empty.

    Returns:
        How many photographs could not be read; each is named in its line.

    Raises:
        UserError: there is no such model, it does not know a species of `only`, there is nothing
            to look at, or a URL cannot be reached.
    """
    files = names(sources)
    predictor = load(model).among(read_only(only))
    if form == "text":
        introduce(model, predictor)
    write, failed = _writer(form, predictor.species), 0
    threads = readers(files) * usable_cores()
    results = predictor.predict_hashed(map(photograph, files), threads)
    answers = tqdm(results, total=len(files), unit="photograph", disable=None)
    for file, (_, answer) in zip(files, answers, strict=True):
        tqdm.write(write(file, answer), end="")
        failed += answer.error is not None
    predictor.flush()
    if failed:
        click.echo(f"{failed} of {len(files)} photographs could not be read", err=True)
    return failed


def introduce(model: str, predictor: Predictor) -> None:
    """Who reads the answers may not know the model."""
    known = ", ".join(predictor.species)
    among = f"; the answers are among {', '.join(predictor.only)}" if predictor.only else ""
    click.echo(
        f"{model} knows {known}{among}; any other fish may be taken for one of these", err=True
    )


def read_only(lines: Sequence[str]) -> list[str]:
    """The species that lines of CSV name: a name with a comma stands in quotes.

    Raises:
        UserError: a line names none, or is no CSV.
    """
    try:
        rows = list(csv.reader(lines, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UserError(f"--only {' '.join(lines)}: no line of CSV ({error})") from None
    if not all(rows):
        raise UserError("--only names no species")
    return [name for row in rows for name in row]


def network_threads() -> int:
    """How many cores torch gets: most decode. With more threads each waits for the others.

    Measured on two cores, PNG of 590 × 445: 1 thread 215, 2 threads 160 images/s.
    """
    return max(1, usable_cores() // 4)


def load(
    model: str, device: torch.device | str | None = None, source: Source = "predict"
) -> Predictor:
    """The model that `model` names, with as many threads as decoding leaves it.

    Args:
        device: as of `Predictor.load`.
        source: who asks, for the log of answers.

    Raises:
        UserError: there is none, or the log cannot be had.
    """
    predictor = Predictor.load(model, device)
    if not isinstance(predictor.model, OnnxModel):
        import torch

        torch.set_num_threads(network_threads())
    predictor.record(source)
    return predictor


def _writer(form: Form, species: Sequence[str]) -> Callable[[str, Answer], str]:
    """What turns an answer into a line; the first of a CSV has the header before it."""
    if form == "json":
        return lambda file, answer: json.dumps({"file": file} | answer.as_dict()) + "\n"
    if form == "text":
        return _text
    header = [csv_line(columns(species))]

    def line(file: str, answer: Answer) -> str:
        row = csv_line(cells(file, answer, species))
        return (header.pop() if header else "") + row

    return line


def columns(species: Sequence[str]) -> list[str]:
    """The head of the table of answers by a model of these species."""
    return ["file", "species", "rank", "probability", *species, "error"]


def cells(file: str, answer: Answer, species: Sequence[str]) -> list[object]:
    """The row of that table for one photograph."""
    shares = answer.probabilities or dict.fromkeys(species)
    said = [file, answer.species, answer.rank, answer.probability]
    return [*said, *shares.values(), answer.error]


def _text(file: str, answer: Answer) -> str:
    if answer.probability is None:
        return f"{file}: not read: {answer.error}\n"
    share, likeliest = f"({answer.probability:.2f})", answer.likeliest
    if answer.rank == SPECIES:
        return f"{file}: {answer.species} {share}\n"
    if answer.rank == UNKNOWN:
        return f"{file}: {UNKNOWN}, perhaps {likeliest} {share}\n"
    perhaps = f"{likeliest} ({(answer.probabilities or {})[likeliest]:.2f})"
    return f"{file}: {answer.rank} {answer.species} {share}, perhaps {perhaps}\n"


def csv_line(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
