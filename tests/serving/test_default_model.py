"""Which model is asked where nobody names one."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fishline.core.errors import UserError
from fishline.serving import default_model
from fishline.tracking import versions
from fishline.tracking.versions import Version

ROOT = Path(__file__).parents[2]
BOTH = (ROOT / "params.yaml").read_text()
ALONE = re.sub(r"(finetune:\n  species:).*?(?=\n  mode)", r"\1 []", BOTH, flags=re.DOTALL)


def version(name: str, number: int, *aliases: str) -> Version:
    return Version(name, number, "", aliases, {}, datetime.now(UTC), {}, {})


NAMES = ("fish-base", "fish-finetuned")
BASE, CHAMPION = version("fish-base", 2), version("fish-base", 1, "champion")
TUNED, TUNED_CHAMPION = version("fish-finetuned", 5), version("fish-finetuned", 4, "champion")


@pytest.mark.parametrize(
    ("params", "registered", "asked"),
    [
        (BOTH, [BASE, CHAMPION, TUNED, TUNED_CHAMPION], "fish-finetuned@champion"),
        (BOTH, [BASE, CHAMPION, TUNED], "fish-finetuned/5"),
        (BOTH, [BASE, CHAMPION], "fish-base@champion"),  # fine-tuning is yet to come
        (ALONE, [BASE, CHAMPION, TUNED, TUNED_CHAMPION], "fish-base@champion"),
        (ALONE, [BASE, TUNED, TUNED_CHAMPION], "fish-base/2"),
        ("", [BASE, CHAMPION, TUNED_CHAMPION], "fish-finetuned@champion"),  # no project here
        ("", [BASE], "fish-base/2"),
    ],
)
def test_it_is_the_one_that_the_project_trains_last(
    params: str,
    registered: list[Version],
    asked: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if params:
        (tmp_path / "params.yaml").write_text(params)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    of_name = {name: [v for v in registered if v.name == name] for name in NAMES}
    monkeypatch.setattr(versions, "versions", of_name.__getitem__)
    assert default_model.default_model() == asked
    assert ("has no champion yet" in capsys.readouterr().err) == ("/" in asked)


def test_nothing_is_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(versions, "versions", lambda name: [])
    with pytest.raises(UserError, match="no registered model; `dvc repro`"):
        default_model.default_model()
