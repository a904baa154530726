"""What is asked of a model before it becomes the champion: rules, from facts to verdicts.

Pure: promote.py gathers the facts and acts on the verdicts; `gate:` in params.yaml has the knobs,
one for each rule and named as it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fishline.core.params import Gate
from fishline.core.text import many
from fishline.evaluation.statistics import Difference
from fishline.tracking.provenance import PARAMETERS

NO_CHAMPION = "no champion yet"
ROUNDING = 1e-6  # of an accuracy
DRIFT = 0.01  # of a probability: far more than rounding does, far less than other weights


@dataclass(frozen=True)
class ReproducibilityCheck:
    """A model asked again about the images that it was tested on.

    recorded:  the accuracy that its run has
    accuracy:  now
    differing: how many images are answered otherwise than recorded
    ties:      how many more are, whose two likeliest species were recorded as equally likely but
               for rounding: another processor may decide between them otherwise
    drift:     the largest difference between a probability now and the recorded one
    """

    images: int
    recorded: float
    accuracy: float
    differing: int
    ties: int
    drift: float


@dataclass(frozen=True)
class Facts:
    """What is known of a candidate. Where something could not be found out, a text says why.

    tags:       of the version
    champion:   its name; empty if there is none
    difference: the candidate (B) against the champion (A), on the same images
    in_use:     the same on those of them that came from where a model is used and were reviewed
    leaked:     test images with a copy in training
    """

    tags: Mapping[str, str]
    champion: str
    difference: Difference | str
    in_use: Difference | str | None
    leaked: int | str
    reproducibility: ReproducibilityCheck | str


@dataclass(frozen=True)
class Verdict:
    """What a rule says; `figures` in words. A rule that is switched off lets everything pass."""

    rule: str
    passed: bool
    figures: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}: {self.figures}"


def judge(facts: Facts, settings: Gate) -> tuple[Verdict, ...]:
    """A verdict for each rule, in the order of params.yaml."""
    off = Verdict("", True, "switched off in params.yaml")
    verdicts = {
        "accuracy_margin": _accuracy(facts, settings.accuracy_margin),
        "recall_margin": _recall(facts, settings.recall_margin),
        "in_use_margin": _in_use(facts, settings.in_use_margin),
        "leak_audit": _leaks(facts) if settings.leak_audit else off,
        "clean_tree": _tree(facts.tags) if settings.clean_tree else off,
        "reproduces": _reproduces(facts.reproducibility) if settings.reproduces else off,
    }
    return tuple(
        Verdict(rule, verdict.passed, verdict.figures) for rule, verdict in verdicts.items()
    )


def _verdict(passed: bool, figures: str) -> Verdict:
    return Verdict("", passed, figures)


def _compared(facts: Facts) -> Difference | Verdict:
    """What the candidate and the champion make of the same images; without it, the verdict."""
    if not facts.champion:
        return _verdict(True, NO_CHAMPION)
    if isinstance(facts.difference, str):
        return _verdict(False, facts.difference)
    return facts.difference


def _accuracy(facts: Facts, margin: float) -> Verdict:
    """Over images; its fall must not be more than `margin`."""
    difference = _compared(facts)
    if isinstance(difference, Verdict):
        return difference
    low, high = difference.interval
    return _verdict(
        difference.change >= -margin - ROUNDING,
        f"{difference.accuracy_b:.3f} against {difference.accuracy_a:.3f} of {facts.champion} "
        f"on the same {many(difference.photographs, 'photograph')}: {difference.change:+.3f} "
        f"({low:+.3f} … {high:+.3f}), margin {margin:g}",
    )


def _recall(facts: Facts, margin: float) -> Verdict:
    """Of the species whose recall falls most."""
    difference = _compared(facts)
    if isinstance(difference, Verdict):
        return difference
    worst = min(difference.recalls, key=lambda recall: recall.change)
    return _verdict(
        worst.change >= -margin - ROUNDING,
        f"{worst.species} {worst.b:.3f} against {worst.a:.3f}: {worst.change:+.3f} "
        f"({many(worst.images, 'image')}), margin {margin:g}",
    )


def _in_use(facts: Facts, margin: float) -> Verdict:
    """Few photographs say little: only what chance alone does not explain counts."""
    difference = facts.in_use if facts.champion else None
    if isinstance(difference, str):
        return _verdict(False, difference)
    if difference is None:
        none = "no test photograph came from where a model is used and was reviewed"
        return _verdict(True, none if facts.champion else NO_CHAMPION)
    worse = difference.is_real and difference.change < -margin - ROUNDING
    return _verdict(
        not worse,
        f"{difference.accuracy_b:.3f} against {difference.accuracy_a:.3f} of {facts.champion} on "
        f"{many(difference.photographs, 'reviewed photograph')}: {difference.change:+.3f} "
        f"(p = {difference.p:.2g}), margin {margin:g}",
    )


def _leaks(facts: Facts) -> Verdict:
    if isinstance(facts.leaked, str):
        return _verdict(False, facts.leaked)
    strategy = facts.tags.get("split.strategy", "unknown")
    return _verdict(
        strategy in ("grouped", "given") and facts.leaked == 0,
        f"split {strategy}, {many(facts.leaked, 'test image')} with a copy in training",
    )


def _tree(tags: Mapping[str, str]) -> Verdict:
    """Whether git has what the model was made of; of an experiment, DVC has the parameters."""
    dirty, experiment = tags.get("git.dirty", "unknown"), tags.get("dvc.exp", "")
    commit = tags.get("git.commit", "unknown")[:10]
    if dirty == "false":
        return _verdict(True, f"clean at {commit}")
    if dirty != "true":
        return _verdict(False, "trained without git: nobody knows with which code")
    files = tags.get("git.dirty.files", "").split()
    if experiment and files and set(files) <= PARAMETERS:
        return _verdict(True, f"{commit} with the parameters of experiment {experiment}")
    changed = " ".join(files) or "files"
    return _verdict(False, f"{changed} changed since {commit}; commit, then train")


def _reproduces(check: ReproducibilityCheck | str) -> Verdict:
    if isinstance(check, str):
        return _verdict(False, check)
    same = abs(check.accuracy - check.recorded) <= ROUNDING + check.ties / check.images
    return _verdict(
        same and check.differing == 0 and check.drift <= DRIFT,
        f"accuracy {check.accuracy:.6f}, recorded {check.recorded:.6f}; "
        f"{check.differing} of {many(check.images, 'image')} answered otherwise, probabilities "
        f"within {check.drift:.1g}",
    )
