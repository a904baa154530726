"""What of an answer goes into the log of answers, as the environment has it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from fishline.core.errors import UserError
from fishline.data.remote_files import is_url, open_files
from fishline.models.taxonomy import SPECIES
from fishline.serving.answer_log.file import Batch
from fishline.serving.answer_log.schema import LOG, SCHEMA, project
from fishline.serving.answer_log.writer import flush_on_sigterm, writer
from fishline.serving.photographs import shown

if TYPE_CHECKING:
    from fishline.serving.answer import Answer, Answered
    from fishline.serving.content import Photograph
    from fishline.serving.predictor import Predictor

PLACE = "FISHLINE_PLACE"  # variables: what `place` is by default,
KEEP = "FISHLINE_LOG_PICTURES"  # of which answers the photograph is kept
ROOM = "FISHLINE_LOG_PICTURES_MAX"  # and how many MB these may have
MEGABYTES = 1000

Source = Literal["predict", "serve", "app"]


@dataclass(frozen=True)
class Recorder:
    """Puts answers into the log. Can be pickled: each process has a thread that writes.

    url:    of the log
    source: who was asked
    place:  that whoever asked named; "" for none
    keep:   whose photographs are kept: "" for none, unsure for answers that name no species, all
    room:   bytes that these may have
    """

    url: str
    source: Source
    place: str
    keep: str
    room: int

    @classmethod
    def from_environment(cls, source: Source) -> Recorder:
        """For the log that `FISHLINE_LOG` names, as the other variables have it.

        Raises:
            UserError: a variable has no such value, or a package is missing.
        """
        url = os.environ[LOG]
        if is_url(url):
            open_files(url)
        else:
            url = str(Path(url).absolute())  # the process may change its folder
        keep, room = os.environ.get(KEEP, ""), os.environ.get(ROOM) or str(MEGABYTES)
        if keep not in ("", "unsure", "all"):
            raise UserError(f"{KEEP} is {keep!r}; it must be unsure or all, or not be set")
        if not (room.isascii() and room.isdigit()):
            raise UserError(f"{ROOM} is {room!r}; it must be a number of megabytes, as {MEGABYTES}")
        if source == "serve":
            flush_on_sigterm()
        return cls(url, source, os.environ.get(PLACE, ""), keep, int(room) * 10**6)

    def add(
        self, predictor: Predictor, answered: Sequence[Answered], photographs: Sequence[Photograph]
    ) -> None:
        """Have answers written, soon and by another thread.

        Args:
            photographs: what was answered.
        """
        now = datetime.now(UTC)
        kept = {
            str(each.digest): photograph
            for each, photograph in zip(answered, photographs, strict=True)
            if self._keeps(each.answer)
        }
        batch = Batch(
            day=f"{now:%F}",
            size=len(answered),
            rows=partial(self._rows, predictor, now, answered),
            pictures={digest: partial(predictor.read, each) for digest, each in kept.items()},
            bytes=sum(len(each) for each in kept.values() if isinstance(each, str | bytes)),
            room=self.room,
        )
        writer(self.url).put(batch)

    def _keeps(self, answer: Answer) -> bool:
        unsure = answer.rank != SPECIES
        return not answer.error and (self.keep == "all" or (self.keep == "unsure" and unsure))

    def flush(self) -> None:
        """Wait until this process's rows are written, or some seconds."""
        writer(self.url).flush()

    def _rows(
        self,
        predictor: Predictor,
        time: datetime,
        answered: Sequence[Answered],
        pictures: Mapping[str, str],
    ) -> pa.Table:
        shared = {
            "time": time,
            "source": self.source,
            # Half a surrogate pair, of a request or an environment, has no UTF-8.
            "place": self.place.encode("utf-8", "backslashreplace").decode(),
            "model": shown(predictor.version),
            "model_sha256": predictor.model.digest,
        }
        rows = [
            shared | _row(each) | {"picture": pictures.get(each.digest or "", "")}
            for each in answered
        ]
        return pa.Table.from_pylist(rows, SCHEMA)


def _row(answered: Answered) -> dict[str, object]:
    answer, features = answered.answer, answered.features
    error = answer.error
    if error and not answered.digest:
        error = error.partition(":")[0]  # what follows may be the name of a file
    return {
        "sha256": answered.digest,
        "answer": answer.species,
        "rank": answer.rank,
        "probability": answer.probability,
        "probabilities": answer.probabilities and list(answer.probabilities.items()),
        "distance": answered.distance,
        "features": None if features is None else project(features[None])[0],
        "seconds": answered.seconds,
        "error": error and shown(error),
    }
