"""The report: one HTML file that needs nothing else, and a model card for each model.

From templates/ by Jinja; both say the same, from the same findings.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup
from PIL import Image

from fishline.core.files import write_text
from fishline.core.params import Params
from fishline.core.paths import SUBSETS
from fishline.core.text import templates, text
from fishline.data.decode import Pixels
from fishline.evaluation.report_data import ReportData
from fishline.models.taxonomy import UNKNOWN

TEMPLATES = Path(__file__).parent / "templates"
EDGE = 220  # pixels: the height of a picture in the report
CARD = 5000  # characters that MLflow keeps of a description
ROWS = 25  # species in a card's table, the worst


def write_report(path: Path, models: Sequence[ReportData], params: Params) -> None:
    """Write the page."""
    page = _templates(autoescape=True).get_template("report.html.j2")
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    write_text(path, page.render(models=models, params=params, style=style, subsets=SUBSETS) + "\n")


def card(model: ReportData, params: Params) -> str:
    """The model card, in Markdown: at most `CARD` characters."""
    template = _templates(autoescape=False).get_template("card.md.j2")
    whole = template.render(m=model, params=params, subsets=SUBSETS, unknown=UNKNOWN, most=ROWS)
    return whole if len(whole) < CARD else whole[: CARD - 2].rpartition("\n")[0] + "\n"


def _templates(autoescape: bool) -> Environment:
    environment = templates(TEMPLATES, autoescape)
    environment.filters |= {"share": _share, "picture": _picture, "svg": Markup}
    environment.filters |= {"percent": _percent, "markdown": text}
    return environment


def _share(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _picture(pixels: Pixels, aspect: float) -> str:
    """A JPEG as an address, in the proportions that the photograph had."""
    image = Image.fromarray(pixels).resize((round(EDGE * aspect), EDGE), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
