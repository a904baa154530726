"""`fishline predict --out`: answers as a table, taken up again where they were broken off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import click
import pyarrow as pa
from tqdm import tqdm

from fishline.core.parallel import usable_cores
from fishline.serving.answer_table import AnswerTable, as_table
from fishline.serving.photographs import names, photograph, readers, shown
from fishline.serving.predict import introduce, load, read_only
from fishline.serving.predictor import BATCH, Predictor

Engine = Literal["local", "ray"]


def predict_table(
    sources: Sequence[str], model: str, out: Path, engine: Engine, only: Sequence[str] = ()
) -> int:
    """Write a row for each photograph to the table `out`, or for those that have none there yet.

    Args:
        only: as of `predict`.

    Returns:
        How many photographs of the table could not be read.

    Raises:
        UserError: as of `predict`; or the table holds answers by another model or among other
            species, or cannot be written.
    """
    files = names(sources)
    predictor = load(model, "cpu" if engine == "ray" else None).among(read_only(only))
    table = AnswerTable(out, predictor)
    with table.locked():
        answered = table.answered()
        remaining = [file for file in files if shown(file) not in answered]
        if there := len(files) - len(remaining):
            click.echo(f"{out} has {there:,} of {len(files):,} answers already", err=True)
        introduce(model, predictor)
        answers = _answers(predictor, remaining, engine)
        with tqdm(
            total=len(files), initial=there, unit="photograph", smoothing=0.1, disable=None
        ) as bar:
            for number in table.append(answers):
                bar.update(number)
        predictor.flush()
        failed = table.unread()
    unread = f", {failed:,} of them not read (column error)" if failed else ""
    click.echo(f"{out}: {len(answered) + len(remaining):,} photographs{unread}", err=True)
    return failed


def _answers(predictor: Predictor, files: Sequence[str], engine: Engine) -> Iterator[pa.Table]:
    """Rows for `files`, in their order."""
    if not files:
        return
    if engine == "ray":
        from fishline.serving.ray_answers import answer_on_ray  # loads ray

        yield from answer_on_ray(predictor, files, readers(files))
        return
    threads = readers(files) * usable_cores()
    answers = predictor.predict_hashed(map(photograph, files), threads)
    waiting = iter(files)
    while block := list(islice(waiting, BATCH)):
        yield as_table(block, islice(answers, len(block)), predictor)
