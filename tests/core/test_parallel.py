"""Work in threads: in order, bounded, and errors where they happen."""

import warnings
from collections.abc import Iterator
from threading import Barrier

import pytest

from fishline.core import parallel
from fishline.core.parallel import in_threads, usable_cores


def test_results_come_in_order() -> None:
    assert list(in_threads(lambda n: n * n, range(1000))) == [n * n for n in range(1000)]
    assert list(in_threads(lambda n: n, [])) == []


def test_jobs_are_taken_as_results_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "AHEAD", 3)
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        while taken < 1000:
            taken += 1
            yield taken

    results = in_threads(lambda n: n, jobs())
    for asked in range(1, 20):
        next(results)
        assert taken <= asked + 3 * usable_cores()
    results.close()


def test_more_threads_than_cores_wait_together() -> None:
    together = Barrier(16, timeout=10)
    assert len(list(in_threads(lambda _: together.wait(), range(16), threads=16))) == 16


def test_an_error_reaches_whoever_asks() -> None:
    results = in_threads(lambda n: 1 // n, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_warnings_of_whoever_asks_are_heard() -> None:
    results = in_threads(lambda n: n, [1, 2])  # never read to its end
    next(results)
    with pytest.raises(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


def test_remarks_of_pillow_are_not_heard() -> None:
    def odd(_: int) -> None:
        warnings.warn_explicit("odd EXIF", UserWarning, "Image.py", 1, module="PIL.Image")

    assert list(in_threads(odd, [1, 2])) == [None, None]
