"""The parts of the page that show answers, in Streamlit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from fishline.core.text import many, text
from fishline.models.taxonomy import SPECIES, UNKNOWN
from fishline.serving import predict
from fishline.serving.answer import Answer
from fishline.serving.app import answers as app_answers
from fishline.serving.app.answers import Model, View, explain, percent, ranked
from fishline.serving.app.models import Choice

SHOWN = 6  # photographs that are shown one below the other; of more, one is chosen
KEPT = 32  # pictures that a page keeps; one more and it starts anew
NAMED = 10  # files that could not be read and are named with the reason; the table has all


@dataclass(frozen=True)
class ModelAnswers:
    """A model and what it said of each file, in their order."""

    choice: Choice
    model: Model
    answers: Sequence[Answer]

    @property
    def name(self) -> str:
        return self.choice.name


def show(per_model: Sequence[ModelAnswers], files: Sequence[UploadedFile]) -> None:
    """Several photographs as a table, and one or a few of them in detail."""
    answers, places = per_model[0].answers, list(range(len(files)))
    if len(files) > 1:
        show_errors(answers, files)
        if len(per_model) == 2:
            st.markdown(app_answers.agreement(answers, per_model[1].answers))
        for model_answers in per_model:
            show_table(model_answers, files)
        places = [place for place in places if answers[place].error is None]
    if len(places) > SHOWN:
        places = [st.selectbox("Show one photograph", places, format_func=titles(answers, files))]
    for place in places:
        with st.container(border=True):
            show_one(per_model, files[place], place)


def titles(answers: Sequence[Answer], files: Sequence[UploadedFile]) -> Callable[[int], str]:
    """What a photograph is called in a list: cameras give many the same name."""
    return lambda place: f"{place + 1}: {files[place].name} ({answers[place].species})"


def show_errors(answers: Sequence[Answer], files: Sequence[UploadedFile]) -> None:
    """Why some files were not read, each in a sentence."""
    pairs = zip(files, answers, strict=True)
    failed = [f"**{text(f.name)}**: {explain(a.error)}" for f, a in pairs if a.error is not None]
    if failed:
        more = [f"… and {len(failed) - NAMED} more"] if len(failed) > NAMED else []
        head = f"{many(len(failed), 'file')} of {len(files)} left out; all others were looked at."
        st.error("\n".join([head, "", *(f"- {line}" for line in failed[:NAMED] + more)]))


def show_table(model_answers: ModelAnswers, files: Sequence[UploadedFile]) -> None:
    """All answers of one model, to look at and to download."""
    rows = list(zip([file.name for file in files], model_answers.answers, strict=True))
    species = model_answers.model.config.species
    columns = predict.columns(species)
    table = pd.DataFrame([predict.cells(*row, species) for row in rows], columns=columns)
    shares = ["probability", *species]
    table[shares] = table[shares].astype(float) * 100
    form = {name: st.column_config.NumberColumn(format="%.1f %%") for name in shares}
    st.markdown(f"**{text(model_answers.choice.label)}**")
    st.dataframe(table, hide_index=True, column_config=form, placeholder="")
    st.download_button(
        f"Download this table ({model_answers.name.replace('/', '-')}.csv)",
        app_answers.as_csv(rows, species),
        f"{model_answers.name.replace('/', '-')}.csv",
        "text/csv",
        on_click="ignore",
    )


def show_one(per_model: Sequence[ModelAnswers], file: UploadedFile, place: int) -> None:
    """One photograph: what it is, why, and how sure each model is."""
    st.markdown(f"#### {text(file.name)}")
    answers = [model_answers.answers[place] for model_answers in per_model]
    if answers[0].error is not None:
        st.error(explain(answers[0].error))
        return
    views = [
        look(model_answers, file, answer)
        for model_answers, answer in zip(per_model, answers, strict=True)
    ]
    if len(per_model) == 1:
        show_answer(answers[0])
        if answers[0].rank == UNKNOWN:
            st.markdown(app_answers.UNKNOWN_MEANS)
        left, right = st.columns(2)
        left.image(views[0].picture, "The photograph", width="stretch")
        with right:
            show_heat(views[0], answers[0])
        show_bars(answers[0])
    else:
        compare(per_model, answers, views)


def compare(
    per_model: Sequence[ModelAnswers], answers: Sequence[Answer], views: Sequence[View]
) -> None:
    """Two models' answers side by side."""
    names = (per_model[0].name, per_model[1].name)
    left, right = st.columns(2)
    left.image(views[0].picture, "The photograph", width="stretch")
    right.markdown(app_answers.difference(answers[0], answers[1], names))
    right.markdown(app_answers.places(views[0].maps, views[1].maps))
    if any(answer.rank == UNKNOWN for answer in answers):
        right.markdown(f"Unknown: {app_answers.UNKNOWN_MEANS}")
    for column, model_answers, answer, view in zip(
        st.columns(2), per_model, answers, views, strict=True
    ):
        with column:
            st.markdown(f"**{text(model_answers.choice.label)}**")
            show_answer(answer)
            show_heat(view, answer)
            show_bars(answer)


def show_answer(answer: Answer) -> None:
    """The species, or the genus or family, or that it is unknown, large."""
    said, share = text(answer.species or ""), percent(answer.probability or 0)
    likeliest, its_share = ranked(answer)[0]
    if answer.rank == UNKNOWN:
        st.warning(f"### Unknown\nLikeliest of what the model knows: {text(likeliest)}, {share}")
    elif answer.rank == SPECIES:
        st.info(f"### {said}\nProbability {share}")
    else:
        st.info(
            f"### {said}\nThe {answer.rank}, with probability {share}; no species is likely "
            f"enough. The likeliest: {text(likeliest)}, {percent(its_share)}"
        )


def show_heat(view: View, answer: Answer) -> None:
    """What the model looked at."""
    caption = f"What the model looked at: bright places speak for {text(answer.likeliest)}"
    st.image(view.heat, caption, width="stretch")


def show_bars(answer: Answer) -> None:
    """A bar for each species, the likeliest first."""
    for species, share in ranked(answer):
        st.progress(share, f"{text(species)}: {percent(share)}")


def look(model_answers: ModelAnswers, file: UploadedFile, answer: Answer) -> View:
    """What a model looked at, kept as long as the page is open."""
    views: dict[tuple[str, ...], View] = st.session_state.setdefault("views", {})
    key = (model_answers.name, model_answers.choice.state, file.file_id, answer.likeliest)
    if key not in views:
        if len(views) >= KEPT:
            views.clear()
        views[key] = model_answers.model.view(file.getvalue(), answer.likeliest)
    return views[key]
