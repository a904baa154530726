"""The table of answers that `fishline predict --out` writes: a folder of Parquet files.

pandas, DuckDB, Spark and the like read such a folder as one table. Each file is written under
another name and renamed once it is whole, so whatever stops the process, the files that are there
hold whole rows, and the next start asks about the photographs that have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fishline.core.errors import UserError
from fishline.core.files import one_at_a_time, replacing
from fishline.serving.answer import Answer
from fishline.serving.photographs import shown
from fishline.serving.predict import csv_line
from fishline.serving.predictor import Predictor

PART = 1024  # rows of a file: what is asked about again after an interruption


def schema(species: Sequence[str]) -> pa.Schema:
    """The table's columns; nulls where a photograph could not be read, which `error` explains.

    file:         path or URL, as it was named
    sha256:       of the file's content
    species:      the answer: a species, genus, family or "unknown"
    rank:         which of these it is
    probability:  of the answer, or if unknown of the likeliest species, float64
    a column for each of `species`: its probability, float64
    error:        why there is no answer
    only:         what the answer is among, as a line of CSV; null for all species
    model:        the registered version, such as fish-finetuned/3, or the model's folder
    model_sha256: of the model itself
    """
    text, number = pa.string(), pa.float64()
    columns = {"file": text, "sha256": text, "species": text, "rank": text}
    columns |= dict.fromkeys(["probability", *species], number)
    return pa.schema(columns | dict.fromkeys(["error", "only", "model", "model_sha256"], text))


def as_table(
    names: Iterable[str], answers: Iterable[tuple[str | None, Answer]], predictor: Predictor
) -> pa.Table:
    """Rows for photographs and what `predictor.predict_hashed` says of them."""
    nothing = dict.fromkeys(predictor.species)
    rows = [
        {
            "file": shown(name),
            "sha256": digest,
            "species": answer.species,
            "rank": answer.rank,
            "probability": answer.probability,
            **(answer.probabilities or nothing),
            "error": answer.error,
            "only": asked_for(predictor),
            "model": predictor.version,
            "model_sha256": predictor.model.digest,
        }
        for name, (digest, answer) in zip(names, answers, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema(predictor.species))


def asked_for(predictor: Predictor) -> str | None:
    """What its answers are among, as a line of CSV; None for all species."""
    return csv_line(predictor.only).rstrip("\n") if predictor.only else None


class AnswerTable:
    """The table in `folder`, to be continued by answers of `predictor`."""

    def __init__(self, folder: Path, predictor: Predictor) -> None:
        self.folder = folder
        self.predictor = predictor

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While it lasts, no other process writes here.

        Raises:
            UserError: one does, or `folder` is something else or cannot be written.
        """
        foreign = self.folder.exists() and not self.folder.is_dir()
        if foreign or any(not p.match("part-*.parquet") for p in self._entries()):
            raise UserError(f"{self.folder} is there and no table of answers: name another --out")
        busy = f"another process writes {self.folder}: wait for its end"
        with one_at_a_time(self.folder / ".lock", busy):
            for left in self.folder.glob(".part-*"):  # by a process that was killed
                with suppress(OSError):  # whoever cannot remove it is told when writing the first
                    left.unlink()
            yield

    def _entries(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))

    def answered(self) -> set[str]:
        """The files that have a row.

        Raises:
            UserError: the rows are by another model or among other species, or a part cannot be
                read.
        """
        files: set[str] = set()
        for part in self._entries():
            rows = self._read(part, ["file", "only", "model", "model_sha256"])
            files.update(rows["file"].to_pylist())
            others = set(rows["model_sha256"].to_pylist()) - {self.predictor.model.digest}
            if others:
                raise UserError(
                    f"{self.folder} holds answers by {rows['model'][0].as_py()} (sha256 "
                    f"{others.pop():.12}), and the model is now {self.predictor.version} (sha256 "
                    f"{self.predictor.model.digest:.12}). Name another --out, or the --model of "
                    "before, or delete the folder to start anew"
                )
            for only in set(rows["only"].to_pylist()) - {asked_for(self.predictor)}:
                raise UserError(
                    f"{self.folder} holds answers among {only or 'all species'}, and they are now "
                    f"to be among {asked_for(self.predictor) or 'all species'}. Name another "
                    "--out, or the --only of before, or delete the folder to start anew"
                )
        return files

    def unread(self) -> int:
        """How many photographs of the table could not be read."""
        parts = (self._read(part, ["error"]) for part in self._entries())
        return sum(len(rows) - rows["error"].null_count for rows in parts)

    def append(self, tables: Iterable[pa.Table]) -> Iterator[int]:
        """Write the rows of `tables`, in parts of at least `PART`; yields how many have come.

        Raises:
            UserError: there is no room.
        """
        number = max((int(part.stem.removeprefix("part-")) for part in self._entries()), default=-1)
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= PART:
                number += 1
                self._write(number, waiting)
                waiting = []
            yield len(table)
        if waiting:
            self._write(number + 1, waiting)

    def _write(self, number: int, tables: list[pa.Table]) -> None:
        path = self.folder / f"part-{number:06}.parquet"
        try:
            with replacing(path) as temporary:
                pq.write_table(pa.concat_tables(tables), temporary)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror or error}. The parts before it are "
                "whole; the same command goes on from there"
            ) from None

    def _read(self, part: Path, columns: list[str]) -> pa.Table:
        try:
            return pq.read_table(part, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{part} is no part of a table of answers ({error}): delete it, and its "
                "photographs are asked about again"
            ) from None
