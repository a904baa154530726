"""A model's ONNX file in 8-bit integers: smaller, and quicker on most processors.

Static quantisation by ONNX Runtime (https://onnxruntime.ai/docs/performance/model-optimizations):
weights by channel, and what flows between layers in the range that training photographs give it.
The first convolution stays float32, which halves what accuracy loses. So does what comes after the
feature maps: last layers and distance, for which small differences count.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from onnx import numpy_helper
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import (  # type: ignore[import-untyped]
    quant_pre_process,
)

from fishline.data.dataset import Images
from fishline.models.onnx_export import INPUT, OUTPUTS

CALIBRATION = 64  # training images: with 256 nothing was better
BATCH = 16


def quantize(whole: Path, images: Images) -> onnx.ModelProto:
    """The graph in the file `whole`, which `export` wrote, in 8-bit integers.

    Args:
        images: of training, of which some show what ranges there are.
    """
    with TemporaryDirectory() as folder:
        clean, quantized = Path(folder) / "clean.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(whole, clean, skip_symbolic_shape=True)
        quantize_static(
            clean,
            quantized,
            _Calibration(images),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_float(onnx.load(clean).graph),
        )
        made = onnx.load(quantized)
    used = {node.domain for node in made.graph.node}
    for opset in [opset for opset in made.opset_import if opset.domain not in used]:
        made.opset_import.remove(opset)  # ONNX Runtime names all that it knows
    return made


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: Images) -> None:
        self._batches = images.batches(spread(images, CALIBRATION), BATCH)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(({INPUT: pixels.numpy()} for pixels, _ in self._batches), None)


def spread(images: Images, most: int) -> torch.Tensor:
    """At most `most` positions in `images`, int64, evenly spread."""
    return torch.linspace(0, len(images) - 1, min(most, len(images))).long()


def _float(graph: onnx.GraphProto) -> list[str]:
    """The nodes that stay float32."""
    body = [node for node in graph.node if node.name.startswith("/features/")]
    first = [node.name for node in body if node.op_type == "Conv"][:1]
    maps = {node.name for node in body}
    return first + [node.name for node in graph.node if node.name not in maps]


def set_limit(whole: onnx.ModelProto, limit: float) -> None:
    """Make `limit` the distance above which a photograph is unknown."""
    (far,) = (node for node in whole.graph.node if OUTPUTS[2] in node.output)
    name = far.input[1]
    for tensor in whole.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(np.array(limit, np.float32), name))


def answers(file: Path, images: Images) -> Iterator[list[npt.NDArray[Any]]]:
    """`OUTPUTS` for `images`, a batch at a time, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for pixels, _ in images.batches(torch.arange(len(images)), BATCH):
        yield session.run(list(OUTPUTS), {INPUT: pixels.numpy()})
