"""Stage `sample`: draw the built-in data set that the parameters describe."""

from pathlib import Path

from fishline.core.params import load_params
from fishline.data.sample.drawing import MASKED, cut_file, draw_sample

OUT = Path("data/sample")


def main() -> None:
    """The stage ``sample``: draw the data set that the parameters describe."""
    params = load_params().sample
    record = draw_sample(OUT, seed=params.seed, originals=params.originals, copies=params.copies)
    cut = cut_file(params.originals, params.copies)
    print(f"{OUT}: {len(record)} pictures of {record.species.nunique()} species, masks of {MASKED}")
    print(f"{cut} is cut off in the middle, as files of real sets may be")
