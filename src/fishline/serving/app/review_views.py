"""The parts of the page Review, in Streamlit: a photograph, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from fishline.core.errors import UserError
from fishline.core.text import many, text
from fishline.data.decisions import DECISIONS, Decision, decide, last_of, standing, undo
from fishline.data.photo_files import reason
from fishline.serving.app.answers import explain, percent, picture
from fishline.serving.app.review import Item, make_decision

KEYS = 9  # species that have a key of their own
LONGEST = 24  # characters of a file's name on a button: its end
WIDTHS = (3, 2)  # of the photograph and of what may be said


@dataclass(frozen=True)
class Shown:
    """A photograph that is shown, and what is known of it then.

    name:        of the photograph, which several files may show
    decision:    that stands
    photographs: as of `photographs_by_digest`
    """

    item: Item
    content: bytes
    name: str
    decision: Decision | None
    photographs: Mapping[str, str]


def show(shown: Shown) -> None:
    """A photograph, and beside it buttons that say what it is."""
    left, right = st.columns(WIDTHS, gap="medium")
    with left:
        try:
            st.image(picture(shown.content), width="stretch")
        except Exception as error:  # a decoder may raise anything on a broken file
            st.error(explain(reason(error)))
    with right:
        st.markdown(f"**{text(shown.item.file)}**  \n{shown.item.why}")
        copies = sum(name == shown.name for name in shown.photographs.values())
        if copies > 1:
            st.caption(f"{copies:,} files show this photograph; what you say counts for all.")
        if (before := shown.decision) is not None:
            st.info(f"{text(before.reviewer)} decided on {before.time:.10}: {_outcome(before)}")
        show_choices(shown)


def show_message() -> None:
    """What came in the way of the last decision."""
    if (said := st.session_state.pop("said", None)) is not None:
        st.warning(said)


def show_choices(shown: Shown) -> None:
    """A button for each thing that may be said of a photograph, with its key."""
    off = not _reviewer()
    if off:
        st.warning("Say above who decides.")
    choices = shown.item.choices
    for place, (species, share) in enumerate(choices[:KEYS]):
        if place % 2 == 0:  # a row of its own for two: on a phone they stand below each other
            row = st.columns(2, gap="small")
        label = text(species) + (f" · {percent(share)}" if share is not None else "")
        with row[place % 2]:
            _button(label, str(place + 1), shown, species, off)
    if rest := [species for species, _ in choices[KEYS:]]:
        key = f"other-{shown.item.sha256}"
        st.selectbox(
            "Another species",
            rest,
            None,
            key=key,
            on_change=_other,
            args=(shown, key),
            disabled=off,
        )
    left, right = st.columns(2, gap="small")
    with left:
        _button("None of these", "N", shown, "", off)
    with right:
        key = f"skip-{shown.item.sha256}"
        st.button("Skip", key, on_click=_skip, args=(shown,), shortcut="S", width="stretch")


def show_last(log: Sequence[Decision], photographs: Mapping[str, str]) -> None:
    """How to take back what was said last, and what comes next."""
    left, right = st.columns(WIDTHS, gap="medium")
    if last := last_of(_reviewer(), log):
        label = f"Undo {text(last.file[-LONGEST:])}: {_outcome(last)}"
        key = f"undo-{last.time}"
        right.button(label, key, on_click=_undo, args=(photographs,), shortcut="U", width="stretch")
    if counts := standing(log):
        left.caption(
            f"{many(len(counts), 'decision')} in {DECISIONS}; `fishline ingest --reviewed` makes "
            "data/raw so, where data.dir names it."
        )


def _button(label: str, key: str, shown: Shown, species: str, off: bool) -> None:
    # Its name is the photograph's, too: a key that is pressed twice says nothing of the next one.
    st.button(
        label,
        f"{key}-{shown.item.sha256}",
        on_click=_decide,
        args=(shown, species),
        type="primary" if key == "1" else "secondary",  # what was suggested
        shortcut=key,
        disabled=off,
        width="stretch",
    )


def _reviewer() -> str:
    """Who decides; the only free text of the log, and no formula to a spreadsheet."""
    return " ".join(st.session_state.reviewer.split()).lstrip("=+-@")


def _decide(shown: Shown, species: str) -> None:
    item = shown.item
    decision = make_decision(item, shown.content, species, _reviewer())
    kept = shown.content if species and not item.species else None
    try:
        between = decide(decision, shown.decision, shown.photographs, kept)
    except UserError as error:
        st.session_state.said = text(error.message)
        return
    st.session_state.seen.add(shown.name)
    if between is not None and between.reviewer != decision.reviewer:  # else a key pressed twice
        st.session_state.said = (
            f"{text(between.reviewer)} was quicker with {text(item.file)}: {_outcome(between)}. "
            "That stays; with *Those that are decided, too* you can say otherwise."
        )


def _other(shown: Shown, key: str) -> None:
    if species := st.session_state[key]:
        _decide(shown, species)


def _skip(shown: Shown) -> None:
    st.session_state.seen.add(shown.name)


def _undo(photographs: Mapping[str, str]) -> None:
    try:
        last = undo(_reviewer())
    except UserError as error:
        st.session_state.said = text(error.message)
        return
    if last is not None:
        st.session_state.seen.discard(photographs.get(last.sha256, last.sha256))


def _outcome(decision: Decision) -> str:
    return f"**{text(decision.after)}**" if decision.after else "none of the species"
