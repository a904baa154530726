"""params.yaml: what is accepted, and what a wrong file is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from jsonschema import Draft202012Validator

from fishline.core.errors import UserError
from fishline.core.params import Params, load_params, training
from fishline.core.roles import BASE, FINETUNED, active
from fishline.core.training_params import RESERVED, Method
from fishline.core.yaml_files import flatten, read_yaml

ROOT = Path(__file__).parents[2]

VALID: dict[str, str | None] = {  # dotted keys; the values are YAML
    "seed": "1",
    "image_size": "48",
    "data.dir": "data/sample",
    "data.conflicts": "fail",
    "data.personal": "drop",
    "sample.seed": "7",
    "sample.originals": "3",
    "sample.copies": "1",
    "split.strategy": "grouped",
    "split.by": "[photograph, trip]",
    "split.burst_seconds": "10",
    "split.given_leaks": "fail",
    "split.seed": "2",
    "split.train": "0.7",
    "split.validation": "0.1",
    "split.test": "0.2",
    "model.name": "notebook",
    "model.weights": "none",
    "loss": "cross_entropy",
    "label_smoothing": "0.1",
    "sample_weight": "files",
    "optimizer": "adam",
    "schedule": "cosine",
    "warmup": "0.2",
    "backbone_lr": "0.2",
    "frozen_blocks": "2",
    "clip": "1",
    "ema": "0.9",
    "keep": "best",
    "patience": "3",
    "device": "cpu",
    "precision": "float32",
    "compile": "false",
    "launch": "python",
    "checkpoint_minutes": "5",
    "system_metrics": "false",
    "known_recall": "0.95",
    "confidence_threshold": "0.5",
    "gate.accuracy_margin": "0.01",
    "gate.recall_margin": "0",
    "gate.in_use_margin": "0.05",
    "gate.leak_audit": "true",
    "gate.clean_tree": "false",
    "gate.reproduces": "true",
    "lr": "0.001",
    "weight_decay": "0.0001",
    "batch_size": "32",
    "epochs": "15",
    "augment": "false",
    "balance": "none",
    "base.species": "[Trout, Shrimp]",
    "base.train": "auto",
    "finetune.species": "[Red Mullet, Sea Bass]",
    "finetune.mode": "extend",
    "finetune.train": "head",
    "views": "2",
    "finetune.lr": "0.002",
    "finetune.weight_decay": "0",
    "finetune.batch_size": "16",
    "finetune.epochs": "3",
    "finetune.augment": "true",
    "finetune.balance": "oversample",
}


def write(folder: Path, changes: dict[str, str | None]) -> Path:
    """A params.yaml with `changes` to the valid one; None removes the key."""
    lines: list[str] = []
    sections: dict[str, list[str]] = {}
    for key, text in (VALID | changes).items():
        section, _, name = key.rpartition(".")
        if text is None:
            continue
        if section:
            sections.setdefault(section, []).append(f"  {name}: {text}")
        else:
            lines.append(f"{name}: {text}")
    for section, inside in sections.items():
        lines += [f"{section}:", *inside]
    path = folder / "params.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def message(path: Path) -> str:
    """What `load_params` says against the file; it names the file in any case."""
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert str(path) in caught.value.message
    return caught.value.message


def test_the_projects_own_file_loads() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.species == params.base.species + params.finetune.species
    assert len(params.species) == 9


def test_values_arrive_in_their_places(tmp_path: Path) -> None:
    params = load_params(write(tmp_path, {}))
    assert params.base.species == ("Trout", "Shrimp")
    assert params.species == ("Trout", "Shrimp", "Red Mullet", "Sea Bass")
    assert (params.data.dir, params.data.conflicts) == ("data/sample", "fail")
    assert (params.lr, params.finetune.lr) == (0.001, 0.002)
    assert (params.split.strategy, params.split.train) == ("grouped", 0.7)
    assert (params.augment, params.finetune.augment) == (False, True)
    assert (params.model.name, params.model.weights) == ("notebook", "none")
    assert (params.schedule, params.warmup, params.clip, params.ema) == ("cosine", 0.2, 1.0, 0.9)
    assert (params.finetune.mode, params.views) == ("extend", 2)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-05", 1e-5), ("1e-5", 1e-5), ("1", 1.0), ("2.5E-4", 2.5e-4)]
)
def test_every_way_to_write_a_number(tmp_path: Path, text: str, value: float) -> None:
    params = load_params(write(tmp_path, {"lr": text, "finetune.lr": text}))
    assert (params.lr, params.finetune.lr) == (value, value)
    assert type(params.lr) is float


@pytest.mark.parametrize(
    ("changes", "unknown", "meant"),
    [
        ({"epoch": "3"}, "'epoch'", "Did you mean 'epochs'?"),
        ({"batchsize": "3"}, "'batchsize'", "Did you mean 'batch_size'?"),
        ({"epochs": None, "epoch": "3"}, "'epoch'", "Did you mean 'epochs'?"),
        ({"split.valdation": "0.1"}, "'split.valdation'", "Did you mean 'split.validation'?"),
        ({"finetune.epoch": "3"}, "'finetune.epoch'", "Did you mean 'finetune.epochs'?"),
        (
            {"finetune.lr": None, "finetune.step": "3"},
            "'finetune.step'",
            "Did you mean 'finetune.lr'?",
        ),
        ({"strategy": "random"}, "'strategy'", "Did you mean 'split.strategy'?"),
        ({"zzz": "1"}, "'zzz'", "Known keys: "),
        ({"1": "1"}, "'1'", "Known keys: "),
    ],
)
def test_an_unknown_key_is_told_the_nearest(
    tmp_path: Path, changes: dict[str, str | None], unknown: str, meant: str
) -> None:
    text = message(write(tmp_path, changes))
    assert f"unknown key {unknown}" in text
    assert meant in text


@pytest.mark.parametrize("key", VALID)
def test_no_key_may_be_missing(tmp_path: Path, key: str) -> None:
    text = message(write(tmp_path, {key: None}))
    section = key.rpartition(".")[0]
    # A section that has lost its only key is missing itself.
    alone = section and not any(k != key and k.startswith(f"{section}.") for k in VALID)
    assert f"key '{section if alone else key}' is missing" in text


@pytest.mark.parametrize("key", VALID)
def test_no_key_may_be_null(tmp_path: Path, key: str) -> None:
    text = message(write(tmp_path, {key: "null"}))
    assert f"{key} must be " in text
    assert "not None" in text


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        # types
        ("lr", "abc", "must be a number"),
        ("lr", "true", "must be a number"),
        ("lr", '"0.001"', "must be a number"),
        ("lr", ".nan", "must be a number"),
        ("lr", ".inf", "must be a number"),
        ("lr", "[0.1]", "must be a number"),
        ("finetune.lr", "abc", "must be a number"),
        ("epochs", "3.0", "must be a whole number"),
        ("epochs", "true", "must be a whole number"),
        ("finetune.epochs", "many", "must be a whole number"),
        ("augment", "1", "must be true or false"),
        ("augment", "yes", "must be true or false"),
        ("data.dir", "3", "must be a text"),
        ("model.weights", "true", "must be a text"),
        ("compile", "0", "must be true or false"),
        ("launch", "2", "must be a text"),
        ("system_metrics", "off", "must be true or false"),
        ("patience", "2.5", "must be a whole number"),
        ("views", "many", "must be a whole number"),
        ("ema", "true", "must be a number"),
        ("checkpoint_minutes", "often", "must be a number"),
        ("split", "grouped", "must be a section of keys"),
        ("base.species", "Trout", "must be a list of at least 2 names"),
        ("base.species", "[1, 2]", "must be a list of at least 2 names"),
        ("base.species", '[Trout, ""]', "must be a list of at least 2 names"),
        # choices
        ("loss", "mse", "must be one of cross_entropy, multi_margin"),
        ("optimizer", "Adam", "must be one of adam, adamw, sgd"),
        ("balance", "yes", "must be one of none, oversample, undersample, class_weights"),
        ("finetune.balance", "smote", "must be one of none, oversample"),
        ("finetune.train", "body", "must be one of auto, head, classifier, all"),
        ("split.strategy", "honest", "must be one of grouped, stratified, random, given"),
        ("data.conflicts", "ignore", "must be one of fail, drop"),
        ("model.name", "[notebook]", "must be a text, not blank"),
        ("schedule", "linear", "must be one of one_cycle, cosine, constant"),
        ("device", "gpu", "must be one of auto, cpu, cuda, mps"),
        ("device", "cuda:1", "must be one of auto, cpu, cuda, mps"),
        ("precision", "fp16", "must be one of auto, float32, bfloat16, float16"),
        ("finetune.mode", "add", "must be one of replace, extend"),
        # ranges
        ("seed", "-1", "must be a whole number from 0 to 4294967295"),
        ("seed", "4294967296", "must be a whole number from 0 to 4294967295"),
        ("sample.seed", "-1", "must be a whole number from 0 to"),
        ("split.seed", "-1", "must be a whole number from 0 to"),
        ("image_size", "47", "must be a whole number from 48 to 1024"),
        ("image_size", "1025", "must be a whole number from 48 to 1024"),
        ("sample.originals", "2", "must be a whole number from 3 to"),
        ("sample.copies", "0", "must be a whole number from 1 to"),
        ("data.dir", '""', "must be a text, not blank"),
        ("model.weights", '""', "must be a text, not blank"),
        ("label_smoothing", "-0.1", "must be a number at least 0 and below 1"),
        ("label_smoothing", "1", "must be a number at least 0 and below 1"),
        ("warmup", "-0.1", "must be a number at least 0 and below 1"),
        ("warmup", "1.0", "must be a number at least 0 and below 1"),
        ("clip", "-1", "must be a number at least 0"),
        ("ema", "-0.5", "must be a number at least 0 and below 1"),
        ("ema", "1", "must be a number at least 0 and below 1"),
        ("confidence_threshold", "1.0", "must be a number at least 0 and below 1"),
        ("patience", "-1", "must be a whole number from 0"),
        ("checkpoint_minutes", "0", "must be a number above 0"),
        ("views", "0", "must be a whole number from 1"),
        ("split.train", "0", "must be a number above 0 and below 1"),
        ("gate.accuracy_margin", "-0.01", "must be a number from 0 to 1"),
        ("gate.recall_margin", "1.5", "must be a number from 0 to 1"),
        ("gate.reproduces", "1", "must be true or false"),
        ("split.validation", "1.0", "must be a number above 0 and below 1"),
        ("split.test", "-0.2", "must be a number above 0 and below 1"),
        ("lr", "0", "must be a number above 0"),
        ("finetune.lr", "-0.1", "must be a number above 0"),
        ("weight_decay", "-1e-9", "must be auto, or a number from 0 to 10, not -1e-09"),
        ("finetune.weight_decay", "none", "must be auto, or a number from 0 to 10, not 'none'"),
        ("batch_size", "1", "must be a whole number from 2"),
        ("finetune.batch_size", "0", "must be a whole number from 2"),
        ("epochs", "0", "must be a whole number from 1"),
        # no count is without an end
        ("epochs", "10001", "must be a whole number from 1 to 10000"),
        ("finetune.epochs", "1000000000", "must be a whole number from 1 to 10000"),
        ("batch_size", "65537", "must be a whole number from 2 to 65536"),
        ("finetune.batch_size", "1" + 400 * "0", "must be a whole number from 2 to 65536"),
        ("sample.originals", "10001", "must be a whole number from 3 to 10000"),
        ("sample.copies", "101", "must be a whole number from 1 to 100"),
        ("patience", "10001", "must be a whole number from 0 to 10000"),
        ("views", "1001", "must be a whole number from 1 to 1000"),
        ("checkpoint_minutes", "1441", "must be a number above 0 and at most 1440"),
        ("lr", "1" + 400 * "0", "must be a number above 0 and at most 10"),
        ("clip", "1" + 400 * "0", "must be a number at least 0"),
        ("finetune.epochs", "-3", "must be a whole number from 1"),
        # species
        ("base.species", "[]", "must be a list of at least 2 names"),
        ("base.species", "[Trout]", "must be a list of at least 2 names"),
        ("finetune.species", "Sea Bass", "must be a list of names"),
        ("base.species", "[Trout, Shrimp, Trout]", "lists Trout more than once"),
        ("finetune.species", "[Sea Bass, Sea Bass]", "lists Sea Bass more than once"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(
    tmp_path: Path, key: str, value: str, rule: str
) -> None:
    changes: dict[str, str | None] = {k: None for k in VALID if k.startswith(f"{key}.")}
    text = message(write(tmp_path, changes | {key: value}))
    assert f"{key} {rule}" in text
    assert len(text.removeprefix(str(tmp_path))) < 250


@pytest.mark.parametrize("key", ["base.species", "finetune.species"])
@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_species_must_not_be_called_as_a_column(tmp_path: Path, key: str, name: str) -> None:
    text = message(write(tmp_path, {key: f"[{name}, Perch]"}))
    assert f"{key} lists {name}, which tables of predictions have for something else" in text
    load_params(write(tmp_path, {key: f"[{name.title()}, Perch]"}))


LONG = "x" * 5000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.dir", LONG),
        ("data.dir", 300 * "x"),
        ("data.dir", '"a\\0b"'),
        ("data.dir", '"\\ud800"'),
        ("model.weights", LONG),
        ("launch", LONG),
        ("base.species", f"[{LONG}, Trout]"),
        ("loss", LONG),
        ("lr", LONG),
        ("epochs", f"[{LONG}]"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_message_is_short_whatever_the_value(tmp_path: Path, key: str, value: str) -> None:
    text = message(write(tmp_path, {key: value}))
    assert f"{key} must be " in text
    assert len(text.removeprefix(str(tmp_path))) < 200


def test_a_list_that_repeats_itself_a_million_times(tmp_path: Path) -> None:
    bomb: dict[str, str | None] = {"seed": "&b0 [x]"}
    for i, key in enumerate(("loss", "ema", "clip", "warmup", "keep", "device", "compile", "lr")):
        bomb[key] = f"&b{i + 1} [{', '.join(10 * [f'*b{i}'])}]"
    text = message(write(tmp_path, {key: None for key in bomb}).rename(tmp_path / "rest.yaml"))
    assert "key 'seed' is missing" in text
    path = tmp_path / "params.yaml"
    lines = [f"{key}: {value}\n" for key, value in bomb.items()]
    path.write_text("".join(lines) + (tmp_path / "rest.yaml").read_text())
    text = message(path)
    assert "seed must be a whole number" in text
    path.write_text(path.read_text().replace("seed: &b0 [x]", "seed: 1").replace("*b0", "x"))
    text = message(path)
    assert "loss must be one of cross_entropy" in text
    assert len(text.removeprefix(str(tmp_path))) < 200


def test_a_long_unknown_key_is_cut(tmp_path: Path) -> None:
    text = message(write(tmp_path, {LONG[:1000]: "1"}))
    assert "unknown key 'xxx" in text
    assert 100 * "x" not in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_size", "48"),
        ("image_size", "1024"),
        ("batch_size", "2"),
        ("weight_decay", "0"),
        ("label_smoothing", "0"),
        ("warmup", "0"),
        ("clip", "0"),
        ("ema", "0"),
        ("patience", "0"),
        ("views", "1"),
    ],
)
def test_the_ends_of_a_range_belong_to_it(tmp_path: Path, key: str, value: str) -> None:
    assert flatten(load_params(write(tmp_path, {key: value})).model_dump())[key] == int(value)


@pytest.mark.parametrize(("test", "total"), [("0.3", "1.1"), ("0.1", "0.9"), ("0.201", "1.001")])
def test_fractions_must_sum_to_one(tmp_path: Path, test: str, total: str) -> None:
    text = message(write(tmp_path, {"split.test": test}))
    assert "split.train + split.validation + split.test must be 1" in text
    assert f"not {total}" in text


def test_fractions_may_sum_to_one_but_for_rounding(tmp_path: Path) -> None:
    thirds = {"split.train": "0.3333333", "split.validation": "0.3333333"}
    load_params(write(tmp_path, thirds | {"split.test": "0.3333334"}))


def test_a_species_belongs_to_one_model(tmp_path: Path) -> None:
    text = message(write(tmp_path, {"finetune.species": "[Sea Bass, Trout]"}))
    assert "Trout stands in base.species and in finetune.species" in text
    assert "Sea Bass" not in text


def test_there_may_be_no_new_species_and_one_beside_the_old(tmp_path: Path) -> None:
    params = load_params(write(tmp_path, {"finetune.species": "[]"}))
    assert (params.species, active(params)) == (("Trout", "Shrimp"), [BASE])
    extended = load_params(write(tmp_path, {"finetune.species": "[Sea Bass]"}))
    assert (extended.species[2:], active(extended)) == (("Sea Bass",), [BASE, FINETUNED])
    text = message(write(tmp_path, {"finetune.species": "[Sea Bass]", "finetune.mode": "replace"}))
    assert "finetune.species lists Sea Bass alone" in text
    assert "set finetune.mode to extend" in text


@pytest.mark.parametrize(
    ("weights", "train", "learns", "decay", "below"),
    [
        ("none", "auto", "all", 0.01, (1.0, 0)),
        ("default", "auto", "head", 3.0, (0.2, 2)),
        ("default", "all", "all", 0.01, (0.2, 2)),
        ("default", "classifier", "classifier", 0.01, (0.2, 2)),
    ],
)
def test_auto_is_what_suits_the_weights(
    tmp_path: Path, weights: str, train: str, learns: str, decay: float, below: tuple[float, int]
) -> None:
    changes: dict[str, str | None] = {"model.name": "resnet18", "model.weights": weights}
    for section in ("base.", "finetune."):
        changes |= {f"{section}train": train}
    for section in ("", "finetune."):
        changes |= {f"{section}weight_decay": "auto"}
    params = load_params(write(tmp_path, changes))
    assert (params.base.train, params.finetune.train) == (learns, learns)
    assert (params.weight_decay, params.finetune.weight_decay) == (decay, decay)
    assert (params.backbone_lr, params.frozen_blocks) == below
    assert training(params, params.finetune).weight_decay == decay


ONE_CYCLE = {"schedule": "one_cycle"}
FLOAT16 = {"precision": "float16"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "multi_margin"}, "label_smoothing is for loss: cross_entropy alone; set it to 0"),
        ({"loss": "multi_margin", "label_smoothing": "0"}, None),
        (ONE_CYCLE | {"warmup": "0"}, "schedule: one_cycle needs warmup above 0"),
        (ONE_CYCLE | {"warmup": "0.001"}, None),
        ({"schedule": "constant", "warmup": "0"}, None),
        ({"model.weights": "default"}, None),
        ({"model.weights": "default", "model.name": "resnet18"}, None),
        ({"model.weights": "weights.pth", "model.name": "fishline"}, None),
        (FLOAT16, "precision: float16 needs a GPU; on device: cpu use bfloat16 or float32"),
        (FLOAT16 | {"device": "cuda"}, None),
        (FLOAT16 | {"device": "auto"}, None),
        ({"precision": "bfloat16"}, None),
    ],
    ids=str,
)
def test_values_that_contradict_each_other(
    tmp_path: Path, changes: dict[str, str | None], says: str | None
) -> None:
    path = write(tmp_path, changes)
    if says:
        assert says in message(path)
    else:
        load_params(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("seed: [1", "not valid YAML"),
        ("seed: " + 1000 * "[", "nested too deep"),
        ("seed: " + 1000 * "[" + 1000 * "]", "nested too deep"),
        ("seed: " + 5000 * "1", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("seed: 1\nlr: 0.1\nseed: 2\n", "'seed'|\"seed\"|key seed"),
        ("", "must be a section of keys"),
        ("- 1\n", "must be a section of keys"),
    ],
)
def test_a_file_that_is_no_set_of_keys(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        load_params(path)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "not found" in message(tmp_path / "params.yaml")


def test_each_stage_trains_with_its_own_settings(tmp_path: Path) -> None:
    params = load_params(write(tmp_path, {}))
    base, tuned = training(params, params), training(params, params.finetune)
    assert (base.lr, base.batch_size, base.epochs, base.augment) == (0.001, 32, 15, False)
    assert (tuned.lr, tuned.batch_size, tuned.epochs, tuned.augment) == (0.002, 16, 3, True)
    assert (base.balance, tuned.balance) == ("none", "oversample")
    for name in Method.model_fields:
        assert getattr(base, name) == getattr(tuned, name) == getattr(params, name)


@pytest.mark.parametrize(
    ("tree", "flat"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a": {"b": 1, "c": {"d": [2]}}, "e": None}, {"a.b": 1, "a.c.d": [2], "e": None}),
    ],
)
def test_flatten(tree: dict[str, Any], flat: dict[str, Any]) -> None:
    assert flatten(tree) == flat


def test_flat_keys_are_those_of_the_file(tmp_path: Path) -> None:
    assert set(flatten(load_params(write(tmp_path, {})).model_dump())) == set(VALID)


def test_the_schema_for_editors_is_that_of_the_model() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=params.schema.json\n")
    schema = json.loads((ROOT / "params.schema.json").read_text(encoding="utf-8"))
    assert schema.pop("$schema") == Draft202012Validator.META_SCHEMA["$schema"]
    assert schema == Params.model_json_schema(), "python docs/generate.py writes it"
    Draft202012Validator.check_schema(schema)
    validator, tree = Draft202012Validator(schema), read_yaml(ROOT / "params.yaml")
    validator.validate(tree)
    wrong = [{"epoch": 3}, {"epochs": 0}, {"lr": "0.1"}, {"split": {}}, {"loss": "mse"}]
    assert not any(validator.is_valid(tree | change) for change in wrong)


def test_an_experiment_keeps_the_line_that_names_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    apply_overrides(path, ["lr=0.001"])
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=")
    assert load_params(path).lr == 0.001
