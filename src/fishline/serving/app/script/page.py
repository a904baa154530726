"""The file that Streamlit runs anew for each visitor and after each click.

It lies in a folder of its own because Streamlit puts that folder first on Python's path, where
fishline's git.py would stand in for GitPython, which MLflow imports.
"""

import streamlit as st

from fishline.core.params import PATH
from fishline.serving.app.page import page
from fishline.serving.app.review_page import review_page

pages = [st.Page(page, title="Which fish is it?", default=True)]
if PATH.is_file():  # without a project there is nothing to put right
    pages.append(st.Page(review_page, title="Review", url_path="review"))
st.navigation(pages, position="top").run()
