"""The gate's rules: from facts to verdicts."""

from dataclasses import replace

import pytest

from fishline.core.params import Gate
from fishline.evaluation.statistics import Difference, Recall
from fishline.registry.gate import Facts, ReproducibilityCheck, judge

GATE = Gate(
    accuracy_margin=0.01,
    recall_margin=0.05,
    in_use_margin=0.05,
    leak_audit=True,
    clean_tree=True,
    reproduces=True,
)
RULES = list(Gate.model_fields)
COMMIT = "0123456789abcdef"


def against(accuracy: float, bass: float = 0.9) -> Difference:
    """A candidate with this accuracy and recall of bass; the champion has 0.9 everywhere."""
    recalls = (Recall("Bass", 0.9, bass, 20), Recall("Cod", 0.9, 0.9, 20))
    return Difference(10, 10, 40, 0.9, accuracy, (-0.1, 0.1), 1, 1, 1.0, recalls)


GOOD = Facts(
    tags={"git.commit": COMMIT, "git.dirty": "false", "split.strategy": "grouped"},
    champion="fish/1",
    difference=against(0.95),
    in_use=None,
    leaked=0,
    reproducibility=ReproducibilityCheck(
        images=40, recorded=0.95, accuracy=0.95, differing=0, ties=0, drift=1e-7
    ),
)


def reviewed(accuracy: float, p: float) -> Facts:
    return replace(GOOD, in_use=replace(against(accuracy), p=p))


def tree(dirty: str, files: str = "", experiment: str = "") -> Facts:
    tags = {**GOOD.tags, "git.dirty": dirty}
    tags |= {"git.dirty.files": files} if files else {}
    tags |= {"dvc.exp": experiment} if experiment else {}
    return replace(GOOD, tags=tags)


def split(strategy: str, leaked: int | str = 0) -> Facts:
    return replace(GOOD, tags={**GOOD.tags, "split.strategy": strategy}, leaked=leaked)


def again(**changes: float) -> Facts:
    assert isinstance(GOOD.reproducibility, ReproducibilityCheck)
    return replace(GOOD, reproducibility=replace(GOOD.reproducibility, **changes))


@pytest.mark.parametrize(
    ("facts", "refuses", "said"),
    [
        (GOOD, "", "0.950 against 0.900 of fish/1 on the same 10 photographs: +0.050"),
        (replace(GOOD, champion="", difference="no champion"), "", "no champion yet"),
        (replace(GOOD, difference=against(0.9)), "", "+0.000 (-0.100 … +0.100), margin 0.01"),
        (replace(GOOD, difference=against(0.89)), "", "-0.010"),  # the margin itself is allowed
        (replace(GOOD, difference=against(0.889)), "accuracy_margin", "-0.011"),
        (replace(GOOD, difference=against(0.95, bass=0.85)), "", "Bass 0.850 against 0.900"),
        (
            replace(GOOD, difference=against(0.95, bass=0.84)),
            "recall_margin",
            "Bass 0.840 against 0.900: -0.060 (20 images), margin 0.05",
        ),
        (
            replace(GOOD, difference="other species"),
            "accuracy_margin recall_margin",
            "other species",
        ),
        (GOOD, "", "no test photograph came from where a model is used"),
        (reviewed(0.8, 0.04), "in_use_margin", "0.800 against 0.900 of fish/1 on 10 reviewed"),
        (reviewed(0.8, 0.06), "", "-0.100 (p = 0.06), margin 0.05"),  # may be chance
        (reviewed(0.86, 0.04), "", "-0.040 (p = 0.04)"),  # within the margin
        (replace(GOOD, in_use="line 3: not a decision"), "in_use_margin", "line 3"),
        (split("grouped", 1), "leak_audit", "1 test image with a copy in training"),
        (split("random"), "leak_audit", "split random, 0 test images"),
        (split("random", 7), "leak_audit", "split random, 7 test images"),
        (split("grouped", "no split.json"), "leak_audit", "no split.json"),
        (tree("false"), "", "clean at 0123456789"),
        (tree("unknown"), "clean_tree", "without git"),
        (tree("true", "params.yaml"), "clean_tree", "params.yaml changed since 0123456789"),
        (tree("true", "params.yaml dvc.lock", "wet-cod"), "", "of experiment wet-cod"),
        (tree("true", "params.yaml src/a.py", "wet-cod"), "clean_tree", "src/a.py changed"),
        (tree("true", "", "wet-cod"), "clean_tree", "files changed"),
        (again(differing=1, accuracy=0.95), "reproduces", "1 of 40 images answered otherwise"),
        (again(accuracy=0.949), "reproduces", "accuracy 0.949000, recorded 0.950000"),
        (again(accuracy=0.9500001), "", "within 1e-07"),
        (again(accuracy=0.925, ties=1), "", "accuracy 0.925000"),  # 1 of 40 images
        (again(accuracy=0.9, ties=1), "reproduces", "accuracy 0.900000"),
        (
            again(drift=0.02),
            "reproduces",
            "0 of 40 images answered otherwise, probabilities within",
        ),
        (replace(GOOD, reproducibility="no weights"), "reproduces", "no weights"),
    ],
)
def test_verdicts(facts: Facts, refuses: str, said: str) -> None:
    verdicts = judge(facts, GATE)
    assert [verdict.rule for verdict in verdicts] == RULES
    assert [verdict.rule for verdict in verdicts if not verdict.passed] == refuses.split()
    told = [each for each in verdicts if said in each.figures]
    assert told
    assert not refuses or not told[0].passed


def test_a_verdict_as_a_tag_begins_with_its_outcome() -> None:
    good, bad = (judge(replace(GOOD, difference=against(a)), GATE)[0] for a in (0.9, 0.5))
    assert str(good).startswith("pass: 0.900 against")
    assert str(bad).startswith("FAIL: 0.500 against")


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"leak_audit": False}, split("random", 9)),
        ({"clean_tree": False}, tree("unknown")),
        ({"reproduces": False}, replace(GOOD, reproducibility="no weights")),
        ({"accuracy_margin": 1.0, "recall_margin": 1.0}, replace(GOOD, difference=against(0, 0))),
    ],
)
def test_a_rule_can_be_switched_off(changes: dict[str, float], facts: Facts) -> None:
    assert not all(verdict.passed for verdict in judge(facts, GATE))
    assert all(verdict.passed for verdict in judge(facts, GATE.model_copy(update=changes)))
