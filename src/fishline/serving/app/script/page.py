"""The file that Streamlit runs anew for each visitor and after each click.

It lies in a folder of its own because Streamlit puts that folder first on Python's path, where
fishline's git.py would stand in for GitPython, which MLflow imports.
"""

from fishline.serving.app.page import page

page()
