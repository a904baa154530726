"""fishline: fish species classification as an experiment-tracked workflow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fishline.serving.answer import Answer
    from fishline.serving.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["Answer", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """`from fishline import Predictor` loads ONNX Runtime; `import fishline` alone does not."""
    if name in ("Answer", "Predictor"):
        from fishline.serving import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'fishline' has no attribute {name!r}")
