"""What is said of a cluster before it runs anything."""

from types import SimpleNamespace

import pytest

from fishline.cluster import tasks


@pytest.mark.parametrize(
    ("cpus", "gpus", "waits"), [(4, 0, ""), (8, 0, "8 processors"), (1, 0.5, "and 0.5 GPU")]
)
def test_a_machine_that_is_not_there_is_named(
    cpus: int, gpus: float, waits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": False, "Resources": {"GPU": 1}}]
    tasks._say_where(SimpleNamespace(nodes=lambda: nodes), 8, cpus, gpus)
    first, *more = capsys.readouterr().err.splitlines()
    assert first == "8 experiments on 1 machine"
    assert [waits in line for line in more] == ([True] if waits else [])
