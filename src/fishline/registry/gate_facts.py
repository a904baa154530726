"""What the gate must know of a candidate, found out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fishline.core.errors import UserError
from fishline.core.files import read_json
from fishline.data.decisions import read_decisions, reviewed_answers
from fishline.data.prepare.leaks import leaked
from fishline.evaluation import retest
from fishline.evaluation.comparison import Paired, on_same_photographs
from fishline.evaluation.statistics import Difference, difference
from fishline.registry.gate import Facts, ReproducibilityCheck
from fishline.tracking import versions
from fishline.tracking.versions import Version

Found = TypeVar("Found")
Floats = npt.NDArray[np.float64]
AUDIT = "split.json"  # of a training's run: what the split lets through
TIE = 1e-3  # two species whose probabilities differ by less are equally likely but for rounding


def facts(candidate: Version, champion: Version | None) -> Facts:
    """All of them; what cannot be found out is a text that says why."""
    if champion is None:
        paired: Paired | str = "no champion"
    else:
        paired = _or_why(lambda: on_same_photographs(champion, candidate))
    return Facts(
        tags=candidate.tags,
        champion=str(champion or ""),
        difference=paired if isinstance(paired, str) else difference(paired.a, paired.b),
        in_use=paired if isinstance(paired, str) else _or_why(lambda: _in_use(paired)),
        leaked=_or_why(lambda: _leaked(candidate)),
        reproducibility=_or_why(lambda: _retest(candidate)),
    )


def _or_why(find: Callable[[], Found]) -> Found | str:
    try:
        return find()
    except UserError as error:
        return " ".join(error.message.split())


def _in_use(paired: Paired) -> Difference | None:
    """On photographs that somebody reviewed after a model had been asked; None if there is none."""
    came = paired.b["sha256"].isin(reviewed_answers(read_decisions()))
    return difference(paired.a[came], paired.b[came]) if came.any() else None


def _leaked(version: Version) -> int:
    """Test images with a copy in training: what `split` found, or its table, whichever is more."""
    with tempfile.TemporaryDirectory() as folder:
        file = versions.run_file(version, AUDIT, Path(folder))
        if file is None:
            raise UserError(f"run {version.run_id} has no {AUDIT}: nobody audited its split")
        audited = int(read_json(file)["test_images_with_a_copy_in_train"])
    table = retest.recorded(version, retest.SPLIT)
    return audited if table is None else max(audited, leaked(table))


def _retest(version: Version) -> ReproducibilityCheck:
    """Ask `version` again about its test images."""
    then = retest.required(version, retest.PREDICTIONS)
    if "test_accuracy" not in version.metrics:
        raise UserError(f"run {version.run_id} has no test_accuracy; `dvc repro evaluate` logs it")
    now = retest.predictions(version, then, version, served=True)
    species = [name for name in now.columns[list(now).index("predicted") + 1 :] if name in then]
    recorded, computed = then[species].to_numpy(float), now[species].to_numpy(float)
    changed = then["predicted"].to_numpy() != now["predicted"].to_numpy()
    ties = changed & (_lead(recorded) < TIE)
    return ReproducibilityCheck(
        images=len(now),
        recorded=version.metrics["test_accuracy"],
        accuracy=float((now["species"] == now["predicted"]).mean()),
        differing=int((changed & ~ties).sum()),
        ties=int(ties.sum()),
        drift=float(np.abs(recorded - computed).max()) if species else 0.0,
    )


def _lead(probabilities: Floats) -> Floats:
    """By how much the likeliest species leads: (n, species ≥ 2) -> (n,)."""
    ascending = np.sort(probabilities, axis=1)
    lead: Floats = ascending[:, -1] - ascending[:, -2]
    return lead
