"""The page, in Streamlit: which species is on the photographs that are dropped on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from fishline.core.errors import UserError
from fishline.core.text import many, text
from fishline.models.devices import find_device
from fishline.serving import predict
from fishline.serving.answer import Answer
from fishline.serving.app import answers as app_answers
from fishline.serving.app import models as app_models
from fishline.serving.app.answers import Model
from fishline.serving.app.models import Choice
from fishline.serving.app.views import ModelAnswers, show

MOST = 200  # files that are looked at: they are held in memory
CHUNK = 16  # photographs between two steps of the progress bar
KEPT = 4  # models that are held in memory


def page() -> None:
    """Draw the page once."""
    st.set_page_config("Which fish is it?", layout="centered")
    st.title("Which fish is it?", anchor=False)
    chosen = choose_models()
    only = choose_species([model for _, model in chosen])
    files = st.file_uploader(
        f"Drop photographs here, or choose them: up to {MOST} at a time",
        accept_multiple_files=True,
    )
    if files:
        show([ask(choice, model, files, only) for choice, model in chosen], files)
    else:
        st.caption(where_they_go())
    for choice, model in chosen:
        with st.expander(f"About {text(choice.name)}"):
            rows = app_models.about(choice, model.config).items()
            st.markdown("\n".join(f"- **{name}**: {text(value)}" for name, value in rows))


def where_they_go() -> str:
    """What becomes of the photographs, for whoever drops them."""
    keep = os.environ.get("FISHLINE_LOG") and os.environ.get("FISHLINE_LOG_PICTURES")
    if not keep:
        return "They are held in the memory of the computer that runs this page; none is kept."
    which = "all of them" if keep == "all" else "those whose species the model is unsure of"
    return f"Whoever runs this page keeps {which}."


def choose_models() -> list[tuple[Choice, Model]]:
    """One model, or two to compare; ends the page if there is none."""
    choices = offered()
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        first = st.selectbox("Model", choices, format_func=lambda choice: choice.label)
    with right:
        two = st.toggle("Compare with a second model", disabled=len(choices) < 2)
    chosen = [first]
    if two:
        others = app_models.others(first, choices)
        chosen.append(st.selectbox("Second model", others, format_func=lambda choice: choice.label))
    try:
        models = [(choice, load(choice.name, choice.state)) for choice in chosen]
    except UserError as error:
        st.error(f"{text(error.message)} Choose another model.")
        st.stop()
    for species in dict.fromkeys(model.config.species for _, model in models):
        names = [choice.name for choice, model in models if model.config.species == species]
        who = f"{' and '.join(names)} {'know' if len(names) > 1 else 'knows'}"
        st.caption(
            f"{text(who)} {text(', '.join(species))}; any other fish may be taken for these."
        )
    return models


def choose_species(models: Sequence[Model]) -> tuple[str, ...]:
    """What the answers shall be among, of the species that all models know; empty for all."""
    first, *others = (model.config.species for model in models)
    common = [name for name in first if all(name in species for species in others)]
    label = "Only these can be on the photographs"
    return tuple(st.multiselect(label, common, placeholder="any species")) if common else ()


def offered() -> list[Choice]:
    """What there is to choose from. Found anew when the page is loaded, not at each click."""
    if "choices" not in st.session_state:
        try:
            st.session_state.choices = app_models.registered() or app_models.folders()
        except UserError as error:
            st.session_state.choices = app_models.folders()
            st.warning(text(error.message))
    if not st.session_state.choices:
        del st.session_state.choices  # it may be there at the next click
        st.error(app_models.NOTHING)
        st.stop()
    choices: list[Choice] = st.session_state.choices
    return choices


@st.cache_resource(max_entries=KEPT, show_spinner="Loading the model …")
def load(name: str, state: str) -> Model:
    """The model `name`; `state` differs when the name stands for another."""
    # By torch, which Grad-CAM needs.
    return Model(predict.load(name, find_device("auto"), source="app"))


def ask(
    choice: Choice, model: Model, files: Sequence[UploadedFile], only: tuple[str, ...]
) -> ModelAnswers:
    """What a model says of the files; only of those it was not asked about before."""
    known: dict[tuple[Any, ...], Answer] = st.session_state.setdefault("answers", {})
    keys = [(choice.name, choice.state, file.file_id, only) for file in files]
    wanted = [place for place, key in enumerate(keys[:MOST]) if key not in known]
    if wanted:
        bar = st.progress(0.0, f"{choice.name} looks at {many(len(wanted), 'photograph')}")
        for start in range(0, len(wanted), CHUNK):
            places = wanted[start : start + CHUNK]
            answers = model.ask([files[place].getvalue() for place in places], only)
            known.update(zip([keys[place] for place in places], answers, strict=True))
            bar.progress((start + len(places)) / len(wanted))
        bar.empty()
    here = {file.file_id for file in files}
    for key in [key for key in known if key[2] not in here]:
        del known[key]
    return ModelAnswers(
        choice, model, [known.get(key) or app_answers.too_many(MOST) for key in keys]
    )
