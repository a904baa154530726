"""What helps `fishline watch` to see more: more to compare with, several weeks, somebody who looks.

    python benchmarks/watch_more.py FOLDER [--weeks 200] [--repeats 60] [--seed 0]

FOLDER is as for watch.py, and so are changes, halves and rates: an alarm at one look, and p below
5 %. First, the reference: half of the test photographs, or these with those of validation and
training that `evaluate` adds where there are few. Then the last of WEEKS weeks of FEW photographs,
alone or with all of them together. `no change` has `--weeks` draws, others `--repeats`. Last, how
often a photograph of a new species is among the few of a week that somebody looks at, by which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from report import print_table
from watch import CHANGES, NEW, WEEKLY, answered, asked, changed, halves, of, one_each, ours

from fishline.core.params import Params
from fishline.core.roles import BASE, active
from fishline.data.dataset import model_images
from fishline.evaluation.test_run import evaluate_model
from fishline.monitoring import drift
from fishline.monitoring.answers import as_sample
from fishline.monitoring.drift import LOOKS, RATE, Pair, Sample
from fishline.monitoring.reference import TEST, write_reference

WEEKS, FEW = 8, 15
Draw = Callable[[Sample, np.random.Generator], tuple[float, float]]


def joined(one: Sample, other: Sample) -> Sample:
    names = ("numbers", "species", "unsure")
    return Sample(*(np.concatenate([getattr(one, n), getattr(other, n)]) for n in names))


def unconfident(whole: Sample) -> Sample:
    """Without the confidence, as it is compared where the reference has training photographs."""
    return Sample(whole.numbers[:, :-1], whole.species, whole.unsure)


def more(params: Params) -> Sample | None:
    """What the reference has besides test photographs, if these are few."""
    subsets = model_images(BASE, params)
    tested = evaluate_model(BASE.folder, subsets["test"], torch.device("cpu"))
    with TemporaryDirectory() as folder:
        rows = pd.read_parquet(write_reference(tested, subsets, Path(folder)))
    rest = rows[rows["part"] != TEST]
    return as_sample(rest) if len(rest) else None


def with_more(plain: Sample, rest: Sample) -> Draw:
    def draw(come: Sample, rng: np.random.Generator) -> tuple[float, float]:
        old, new = halves(len(plain), rng)
        half, week = of(plain, old), of(come, new[:WEEKLY])
        less = [unconfident(one) for one in (joined(half, rest), week)]
        return ours(half, week), ours(*less)

    return draw


def together(plain: Sample) -> Draw:
    def draw(come: Sample, rng: np.random.Generator) -> tuple[float, float]:
        old, new = halves(len(plain), rng)
        half = of(plain, old)
        pairs = {"last": Pair(half, of(come, new[:FEW]))}
        both = pairs | {"all": Pair(half, of(come, new[: WEEKS * FEW]))}
        p, q = (min(drift.p_values(some).values()) for some in (pairs, both))
        return p, q

    return draw


def compared(
    draw: Draw, kinds: Mapping[str, Sample], draws: Mapping[str, int], seed: int
) -> Iterator[list[str]]:
    for name, come in kinds.items():
        rng = np.random.default_rng(seed)
        found = np.array([draw(come, rng) for _ in range(draws[name])])
        at = (found[:, :, None] < [RATE / LOOKS, 0.05]).mean(0)
        yield [name, *(f"{low:.0%} / {high:.0%}" for low, high in at)]


def looked_at(plain: Sample, strange: Sample, repeats: int, seed: int) -> Iterator[list[str]]:
    """In which share of weeks of `WEEKLY`, `NEW` of them of a new species, one is among so many."""
    count = round(NEW * WEEKLY)
    is_new = np.arange(WEEKLY) >= WEEKLY - count
    for size in (5, 10, 20):
        rng, found = np.random.default_rng(seed), []
        for _ in range(repeats):
            known = of(plain, rng.choice(len(plain), WEEKLY - count, replace=False))
            week = joined(known, of(strange, rng.choice(len(strange), count, replace=False)))
            lot, distance = rng.random(WEEKLY), week.numbers[:, -2]
            orders = (lot, lot - week.unsure, -distance)
            found.append([is_new[np.argsort(order)[:size]].any() for order in orders])
        yield [f"{size}", *(f"{share:.0%}" for share in np.mean(found, axis=0))]


def main() -> None:
    chosen, params, model, test = asked(__doc__, repeats=60)
    plain = answered(model, test)
    for role in active(params)[1:] if len(test) >= WEEKLY else []:
        strange = answered(model, one_each(model_images(role, params)["test"]))
        print("a photograph of a new species is among so many that are looked at\n")
        head = ["", "by lot", "unsure first", "farthest first"]
        print_table([head, *looked_at(plain, strange, 1000, chosen.seed)])
    kinds = {"no change": plain}
    kinds |= {name: changed(model, test, change) for name, change in CHANGES.items()}
    draws = dict.fromkeys(kinds, chosen.repeats) | {"no change": chosen.weeks}
    if rest := more(params):
        print("\nby what is in the reference\n")
        head = ["", f"{len(plain) // 2} of the test", f"and {len(rest)} more"]
        print_table([head, *compared(with_more(plain, rest), kinds, draws, chosen.seed)])
    if len(plain) >= 2 * WEEKS * FEW:
        print(f"\nby the weeks, of {FEW} photographs\n")
        head = ["", "the last alone", f"and {WEEKS} together"]
        print_table([head, *compared(together(plain), kinds, draws, chosen.seed)])


if __name__ == "__main__":
    main()
