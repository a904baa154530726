"""The page Review, in Streamlit: photographs one after the other, each put right by a key."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from fishline.core.errors import UserError
from fishline.core.params import Params, load_params
from fishline.core.paths import CACHE
from fishline.core.text import text
from fishline.data.decisions import Decision, read_decisions, standing
from fishline.data.prepare.manifest import photographs_by_digest
from fishline.serving.answer_log.schema import LOG
from fishline.serving.app import review_sources as sources
from fishline.serving.app.answers import explain
from fishline.serving.app.page import MOST, ask, load, offered
from fishline.serving.app.review import Item, default_reviewer
from fishline.serving.app.review_views import Shown, show, show_last, show_message

LABELS, ANSWERS, DROPPED = "Doubtful labels", "Unsure answers", "New photographs"


def review_page() -> None:
    """Draw the page once."""
    st.set_page_config("Review", layout="wide")
    try:
        params, log = load_params(), read_decisions()
        photographs = _photographs(_changed(CACHE / "manifest.csv"))
        decided = standing(log, photographs)
        source, again = choose_source()
        items = find_items(source, params, photographs, {} if again else decided)
    except UserError as error:
        st.error(text(error.message))
        st.stop()
    show_message()
    show_next(items, photographs, decided, again)
    show_last(log, photographs)


def choose_source() -> tuple[str, bool]:
    """Which photographs to look at, and whether also those that are decided."""
    left, middle, right = st.columns([3, 2, 1.5], vertical_alignment="bottom")
    options = [LABELS, ANSWERS, DROPPED]
    with left:
        source = st.segmented_control("Photographs", options, default=LABELS, required=True)
    with middle:
        again = st.toggle("Those that are decided, too", on_change=_forget_seen)
    with right:
        name = st.session_state.get("name", default_reviewer())
        # Kept apart: what is typed is forgotten when the visitor goes to another page.
        st.session_state.name = st.text_input("Who decides", name, 80, key="reviewer")
    return source, again


def find_items(
    source: str, params: Params, photographs: Mapping[str, str], decided: Mapping[str, Decision]
) -> list[Item]:
    """The photographs of a source; found anew when its files have changed, not at each click.

    Raises:
        UserError: the source has none, or cannot be used.
    """
    if source == DROPPED:
        return drop_items(params)
    root, table = Path(params.data.dir), sources.LABELS if source == LABELS else choose_table()
    state = (table, _changed(Path(table)), _changed(CACHE / "manifest.csv"), bool(decided))
    if st.session_state.get("state") != state:
        if source == LABELS:
            found = sources.doubtful_labels(root, CACHE, params.species)
        else:
            name = partial(_open_name, photographs, decided)
            found = (
                sources.unsure_answers(table, root, params.species, name)
                if isinstance(table, Path)
                else sources.unsure_logged(table, params.species, name)
            )
        st.session_state.state, st.session_state.found = state, found
    items: list[Item] = st.session_state.found
    return items


def choose_table() -> Path | str:
    """One of the project's tables of answers, or the log's URL: a visitor names no file.

    Raises:
        UserError: there is none.
    """
    log = os.environ.get(LOG)
    tables: list[Path | str] = [*sources.tables(), *([log] if log else [])]
    if not tables:
        raise UserError(
            "There is no table of answers in the project's folder: `fishline predict FOLDER --out "
            f"answers.parquet` makes one. Nor is there a log of answers, which {LOG} names"
        )
    return st.selectbox(
        "Table of answers",
        tables,
        format_func=lambda table: str(table) if isinstance(table, Path) else f"the log, {table}",
    )


def drop_items(params: Params) -> list[Item]:
    """Photographs that are dropped on the page, and what a model says of them."""
    choice = st.selectbox("Model", offered(), format_func=lambda choice: choice.label)
    files = st.file_uploader(f"Up to {MOST} photographs at a time", accept_multiple_files=True)
    if not files:
        return []
    pairs = list(
        zip(files, ask(choice, load(choice.name, choice.state), files, ()).answers, strict=True)
    )
    for file, answer in pairs:
        if answer.error is not None:
            st.error(f"**{text(file.name)}**: {explain(answer.error)}")
    taken = ((file.name, _digest(file), file.getvalue, answer) for file, answer in pairs)
    return sources.dropped(taken, choice.name, params.species)


def show_next(
    items: list[Item], photographs: Mapping[str, str], decided: Mapping[str, Decision], again: bool
) -> None:
    """The first photograph that is left to look at."""
    seen: set[str] = st.session_state.setdefault("seen", set())
    done = seen if again else seen | decided.keys()
    names = [photographs.get(item.sha256, item.sha256) for item in items]
    left = [number for number, name in enumerate(names) if name not in done]
    if items:
        share = 1 - len(left) / len(items)
        st.progress(share, f"{len(left):,} of {len(items):,} left to look at")
    for number in left:
        name = names[number]
        if (content := items[number].content()) is not None:
            show(Shown(items[number], content, name, decided.get(name), photographs))
            return
        seen.add(name)  # it was moved or changed since
    st.info("All of these have been looked at." if items else "There is nothing to look at yet.")


def _digest(file: UploadedFile) -> str:
    """SHA-256 of a file's content, computed once: the page is drawn anew at each click."""
    digests: dict[str, str] = st.session_state.setdefault("digests", {})
    if file.file_id not in digests:
        digests[file.file_id] = hashlib.sha256(file.getvalue()).hexdigest()
    return digests[file.file_id]


def _forget_seen() -> None:
    st.session_state.seen = set()


@st.cache_resource(max_entries=2, show_spinner=False)
def _photographs(changed: int) -> dict[str, str]:
    return photographs_by_digest(CACHE)


def _changed(path: Path) -> int:
    """When a file or folder was changed, in nanoseconds since 1970; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _open_name(
    photographs: Mapping[str, str], decided: Mapping[str, Decision], digest: str
) -> str | None:
    """The name of a photograph, None if it is decided."""
    name = photographs.get(digest, digest)
    return None if name in decided else name
