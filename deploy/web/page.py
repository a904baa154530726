"""A page that classifies photographs in the browser: one file, without a server or a network.

    npm install
    python page.py fish.onnx fish.html

The page holds ONNX Runtime for browsers, from node_modules, and the model that `fishline export`
wrote.
"""

import base64
import gzip
import json
import sys
from pathlib import Path

from jinja2 import Template

from fishline.core.errors import UserError
from fishline.models.onnx_model import OnnxModel

HERE = Path(__file__).parent
RUNTIME = HERE / "node_modules/onnxruntime-web/dist"


def page(model: Path, runtime: Path = RUNTIME) -> str:
    """The page for the ONNX file `model`; `runtime` is dist/ of the npm package onnxruntime-web.

    Raises:
        UserError: `fishline export` wrote no such file.
    """
    about = OnnxModel.load(model).description
    return Template((HERE / "page.html").read_text(encoding="utf-8")).render(
        description=json.dumps(about).replace("<", r"\u003c"),
        model=packed(model),
        runtime=packed(runtime / "ort.wasm.bundle.min.mjs"),
        wasm=packed(runtime / "ort-wasm-simd-threaded.wasm"),
        fishline=(HERE / "fishline.js").read_text(encoding="utf-8"),
    )


def packed(file: Path) -> str:
    """The content of `file`, as gzip in base64."""
    return base64.b64encode(gzip.compress(file.read_bytes(), mtime=0)).decode()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("python page.py fish.onnx fish.html")
    if not RUNTIME.is_dir():
        sys.exit(f"{RUNTIME} is missing; `npm install` in {HERE} brings it")
    source, target = map(Path, sys.argv[1:])
    try:
        made = page(source)
    except UserError as error:
        sys.exit(error.message)
    target.write_text(made, encoding="utf-8")
