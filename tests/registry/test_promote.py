"""Promotions and what they leave in the registry: a real store, models, photographs; and moves
at once or broken off, by a store that a test can stop between any two writes."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from champions import SPECIES, Shelf, photographs, shot, store_in
from click.testing import CliRunner, Result

from fishline.cli.main import main
from fishline.data import decisions
from fishline.data.decisions import Decision, decide, now
from fishline.models.onnx_export import export
from fishline.models.trained_model import TrainedModel
from fishline.registry import champion as registry_champion
from fishline.registry.champion import HistoryEntry
from fishline.tracking.versions import CHAMPION


@pytest.fixture(scope="module")
def shelf(store_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with store_in(store_root) as client:
        yield Shelf(tmp_path_factory.mktemp("project"), client, ("", "new-"))


@pytest.fixture(autouse=True)
def project(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests that use the shelf run in its folder."""
    if "shelf" not in request.fixturenames:
        return
    request.getfixturevalue("store")
    monkeypatch.chdir(request.getfixturevalue("shelf").folder)
    monkeypatch.setattr("fishline.registry.git_tags.keep", lambda version: f"kept/{version}")
    monkeypatch.setattr("fishline.registry.git_tags.follow", lambda name: "")
    monkeypatch.setattr("fishline.registry.promote.whoever", lambda: "Ada")


def fishline(*arguments: str) -> Result:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def champion(shelf: Shelf, name: str, wrong: list[str]) -> None:
    """Version 1 of `name`, made champion without being asked."""
    from fishline.tracking.aliases import RegisteredModel

    assert shelf.version(name, wrong) == 1
    registry_champion.move(RegisteredModel(name), HistoryEntry("promote", None, 1, "Ada"))


SOME = shot("Bream", [0, 1, 2])  # 3 of 24 photographs
DIRTY = {"git.dirty": "true", "git.dirty.files": "src/fishline/networks.py"}
TUNED = {"git.dirty": "true", "git.dirty.files": "params.yaml", "dvc.exp": "wet-cod"}
LEAKY = {"split.strategy": "random"}
FORCE = ("--force", "--reason", "new camera")


@dataclass(frozen=True)
class Trial:
    """An attempt to promote a newer version over version 1, which has 3 of 24 photographs wrong.

    champion: 1 or, if it succeeds, 2
    refuses:  the rules that do
    damage:   done to the newer version's files before
    """

    name: str
    champion: int
    refuses: str = ""
    wrong: list[str] = field(default_factory=lambda: SOME)
    made: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    said: str = ""
    damage: Callable[[Path], object] = lambda model: None


def unreadable(model: Path) -> None:
    (model / "model.safetensors").write_bytes(bytes(100))


def other_weights(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    head = next(name for name in tensors if tensors[name].shape == (len(SPECIES),))  # its biases
    tensors[head][0] += 20
    save_file(tensors, model / "model.safetensors")


def another_is_served(model: Path) -> None:
    """By a file that says that it is this model."""
    other = TrainedModel.load(model)
    assert other.digest  # kept from now on
    other.network.classifier[-1].bias.data[0] += 20
    export(other, model.with_name("model.onnx"))


def without_files(model: Path) -> None:
    shutil.rmtree(model)


def without_predictions(model: Path) -> None:
    (model.parents[2] / "test/predictions.csv").unlink()


def without_run(model: Path) -> None:
    for path in ("test/predictions.csv", "split.csv", "split.json"):
        (model.parents[2] / path).unlink()


def grown() -> pd.DataFrame:
    """Newer data, all in the cache: what version 1 learnt from is to test on now."""
    return pd.concat([photographs("new-"), photographs().assign(part="test")], ignore_index=True)


COMPARISONS = "accuracy_margin recall_margin"
INCOMPARABLE = f"{COMPARISONS} in_use_margin"
TRIALS = [
    Trial("equal", 2, said="+0.000"),
    Trial("better", 2, wrong=SOME[:1], said="0.958 against 0.875"),
    Trial(
        "worse everywhere",
        1,
        COMPARISONS,
        wrong=[shot(s, range(3))[i] for s in SPECIES for i in range(3)],
        said="0.625 against 0.875",
    ),
    Trial(
        "a little worse",
        1,
        COMPARISONS,
        wrong=SOME + shot("Trout", [5]),
        said="-0.042",
    ),
    Trial(
        "better, one species collapsed",
        1,
        "recall_margin",
        wrong=shot("Trout", [1, 2]),
        said="Trout 0.750 against 1.000",
    ),
    Trial("code not committed", 1, "clean_tree", made={"tags": DIRTY}, said="networks.py changed"),
    Trial(
        "parameters changed, no experiment",
        1,
        "clean_tree",
        made={"tags": {k: v for k, v in TUNED.items() if k != "dvc.exp"}},
        said="params.yaml changed",
    ),
    Trial(
        "parameters of an experiment",
        2,
        made={"tags": TUNED},
        arguments=("--experiment", "wet-cod"),
        said="parameters of experiment wet-cod",
    ),
    Trial(
        "code changed in an experiment",
        1,
        "clean_tree",
        made={"tags": {**TUNED, "git.dirty.files": "params.yaml src/"}},
        said="params.yaml src/ changed",
    ),
    Trial("random split", 1, "leak_audit", made={"tags": LEAKY, "leaked": 31}, said="31 test"),
    Trial("leak in a grouped split", 1, "leak_audit", made={"leaked": 2}, said="2 test images"),
    Trial(
        "weights unreadable",
        1,
        "reproduces",
        damage=unreadable,
        said="does not load: model.safetensors",
    ),
    Trial(
        "weights of another model",
        1,
        "reproduces",
        wrong=[],
        damage=other_weights,
        said="32 of 48 images answered otherwise",
    ),
    Trial(
        "another model is served",
        1,
        "reproduces",
        wrong=[],
        damage=another_is_served,
        said="32 of 48 images answered otherwise",
    ),
    Trial("files of the model gone", 1, "reproduces", damage=without_files, said="files of"),
    Trial(
        "never evaluated",
        1,
        "reproduces",
        damage=without_predictions,
        said="has no test/predictions.csv",
    ),
    Trial(
        "files of the run gone",
        1,
        f"{INCOMPARABLE} leak_audit reproduces",
        damage=without_run,
        said="has no split.json",
    ),
    Trial("tested on newer data", 2, made={"images": grown()}, said="same 48 photographs"),
    Trial(
        "data not in the cache",
        1,
        f"{INCOMPARABLE} reproduces",
        made={"images": photographs("gone-")},
        said="data/cache lacks 48 of 48 test images",
    ),
    Trial(
        "worse, forced",
        2,
        COMPARISONS,
        wrong=SOME + shot("Shrimp", [1, 2, 3]),
        arguments=FORCE,
        said="FAIL",
    ),
    Trial("forced without a reason", 1, arguments=("--force",), said="--force needs --reason"),
]


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_a_promotion_moves_the_champion_or_nothing(shelf: Shelf, trial: Trial) -> None:
    # Where nothing moves, the next trial finds the registry as this one did.
    name = "fish-gate" if trial.champion == 1 else "fish-" + trial.name.replace(" ", "-")
    if not shelf.store.search_registered_models(f"name = '{name}'"):
        champion(shelf, name, SOME)
    number = shelf.version(name, trial.wrong, **trial.made)
    trial.damage(shelf.files(name, number))
    done = fishline("promote", name, *trial.arguments)
    assert trial.said in done.output
    assert done.exit_code == (0 if trial.champion == 2 else 1), done.output
    assert shelf.state(name) == {CHAMPION: trial.champion}
    assert [entry["champion"] for entry in shelf.history(name)] == [1, 2][: trial.champion]
    tags = shelf.tags(name, number)
    verdicts = {k.removeprefix("gate."): v for k, v in tags.items() if k.startswith("gate.")}
    failed = [rule for rule, text in verdicts.items() if text.startswith("FAIL: ")]
    assert sorted(failed) == sorted(trial.refuses.split())
    assert tags.get("git.kept", "") == (f"kept/{name}/{number}" if trial.champion == 2 else "")
    if not verdicts:  # turned down before any rule was asked
        return
    assert verdicts["verdict"] == ("FAIL" if failed else "pass")
    assert verdicts["against"] == f"{name}/1"
    for rule in failed:
        assert f"{rule}  " in done.output
    assert ("stays champion" in done.output) == (trial.champion == 1)


def test_the_first_champion_needs_no_comparison(shelf: Shelf) -> None:
    shelf.version("fish-first", SOME)
    done = fishline("promote", "fish-first")
    assert done.exit_code == 0
    assert done.output.count("no champion yet") == 3
    assert shelf.state("fish-first") == {CHAMPION: 1}


def test_reviewed_photographs_of_use_have_a_rule_of_their_own(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    came = shot("Bream", range(3)) + shot("Trout", range(3))
    champion(shelf, "fish-used", shot("Shrimp", range(6)))
    shelf.version("fish-used", came)
    monkeypatch.setattr(decisions, "DECISIONS", tmp_path / "decisions.csv")
    images = photographs().set_index("file")
    for photograph in came:
        digest = images.loc[f"{photograph}-0.png", "sha256"]
        species = photograph.split("/")[0]
        row = Decision(now(), "Ada", "fish-used/1", "a.jpg", digest, "", "correct", species)
        decide(row, None)
    said = fishline("promote", "fish-used").output
    assert "in_use_margin    FAIL  0.000 against 1.000 of fish-used/1 on 6 reviewed" in said
    decide(replace(row, time=now(), decision="undo"), row)
    assert "on 5 reviewed photographs" in fishline("promote", "fish-used").output  # p = 0.06
    assert "FAIL" not in shelf.tags("fish-used", 2)["gate.in_use_margin"]


def test_a_forced_promotion_says_why_in_the_history(shelf: Shelf) -> None:
    champion(shelf, "fish-forced", [])
    shelf.version("fish-forced", SOME)
    fishline("promote", "fish-forced", *FORCE)
    entry = shelf.history("fish-forced")[-1]
    assert (entry["who"], entry["reason"], entry["done"]) == ("Ada", "new camera", True)
    assert str(entry["verdicts"]["accuracy_margin"]).startswith("FAIL: 0.875 against 1.000")  # type: ignore[index]
    told = fishline("history", "fish-forced").output
    assert 'forced against accuracy_margin, recall_margin; "new camera"' in told


def test_the_champion_again_is_no_move(shelf: Shelf) -> None:
    champion(shelf, "fish-same", SOME)
    done = fishline("promote", "fish-same", "--version", "1")
    assert (done.exit_code, done.output) == (0, "fish-same/1 is the champion already\n")
    assert len(shelf.history("fish-same")) == 1


def test_rollback_swaps_and_swaps_again(shelf: Shelf) -> None:
    champion(shelf, "fish-back", SOME)
    shelf.version("fish-back", [])
    fishline("promote", "fish-back")
    shelf.store.set_registered_model_alias("fish-back", "previous", "2")  # of an earlier fishline
    for number in (1, 2):
        assert fishline("rollback", "fish-back").exit_code == 0
        assert shelf.state("fish-back") == {CHAMPION: number, "previous": 2}
    moved = [(e["action"], e["replaced"], e["champion"]) for e in shelf.history("fish-back")]
    assert moved == [
        ("promote", None, 1),
        ("promote", 1, 2),
        ("rollback", 2, 1),
        ("rollback", 1, 2),
    ]


def test_what_was_done_as_json(shelf: Shelf) -> None:
    champion(shelf, "fish-said", SOME)
    shelf.version("fish-said", [], DIRTY)
    done = fishline("promote", "fish-said", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["moved"], said["champion"]) == (1, False, "fish-said/1")
    failed = [verdict["rule"] for verdict in said["verdicts"] if not verdict["passed"]]
    assert (failed, "clean_tree" in done.stderr) == (["clean_tree"], True)
    said = json.loads(fishline("promote", "fish-said", *FORCE, "--json").stdout)
    assert (said["moved"], said["champion"], said["former"]) == (True, "fish-said/2", "fish-said/1")
    said = json.loads(fishline("rollback", "fish-said", "--json").stdout)
    assert (said["moved"], said["champion"], said["former"]) == (True, "fish-said/1", "fish-said/2")


def test_without_a_former_champion_rollback_is_refused(shelf: Shelf) -> None:
    champion(shelf, "fish-alone", SOME)
    done = fishline("rollback", "fish-alone")
    assert done.exit_code == 1
    assert "no previous champion to go back to" in done.output
    assert shelf.state("fish-alone") == {CHAMPION: 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fish-cod",), "has no registered model 'fish-cod'; it has: "),
        (("fish-what", "--version", "9"), "fish-what has no version 9. There are: 1, 2"),
        (("fish-what", "--run", "f" * 32), f"no version of {'f' * 32}. There are: "),
        (("fish-what", "--run", ""), "has no version of"),
        (("fish-what", "--experiment", "dry-cod"), "no version of dry-cod. There are: wet-cod"),
        (("fish-what", "--experiment", "wet-cod", "--version", "1"), "exclude each other"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(
    shelf: Shelf, arguments: tuple[str, ...], said: str
) -> None:
    if not shelf.store.search_registered_models("name = 'fish-what'"):
        for tags in ({}, TUNED):
            shelf.version("fish-what", SOME, tags)
    done = fishline("promote", *arguments)
    assert done.exit_code == 1
    assert said in done.output
    assert shelf.state("fish-what") == {}


def test_a_version_is_chosen_by_its_run_or_its_experiment(shelf: Shelf) -> None:
    for tags in (TUNED, TUNED, {}):
        shelf.version("fish-chosen", SOME, tags)
    shelf.version("fish-other", SOME, TUNED)  # the same experiment's other model
    assert fishline("promote", "fish-chosen", "--experiment", "wet-cod").exit_code == 0
    assert shelf.state("fish-chosen") == {CHAMPION: 2}  # the newer one
    run = shelf.store.get_model_version("fish-chosen", "1").run_id
    assert fishline("promote", "fish-chosen", "--run", run[:10]).exit_code == 0
    assert shelf.state("fish-chosen") == {CHAMPION: 1}


def test_two_at_once_on_one_machine_are_judged_one_after_the_other(shelf: Shelf) -> None:
    name = "fish-two"
    champion(shelf, name, SOME)
    for wrong in (SOME[:2], SOME[:1]):
        shelf.version(name, wrong)
    from fishline.registry.promote import promote

    threads = [
        threading.Thread(target=promote, args=(name, number, None, None, True, "race"))
        for number in (2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, second, third = shelf.history(name)
    assert (second["replaced"], third["replaced"]) == (1, second["champion"])
    assert {second["champion"], third["champion"]} == {2, 3}
    assert shelf.state(name) == {CHAMPION: third["champion"]}
    assert shelf.tags(name, int(str(third["champion"])))["gate.against"] == (
        f"{name}/{second['champion']}"
    )


def test_a_move_that_broke_off_is_completed_by_the_next(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "fish-killed"
    champion(shelf, name, SOME)
    shelf.version(name, SOME)

    class Power(BaseException):
        pass

    def killed(entry: HistoryEntry) -> HistoryEntry:
        raise Power

    with monkeypatch.context() as patch:
        patch.setattr(HistoryEntry, "as_done", killed)
        with pytest.raises(Power):
            CliRunner().invoke(main, ["promote", name])
    assert shelf.state(name) == {CHAMPION: 2}
    assert [entry["done"] for entry in shelf.history(name)] == [True, False]
    assert "is the champion already" in fishline("promote", name).output
    assert fishline("rollback", name).exit_code == 0
    assert shelf.state(name) == {CHAMPION: 1}
    assert all(entry["done"] for entry in shelf.history(name))


# Moves themselves, on a store in memory.


class ColourBaseline:
    """A registered model with the versions 1 … 9; `before` is called ahead of every request."""

    def __init__(self) -> None:
        self.named: dict[str, int] = {}
        self.own: dict[str, str] = {}
        self.of: dict[int, dict[str, str]] = {number: {} for number in range(1, 10)}
        self.before: Callable[[], None] = lambda: None

    def aliases(self) -> dict[str, int]:
        self.before()
        return dict(self.named)

    def set_alias(self, alias: str, number: int) -> None:
        self.before()
        self.named[alias] = number

    def tags(self) -> dict[str, str]:
        self.before()
        return dict(self.own)

    def tag(self, key: str, value: str) -> None:
        self.before()
        self.own[key] = value

    def version_tags(self, number: int) -> dict[str, str] | None:
        self.before()
        return dict(self.of[number]) if number in self.of else None

    def tag_version(self, number: int, key: str, value: str) -> None:
        self.before()
        self.of[number][key] = value


@pytest.fixture
def memory() -> ColourBaseline:
    """Version 2 is champion, after 1."""
    store = ColourBaseline()
    for replaced, number in ((None, 1), (1, 2)):
        registry_champion.move(store, HistoryEntry("promote", replaced, number, "Ada"))
    assert store.named == {CHAMPION: 2}
    return store


@pytest.mark.parametrize("when", range(7))
@pytest.mark.parametrize(
    ("action", "number"),
    [("promote", 4), ("promote", 3), ("rollback", 1)],
    ids=["another", "the same", "rollback"],
)
def test_of_two_moves_at_once_the_last_stands_whole(
    memory: ColourBaseline, when: int, action: str, number: int
) -> None:
    requests = 0

    def interrupt() -> None:
        nonlocal requests
        requests += 1
        if requests == when + 1:
            memory.before = lambda: None
            registry_champion.move(memory, HistoryEntry(action, 2, number, "Bob"))

    memory.before = interrupt
    registry_champion.move(memory, HistoryEntry("promote", 2, 3, "Ada"))
    assert requests > when
    assert memory.named[CHAMPION] in (3, number)
    entries = registry_champion.history(memory)
    assert sorted(entry.who for entry in entries[2:]) == ["Ada", "Bob"]
    assert all(entry.done for entry in entries)
    assert entries[-1].champion == memory.named[CHAMPION]
    assert registry_champion.before(memory) == 2


class Dead(Exception):
    pass


@pytest.mark.parametrize("requests", range(10))
def test_killed_after_any_request_the_champion_is_whole_and_the_next_move_completes_it(
    memory: ColourBaseline, requests: int
) -> None:
    left = iter(range(requests))

    def die() -> None:
        if next(left, None) is None:
            raise Dead

    memory.before = die
    ended = True
    try:
        registry_champion.move(memory, HistoryEntry("promote", 2, 3, "Ada"))
    except Dead:
        ended = False
    memory.before = lambda: None
    moved = memory.named[CHAMPION] == 3
    assert memory.named[CHAMPION] in (2, 3)
    entries = registry_champion.history(memory)
    assert [entry.done for entry in entries[2:]] == [moved] * (len(entries) - 2)
    assert moved or not ended
    assert registry_champion.before(memory) == (2 if moved else 1)
    registry_champion.move(memory, HistoryEntry("promote", memory.named[CHAMPION], 4, "Bob"))
    assert [entry.done for entry in registry_champion.history(memory)[2:-1]] == [moved] * (
        len(entries) - 2
    )


def test_a_champion_set_by_hand_is_respected(memory: ColourBaseline) -> None:
    memory.named[CHAMPION] = 5
    assert registry_champion.before(memory) == 2
    registry_champion.move(memory, HistoryEntry("promote", 5, 6, "Ada"))
    assert registry_champion.before(memory) == 5


def test_a_former_champion_that_was_deleted_is_no_previous(memory: ColourBaseline) -> None:
    del memory.of[1]
    assert registry_champion.before(memory) is None


def test_the_history_has_the_order_of_moving_not_of_asking(memory: ColourBaseline) -> None:
    first, second = (HistoryEntry("promote", 2, number, "Ada") for number in (3, 4))
    for entry in (second, first):
        registry_champion.move(memory, entry)
    assert first.time < second.time
    entries = registry_champion.history(memory)
    assert [entry.champion for entry in entries] == [1, 2, 4, 3]
    assert entries[2].when < entries[3].when


def test_a_foreign_tag_is_no_move(memory: ColourBaseline) -> None:
    memory.own["history.of-ours"] = "a note"
    assert [entry.champion for entry in registry_champion.history(memory)] == [1, 2]
