"""Where the stages read and write, relative to the project's root; dvc.yaml names the same."""

from pathlib import Path

CACHE = Path("data/cache")
FEATURES = Path("data/features")
SPLIT = Path("data/split")
MODELS = Path("models")
METRICS = Path("metrics")
PLOTS = Path("plots")
TAXONOMY = Path("data/taxonomy.csv")

SUBSETS = ("train", "validation", "test")  # of a split
# What folders and tables of a given split call them, in lower case.
PART_NAMES = {subset: subset for subset in SUBSETS} | {"val": "validation", "valid": "validation"}


def run_record(model: str) -> Path:
    """The file with the id of the MLflow run that trained `models/<model>`.

    Apart from the model, so that the model's hash depends on data, code and parameters alone.
    """
    return MODELS / f"{model}.run.json"
