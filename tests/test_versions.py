"""Two versions of the data side by side, through the real DVC and git."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from clone import Clone, stages_run

from fishline.sample import draw_sample

STAGES = "data/raw.dvc preprocess split explore"  # nothing is trained here: that takes long


class Project(Clone):
    """A clone that works on data/raw, and where new photographs come from."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        draw_sample(self.home / "drawn", seed=1, originals=6, copies=1)
        params = self.folder / "params.yaml"
        text = params.read_text().replace("dir: data/sample ", "dir: data/raw ")
        assert text != params.read_text()
        params.write_text(text)

    def ingest(self, name: str, numbers: str) -> None:
        """Bring in the files of each species with these numbers."""
        source = self.home / name
        for path in sorted((self.home / "drawn").glob(f"*/*[{numbers}].png")):
            (source / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / path.parent.name)
        self.run(f"fishline ingest '{source}'")

    def commit(self, message: str) -> None:
        self.git("add -A")
        self.git(f"commit -q -m '{message}'")

    def metrics(self, stage: str) -> Any:
        return json.loads((self.folder / f"metrics/{stage}.json").read_text())

    def stored(self) -> int:
        """Bytes in DVC's cache."""
        files = (self.folder / ".dvc/cache").rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Its first commit but one has three photographs of each species, its last four."""
    made = Project(tmp_path_factory.mktemp("versions"))
    for name, numbers in (("first", "123"), ("second", "5")):
        made.ingest(name, numbers)
        made.run("dvc repro explore")
        made.commit(name)
    return made


def test_versions_are_told_apart(project: Project) -> None:
    changed = json.loads(project.run("dvc metrics diff HEAD~1 --json 2>/dev/null"))
    images = changed["metrics/preprocess.json"]["images"]
    assert (images["old"], images["new"]) == (27, 36)
    told = changed["metrics/split.json"]
    assert told["base.data.hash"]["old"] != told["base.data.hash"]["new"]
    assert "data/raw/Trout/00005.png" in project.run("dvc diff HEAD~1 --targets data/raw")


def test_the_first_version_comes_back_metrics_and_all(project: Project) -> None:
    page = project.folder / "plots/explore/explore.md"
    second, shown = project.metrics("split"), page.read_text()
    project.git("checkout -q HEAD~1")
    project.run(f"dvc checkout {STAGES}")
    assert project.metrics("preprocess")["images"] == 27
    assert not (project.folder / "data/raw/Trout/00005.png").exists()
    assert "up to date" in project.run(f"dvc status {STAGES}")
    assert stages_run(project.run("dvc repro explore")) == []
    assert page.read_text() != shown
    project.git("checkout -q -")
    project.run(f"dvc checkout {STAGES}")
    assert stages_run(project.run("dvc repro explore")) == []
    assert (project.metrics("split"), page.read_text()) == (second, shown)


def test_one_photograph_more_is_little_more_to_store(project: Project) -> None:
    pixels = project.folder / "data/cache/pixels"
    before = {path.name: path.read_bytes() for path in pixels.iterdir()}
    stored = project.stored()
    source = project.home / "one/Trout"
    source.mkdir(parents=True)
    content = (project.home / "drawn/Trout/00004.png").read_bytes()
    (source / "new.png").write_bytes(content + random.Random(0).randbytes(8))  # its own digest
    project.run(f"fishline ingest '{source.parent}' && dvc repro preprocess")
    after = {path.name: path.read_bytes() for path in pixels.iterdir()}
    changed = [name for name in after if after[name] != before.get(name)]
    assert len(changed) == 1
    tables = sum(p.stat().st_size for p in (project.folder / "data/cache").glob("*.csv"))
    record = len(after[changed[0]])
    assert project.stored() - stored < len(content) + record + tables + 40_000  # and listings
    manifest = (project.folder / "data/cache/manifest.csv").read_text()
    assert "\nTrout/new.png,Trout," in manifest
