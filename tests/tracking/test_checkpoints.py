"""Checkpoints: whole or not at all, of this very training, outside DVC's outputs."""

import os
import time
from pathlib import Path

import pytest
import torch

from fishline.core.errors import UserError
from fishline.tracking import checkpoints
from fishline.tracking.checkpoints import Checkpoint, fingerprint, kept, prune


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_it_lies_in_the_main_checkout_and_comes_back_as_it_was(root: Path) -> None:
    checkpoint = Checkpoint("train-base", "abc", minutes=5)
    state = {"weights": torch.arange(3.0), "lrs": [0.5], "under_way": None, "name": "ø"}
    assert checkpoint.load() is None
    assert checkpoint.save(state)
    found = Checkpoint("train-base", "abc").load()
    assert found is not None
    assert torch.equal(found.pop("weights"), torch.arange(3.0))
    assert found == {"lrs": [0.5], "under_way": None, "name": "ø"}
    assert (root / ".fishline/checkpoints/train-base-abc/training.pt").is_file()


@pytest.mark.parametrize("name", ["finetune-abc", "train-base-abd"])
def test_another_training_does_not_see_it(name: str) -> None:
    stage, _, key = name.rpartition("-")
    Checkpoint("train-base", "abc").save({"x": 1})
    assert Checkpoint(stage, key).load() is None


def test_a_full_disk_leaves_the_last_one_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_room(state: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    checkpoint = Checkpoint("train-base", "abc")
    assert checkpoint.save({"epoch": 1})
    monkeypatch.setattr(torch, "save", no_room)
    assert not checkpoint.save({"epoch": 2})
    assert "No space left on device" in capsys.readouterr().err
    assert checkpoint.load() == {"epoch": 1}
    assert [path.name for path in checkpoint.folder.iterdir()] == ["training.pt"]


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_one_is_said_and_not_used(
    damage: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint("train-base", "abc")
    checkpoint.save({"epoch": 1})
    file = checkpoint.folder / "training.pt"
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    assert checkpoint.load() is None
    assert "is damaged" in capsys.readouterr().err


def test_a_checkpoint_that_would_run_code_is_not_used(tmp_path: Path) -> None:
    checkpoint = Checkpoint("train-base", "abc")
    checkpoint.save({"path": tmp_path})  # an object, not a plain value
    assert checkpoint.load() is None


def test_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    checkpoint = Checkpoint("train-base", "abc", minutes=2)
    due = []
    for passed in (0, checkpoints.SPACING, 119, 120):
        clock[0] = 1000 + passed
        due.append((checkpoint.is_due(in_epoch=True), checkpoint.is_due(in_epoch=False)))
    assert due == [(False, False), (False, True), (False, True), (True, True)]
    checkpoint.save({})
    assert not checkpoint.is_due(in_epoch=False)


def test_one_process_at_a_time() -> None:
    first, second = (Checkpoint("train-base", "abc") for _ in range(2))
    with first.held() as held, second.held() as also:
        assert (held, also) == (True, False)
    with second.held() as later:
        assert later


def test_what_was_half_written_goes_when_it_is_taken_up() -> None:
    checkpoint = Checkpoint("train-base", "abc")
    checkpoint.save({"epoch": 1})
    (checkpoint.folder / ".training.pt-x1y2").write_bytes(b"half")
    with checkpoint.held():
        names = {path.name for path in checkpoint.folder.iterdir()}
    assert names == {"training.pt", "lock"}


def test_a_folder_that_cannot_be_made_is_a_message(root: Path) -> None:
    (root / ".fishline").write_text("")
    with pytest.raises(UserError, match="train-base-abc cannot be written: "):
        with Checkpoint("train-base", "abc").held():
            pass


def test_finished_means_that_the_record_is_noted(tmp_path: Path) -> None:
    checkpoint = Checkpoint("train-base", "abc")
    checkpoint.save({"epoch": 1})
    assert not checkpoint.is_finished()
    (tmp_path / "run.json").write_text("{}")
    checkpoint.finish(tmp_path / "run.json")
    assert checkpoint.is_finished()
    assert checkpoint.record() == "99914b932bd37a50b983c5e7c90ae93b"  # md5 of {}
    checkpoint.remove()
    assert not checkpoint.is_finished() and checkpoint.load() is None


def test_pruning_takes_finished_and_forgotten_ones_of_the_stage(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    made = {name: Checkpoint(*name.split("/")) for name in ("a/mine", "a/done", "a/new", "b/done")}
    made["a/old"] = Checkpoint("a", "old")
    for name, checkpoint in made.items():
        checkpoint.save({})
        if name.endswith("done"):
            checkpoint.finish(tmp_path / "run.json")
    long_ago = time.time() - (checkpoints.KEPT + 1) * 86400
    for name in ("a/old", "a/mine"):
        os.utime(made[name].folder, (long_ago, long_ago))
    prune("a", made["a/mine"])
    left = {checkpoint.folder.name for checkpoint in kept()}
    assert left == {"a-mine", "a-new", "b-done"}


def test_the_fingerprint_is_of_facts_code_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"stage": "train-base", "params": {"lr": 0.1}, "data": "abc"}
    first = fingerprint(facts, 1)
    assert first == fingerprint(dict(reversed(facts.items())), 1)
    assert first != fingerprint(facts | {"params": {"lr": 0.2}}, 1)
    assert first != fingerprint(facts | {"data": "abd"}, 1)
    assert first != fingerprint(facts, 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert first != fingerprint(facts, 1)


def test_the_fingerprint_changes_with_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PACKAGE", tmp_path)
    (tmp_path / "training").mkdir()
    (tmp_path / "training/trainer.py").write_text("lr = 1")
    first = fingerprint({}, 1)
    (tmp_path / "training/trainer.py").write_text("lr = 2")
    assert first != fingerprint({}, 1)
