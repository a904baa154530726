"""Where photographs to be looked at come from: doubtful labels, unsure answers, what is dropped.

Only files below the data folder are read, those of a table of answers, if their content is the one
that was answered, those that the log of answers kept, and what was dropped on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from fishline.core.errors import UserError
from fishline.core.files import read_csv, require
from fishline.core.paths import PLOTS
from fishline.core.text import text
from fishline.data.photo_files import read
from fishline.data.prepare.manifest import REJECTED
from fishline.data.remote_files import is_url
from fishline.models.taxonomy import FAMILY, GENUS, SPECIES, UNKNOWN
from fishline.serving.answer import Answer
from fishline.serving.answer_log.reader import read_log
from fishline.serving.answer_log.schema import PICTURES
from fishline.serving.answer_table import schema
from fishline.serving.app.answers import percent, ranked
from fishline.serving.app.review import Item
from fishline.serving.content import content
from fishline.serving.photographs import photograph

LABELS = PLOTS / "labels.csv"
COLUMNS = "file species suggested probability suggested_probability reason".split()
LOGGED = "sha256 answer rank probability probabilities model picture".split()
ORDER = {UNKNOWN: 0, FAMILY: 1, GENUS: 2, SPECIES: 3}  # by rank: the less sure first
MOST = 1000  # answers of a table, the least sure; once they are decided on, there may be more


def doubtful_labels(root: Path, cache: Path, species: Sequence[str]) -> list[Item]:
    """What `fishline labels` found in the data folder `root`, the likeliest wrong label first.

    Files that `cache` does not have are left out: labels.csv is older then.

    Raises:
        UserError: there is no labels.csv, or it cannot be used.
    """
    if not LABELS.is_file():
        raise UserError(f"{LABELS} is missing: `fishline labels` makes it")
    table = pd.read_csv(LABELS, dtype=str, keep_default_na=False)
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"{LABELS} has no column {missing[0]}: `fishline labels` makes it anew")
    manifest = read_csv(require(cache / "manifest.csv", "preprocess"))
    rejected = read_csv(cache / "rejected.csv").reindex(columns=REJECTED, fill_value="")
    digests = pd.concat([rejected, manifest]).set_index("file")["sha256"].to_dict()
    for file in table["file"]:
        place = PurePosixPath(file)
        if place.is_absolute() or ".." in place.parts or len(place.parts) < 2:
            raise UserError(f"{LABELS} names {file}, which is no photograph below {root}")
    rows = (row for row in table.itertuples() if digests.get(row.file))
    return [_labelled(row, digests[row.file], root, species) for row in rows]


def tables() -> list[Path]:
    """The tables of answers in the project's folder."""
    return sorted(path for path in Path().glob("*.parquet") if path.is_dir())


def unsure_answers(
    table: Path, root: Path, species: Sequence[str], name: Callable[[str], str | None]
) -> list[Item]:
    """The least sure answers of a table, first those that name no species; a photograph once.

    Args:
        name: gives for the SHA-256 of a file the name of the photograph that it shows, None if that
            is to be left out.

    Raises:
        UserError: it is no table of answers.
    """
    try:
        answers = pads.dataset(table)
        found = answers.to_table(columns=["sha256", "rank", "probability", "error"]).to_pandas()
        rows = answers.take(_least_sure(found[found["error"].isna()], name)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{table} is no table of answers: {error}") from None
    return [_answered(row, root, species) for row in rows]


def unsure_logged(
    url: str, species: Sequence[str], name: Callable[[str], str | None]
) -> list[Item]:
    """The least sure answers of the log at `url` whose photographs were kept; a photograph once.

    Args:
        name: as of `unsure_answers`.

    Raises:
        UserError: there is no log, or it cannot be read.
    """
    answers = read_log(url, columns=LOGGED)
    answers = answers.filter(pc.not_equal(answers["picture"], ""))
    order = _least_sure(answers.drop_columns("probabilities").to_pandas(), name)
    return [_logged(row, url, species) for row in answers.take(order).to_pylist()]


def dropped(
    files: Iterable[tuple[str, str, Callable[[], bytes], Answer]],
    model: str,
    species: Sequence[str],
) -> list[Item]:
    """What a model says of dropped photographs, the least sure first.

    Args:
        files: name, SHA-256 of the content, what gives that, and the answer; those that could not
            be read are left out.
    """
    items = [
        (
            answer,
            Item(name, digest, "", _choices(ranked(answer), species), _said(answer), model, read),
        )
        for name, digest, read, answer in files
        if answer.error is None
    ]
    items.sort(key=lambda pair: (ORDER[pair[0].rank or UNKNOWN], pair[0].probability or 0))
    return [item for _, item in items]


def _labelled(row: Any, digest: str, root: Path, species: Sequence[str]) -> Item:
    """A row of labels.csv."""
    own = row.species
    known = [(row.suggested, _share(row.suggested_probability)), (own, _share(row.probability))]
    known.sort(key=lambda pair: -(pair[1] or 0))  # a label that is likelier comes first
    read_it = partial(read, root / row.file)
    return Item(row.file, digest, own, _choices(known, species), _doubt(row), "", read_it)


def _answered(row: Mapping[str, Any], root: Path, species: Sequence[str]) -> Item:
    """A row of a table of answers."""
    file, place = row["file"], ""
    folder, top = Path(file).parent.resolve(), root.resolve()
    if not is_url(file) and folder.is_relative_to(top) and folder != top:
        place = (folder.relative_to(top) / Path(file).name).as_posix()
    own = place.partition("/")[0]
    shares = {name: row[name] for name in row if name not in schema(()).names}
    answer = Answer(row["species"], row["probability"], shares, rank=row["rank"])
    return Item(
        place or file,
        row["sha256"],
        own,
        _choices(ranked(answer), [*species, *([own] if own else [])]),
        (f"It lies under **{text(own)}**. " if own else "") + _said(answer),
        row["model"],
        lambda: content(photograph(file)),
    )


def _logged(row: Mapping[str, Any], url: str, species: Sequence[str]) -> Item:
    """A row of the log of answers."""
    shares = dict(row["probabilities"])
    answer = Answer(row["answer"], row["probability"], shares, rank=row["rank"])
    kept = f"{url.rstrip('/')}/{PICTURES}/{PurePosixPath(row['picture']).name}"
    return Item(
        row["picture"],
        row["sha256"],
        "",
        _choices(ranked(answer), species),
        _said(answer),
        row["model"],
        lambda: content(photograph(kept)),
    )


def _least_sure(found: pd.DataFrame, name: Callable[[str], str | None]) -> pa.Array:
    """The rows to look at: the less sure first, of those that show one photograph the first."""
    found = found.assign(name=found["sha256"].map(name), order=found["rank"].map(ORDER))
    found = found.dropna(subset="name").sort_values(["order", "probability"], kind="stable")
    return pa.array(np.asarray(found.drop_duplicates("name").index[:MOST], np.int64))


def _choices(
    likeliest: Iterable[tuple[str, float | None]], species: Sequence[str]
) -> tuple[tuple[str, float | None], ...]:
    """All species, those first that somebody thought of."""
    shares: dict[str, float | None] = {}
    for name, share in [*likeliest, *((name, None) for name in species)]:
        if name in species:
            shares.setdefault(name, share)
    return tuple(shares.items())


def _share(value: str) -> float | None:
    try:
        share = float(value)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def _doubt(row: Any) -> str:
    """Why a row of labels.csv should be looked at."""
    own, other = f"**{text(row.species)}**", f"**{text(row.suggested)}**"
    if row.reason == "duplicate":
        return f"The same photograph lies under {own} and under {other}."
    if row.reason == "look-alike":
        return f"It lies under {own} and looks like one under {other}."
    shares = [_share(row.probability), _share(row.suggested_probability)]
    first, second = (f" ({percent(share)})" if share is not None else "" for share in shares)
    return f"It lies under {own}{first}; judged by the others, it looks like {other}{second}."


def _said(answer: Answer) -> str:
    """What a model said, in words."""
    if answer.rank == UNKNOWN:
        return f"The model does not know it; likeliest **{text(answer.likeliest)}**."
    return f"The model says **{text(answer.species or '')}** ({percent(answer.probability or 0)})."
