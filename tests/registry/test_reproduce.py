"""`fishline reproduce`: the same state, the same bytes, and nothing of the checkout touched."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from toy import Toy, toy_project

from fishline.core.errors import UserError
from fishline.core.parallel import usable_cores
from fishline.registry import reproduce
from fishline.tracking.provenance import environment_hash, machine_tags


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """Trained with a params.yaml that no commit has; it has changed since, and so has the data.

    When version 2 was trained, dvc.lock had its results already.
    """
    with toy_project(tmp_path_factory.mktemp("toy")) as made:
        (made.folder / "params.yaml").write_text("lr: 5\n")
        made.train()
        made.train("repro", "--quiet", "--force")
        (made.folder / "params.yaml").write_text("lr: 6\n")
        (made.folder / "data/raw/A/1.png").unlink()  # a link into DVC's cache, maybe
        (made.folder / "data/raw/A/1.png").write_text("changed")
        made.dvc("add", "--quiet", "data/raw")
        made.commit()
        yield made


def test_in_a_folder_of_any_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with toy_project(tmp_path / "café") as made:
        made.dvc("remote", "add", "--default", "store", str(tmp_path / "remote"))
        made.commit()
        made.train()
        reproduce.main("fish-base/1", None, as_json=False)


def everything(toy: Toy, digests: Callable[[Path], dict[str, str]]) -> object:
    """All that a reproduction must leave as it is: files, DVC's cache, refs, index."""
    files = {
        name: digest
        for name, digest in digests(toy.folder).items()
        if not name.startswith((".dvc/tmp/", ".git/"))
    }
    return files, toy.git("for-each-ref"), toy.git("status", "--porcelain")


def left(toy: Toy) -> list[Path]:
    return list((toy.folder / ".dvc/tmp").glob("reproduce-*"))


def test_the_same_comes_out_and_nothing_else_changes(
    toy: Toy,
    digests: Callable[[Path], dict[str, str]],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "not-for-the-clone")  # src/train.py looks at both
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://not-for-the-clone")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # then, it was another number
    before = everything(toy, digests)
    reproduce.main("fish-base/2", None, as_json=True)
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert (found["same"], found["differences"]) == (True, [])
    assert found["commit"] == toy.versions[1].tags["git.snapshot"]
    assert "Running stage 'train-base'" in err  # streamed through, and not restored
    assert "Running stage 'evaluate'" in err
    assert "Warning: python of then is not recorded" in err
    assert everything(toy, digests) == before
    assert not left(toy)


def test_a_difference_is_named_and_the_clone_can_be_kept(
    toy: Toy, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = tmp_path / "registered"
    shutil.copytree(toy.models[1], registered)
    (registered / "model.safetensors").write_text("other")
    monkeypatch.setitem(toy.models, 1, registered)
    version = toy.versions[0]
    monkeypatch.setattr(toy, "versions", [replace(version, metrics={"test_accuracy": 0.5})])
    with pytest.raises(SystemExit) as ended:
        reproduce.main(version.run_id, tmp_path / "kept", as_json=False)
    assert ended.value.code == 1
    said = capfd.readouterr().out
    assert "differs: model.safetensors had SHA-256" in said
    assert "differs: test_accuracy was 0.5, is" in said
    assert "model.json" not in said
    assert "not the same" in said
    assert (tmp_path / "kept/params.yaml").read_text() == "lr: 5\n"
    assert (tmp_path / "kept/data/raw/A/1.png").read_text() == "one"
    with pytest.raises(UserError, match="kept is there already"):
        reproduce.main(version.run_id, tmp_path / "kept", as_json=False)


def test_data_that_is_gone_is_named(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = [path for path in (toy.folder / ".dvc/cache/files").rglob("*") if path.is_file()]
    (lost,) = [path for path in cached if path.read_bytes() == b"one"]
    content = lost.read_bytes()
    lost.unlink()
    try:
        with pytest.raises(UserError, match="neither in DVC's cache nor in a remote: data/raw/A/1"):
            reproduce.main("fish-base/1", None, as_json=False)
    finally:
        lost.write_bytes(content)
    assert not left(toy)


def test_ctrl_c_ends_the_stages_and_removes_the_clone(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[psutil.Popen] = []
    wait = psutil.Popen.wait

    def interrupted(process: psutil.Popen, *arguments: float, **named: float) -> int | None:
        if process not in started:
            started.append(process)
            raise KeyboardInterrupt
        return wait(process, *arguments, **named)

    monkeypatch.setattr(psutil.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce.main("fish-base/1", None, as_json=False)
    assert [process.is_running() for process in started] == [False]
    assert not left(toy)


def test_a_stage_that_fails_is_a_message(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "STAGE", "train-base")
    monkeypatch.setattr(reproduce, "fetch_data", lambda place, stage: None)  # so it has no data
    with pytest.raises(UserError, match="did not run to their end"):
        reproduce.main("fish-base/1", None, as_json=False)
    assert not left(toy)


@pytest.mark.parametrize(
    ("state", "said"),
    [("none", "no state of its code was kept"), ("a" * 40, "is not in this clone. `git fetch ")],
)
def test_without_its_code_it_is_refused(toy: Toy, state: str, said: str) -> None:
    version = replace(toy.versions[0], run_id="f" * 32, number=9, tags={"git.snapshot": state})
    with pytest.raises(UserError, match=said):
        reproduce.state_of(version)


def test_what_is_not_as_then_is_named() -> None:
    now = machine_tags() | {"environment": environment_hash()}
    assert list(reproduce.changes(now, now)) == []
    then = now | {"torch": "1.0", "environment": "abc", "threads": "4096"}
    del then["cpu"]
    assert [warning.split(" was ")[0] for warning in reproduce.changes(then, now)] == [
        "requirements.txt",
        "torch",
        "processor of then is not recorded",
        f"4096 threads were used; {usable_cores()} cores are here: slow, and the same",
    ]
