"""`fishline doctor`: each check made to fail by what would make it fail."""

import json
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pytest
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from clone import free_port
from dvc.repo import Repo

from fishline.cli.doctor import doctor, machine
from fishline.cli.doctor import project as doctor_project
from fishline.cli.doctor import store as doctor_store
from fishline.cli.doctor.checks import Check, within
from fishline.cli.main import main

ROOT = Path(__file__).parents[2]
WHO = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with parameters, a photograph of each species, git and DVC."""
    folder = tmp_path_factory.mktemp("template")
    text = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text)
    (folder / "requirements.txt").write_text(f"mlflow=={mlflow.__version__}\n    # via fishline\n")
    species = doctor_project.load_params(folder / "params.yaml").species
    for name in (*species, "Trout GT"):
        (folder / "data/sample" / name).mkdir(parents=True)
        (folder / "data/sample" / name / "1.png").write_bytes(b"a picture")
    for words in (["init", "-q"], [*WHO, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    Repo.init(str(folder)).close()
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template to break, as the working folder."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    monkeypatch.chdir(folder)
    return folder


def ask(probe: str) -> Check:
    """What the check of this name says; its only one."""
    (check,) = doctor.ask(probe)
    return check


def write(path: str | Path, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def change(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def database(revision: str, table: str = "alembic_version") -> None:
    """mlflow.db with a schema of `revision`."""
    with sqlite3.connect("mlflow.db") as store:
        store.execute(f"create table {table} (version_num text)")
        store.execute(f"insert into {table} values ('{revision}')")
    store.close()


def revisions() -> list[str]:
    """MLflow's schemas, the newest first."""
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    return [script.revision for script in scripts.walk_revisions()]


def set_remote(url: str) -> None:
    write(".dvc/config", f"[core]\n    remote = far\n['remote \"far\"']\n    url = {url}\n")


def keep_cache(links: str) -> None:
    """A cache with something in it, and by which links files may come out of it."""
    Path(".dvc/cache/files/md5").mkdir(parents=True)
    write(".dvc/config", f'[cache]\n    type = "{links}"\n')


Break = Callable[[], object]
CASES: list[tuple[str, Break, str, str, str]] = [
    # probe, what is done to the project, state, words of what was found, words of the advice
    ("python", lambda: None, "ok", "3.", ""),
    ("environment", lambda: None, "ok", "all 1 packages", ""),
    (
        "environment",
        lambda: write("requirements.txt", "mlflow==0.1\nclick==0.2 ; python_version > '3'\n"),
        "failure",
        f"mlflow {mlflow.__version__} instead of 0.1, click",
        "make env",
    ),
    (
        "environment",
        lambda: write("requirements.txt", "no-such-package==2\nclick==0.2 ; python_version < '3'"),
        "warning",
        "no-such-package missing instead of 2",
        "make env",
    ),
    ("environment", lambda: Path("requirements.txt").unlink(), "warning", "no req", "root folder"),
    ("device", lambda: change("params.yaml", "device: auto", "device: cpu"), "ok", "torch ", ""),
    ("git", lambda: None, "ok", "as Ada", ""),
    ("git", lambda: shutil.rmtree(".git"), "failure", "not a git repository", "git init"),
    (
        "git",
        lambda: subprocess.run(["git", "checkout", "-q", "--orphan", "new"], check=True),
        "warning",
        "has no commit yet",
        "git commit",
    ),
    (
        "git",
        lambda: write("../gitconfig", "[user]\nname = Ada\n"),
        "warning",
        "no user.email",
        "git config --global user.email",
    ),
    ("disk", lambda: None, "ok", "GB free", ""),
    ("params.yaml", lambda: None, "ok", "5 base and 4 new", ""),
    ("params.yaml", lambda: Path("params.yaml").unlink(), "failure", "no params.yaml in", ""),
    (
        "params.yaml",
        lambda: change("params.yaml", "lr: 0.002", "learning_rate: 0.002"),
        "failure",
        "unknown key 'learning_rate'. Did you mean 'lr'",
        "",
    ),
    ("data", lambda: None, "ok", "9 files of 9 species in data/sample", ""),
    ("data", lambda: Path("data/sample/Bass").mkdir(), "ok", "not in params.yaml: Bass", ""),
    (
        "data",
        lambda: shutil.rmtree("data/sample/Trout"),
        "failure",
        "no photographs of Trout",
        "a folder for each species",
    ),
    (
        "data",
        lambda: Path("data/sample/Shrimp/1.png").unlink(),
        "failure",
        "no photographs of Shrimp",
        "fishline ingest",
    ),
    ("data", lambda: shutil.rmtree("data/sample"), "warning", "not here yet", "dvc repro"),
    (
        "data",
        lambda: change("params.yaml", "dir: data/sample", "dir: data/raw"),
        "failure",
        "no folder data/raw",
        "fishline ingest",
    ),
    (
        "data",
        lambda: (
            change("params.yaml", "dir: data/sample", "dir: data/raw"),
            write("data/raw.dvc", "outs: []"),
        ),
        "failure",
        "data/raw.dvc records it",
        "dvc pull data/raw",
    ),
    ("DVC cache", lambda: None, "ok", "will be made", ""),
    ("DVC cache", lambda: keep_cache("hardlink,copy"), "ok", "by hardlink", ""),
    (
        "DVC cache",
        lambda: keep_cache("copy"),
        "warning",
        "takes its room twice",
        "cache.type",
    ),
    ("DVC cache", lambda: shutil.rmtree(".dvc"), "failure", "no DVC project", "dvc init"),
    (
        "DVC cache",
        lambda: write(".dvc/config", f"[cache]\n    dir = {Path('params.yaml').absolute()}/x\n"),
        "failure",
        "params.yaml is a file",
        "dvc cache dir",
    ),
    ("DVC cache", lambda: write(".dvc/config", "[cache"), "failure", "ConfigError", ""),
    ("DVC remote", lambda: None, "warning", "no default remote: ", "dvc remote add --default"),
    (
        "DVC remote",
        lambda: write(".dvc/config", "['remote \"far\"']\n    url = /x\n"),
        "warning",
        "no default remote among far",
        "dvc remote default",
    ),
    (
        "DVC remote",
        lambda: set_remote(f"{Path.cwd()}/store"),
        "warning",
        "not there yet",
        "dvc push",
    ),
    (
        "DVC remote",
        lambda: (set_remote(f"{Path.cwd()}/store"), Path("store").mkdir()),
        "ok",
        "far (/",
        "",
    ),
    (
        "DVC remote",
        lambda: set_remote(f"{Path.cwd()}/params.yaml/store"),
        "failure",
        "params.yaml is a file",
        "dvc remote list",
    ),
    (
        "DVC remote",
        lambda: set_remote("hdfs://example.org/x"),
        "failure",
        "cannot be used",
        "dvc remote modify --local far",
    ),
    (
        "DVC remote",
        lambda: write(".dvc/config", "[core]\n    remote = nowhere\n"),
        "failure",
        "nowhere (?) cannot be used",
        "dvc remote list",
    ),
    ("tracking store", lambda: None, "ok", "will be made by the first training", ""),
    (
        "tracking store",
        lambda: database(revisions()[0]),
        "ok",
        f"schema of MLflow {mlflow.__version__}",
        "",
    ),
    (
        "tracking store",
        lambda: database(revisions()[1]),
        "failure",
        "of an older MLflow",
        "db upgrade sqli",
    ),
    ("tracking store", lambda: database("f00d"), "failure", "newer MLflow", "make env"),
    ("tracking store", lambda: database("", "other"), "ok", "is empty", ""),
    (
        "tracking store",
        lambda: write("mlflow.db", "nonsense" * 999),
        "failure",
        "not a database",
        "backup",
    ),
    ("artifacts", lambda: None, "ok", "project/mlartifacts", ""),
    ("artifacts", lambda: write("mlartifacts", ""), "failure", "mlartifacts is a file", "writable"),
]


@pytest.mark.parametrize(("probe", "spoil", "state", "found", "advice"), CASES)
def test_a_check(
    project: Path, probe: str, spoil: Break, state: str, found: str, advice: str
) -> None:
    spoil()
    store = Path("mlflow.db")
    before = store.read_bytes() if store.exists() else None
    check = ask(probe)
    assert check.state == state, check
    assert found in check.found
    assert advice in check.advice
    assert bool(check.advice) == (state == "warning") or state == "failure"
    assert (store.read_bytes() if store.exists() else None) == before  # looked at, no more


@pytest.mark.parametrize(
    ("uri", "state", "found"),
    [
        ("postgresql+psycopg2://ada:secret@127.0.0.1:1/runs", "failure", "ada:***@127"),
        ("http://127.0.0.1:1", "failure", "does not answer"),
        ("sqlite:////dev/null/x/mlflow.db", "failure", "/dev/null is a file"),
        ("sqlite:///:memory:", "ok", "is empty"),
        ("./mlruns", "warning", "not checked"),
    ],
)
def test_a_store_of_the_users(
    project: Path, monkeypatch: pytest.MonkeyPatch, uri: str, state: str, found: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    check = ask("tracking store")
    assert check.state == state
    assert found in check.found
    assert "secret" not in check.found + check.advice
    assert ask("artifacts").state == "ok"  # says nothing of the store


@contextmanager
def server(answers: Mapping[str, str]) -> Iterator[str]:
    """An HTTP server that answers these paths, and no other; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, "").encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", free_port()), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.mark.parametrize(
    ("answers", "state", "found"),
    [
        ({"/health": "OK", "/version": mlflow.__version__}, "ok", f"MLflow {mlflow.__version__}"),
        ({"/health": "OK", "/version": "2.0"}, "warning", "has MLflow 2.0, here is "),
        ({"/health": "<html>", "/version": "2.0"}, "failure", "is no MLflow server"),
        ({}, "failure", "/health: 404"),
    ],
)
def test_a_tracking_server(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: Mapping[str, str],
    state: str,
    found: str,
) -> None:
    with server(answers) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        check = ask("tracking store")
    assert (check.state, found in check.found) == (state, True), check


def test_what_the_machine_may_lack(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OLDEST", (99, 0))
    assert "Python 3.11 or newer" in ask("python").advice
    monkeypatch.setattr(machine, "ROOM", 10**18)
    assert (ask("disk").state, "dvc gc" in ask("disk").advice) == ("warning", True)
    monkeypatch.setenv("PATH", "")
    assert (ask("git").state, "git" in ask("git").found) == ("failure", True)


def test_a_gpu_that_is_missing_or_unused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert "device: auto is cpu" in ask("device").found
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert (ask("device").state, "unused" in ask("device").found) == ("warning", True)
    change("params.yaml", "device: auto", "device: cuda")
    assert (ask("device").state, "set it to auto" in ask("device").found) == ("failure", True)


def test_a_remote_that_says_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_remote("/x")
    monkeypatch.setattr(doctor_project, "PATIENCE", 0.01)
    silence = threading.Event()
    monkeypatch.setattr(doctor_project, "_look", lambda *_: silence.wait())
    assert "no answer within 0.01 s" in ask("DVC remote").found
    silence.set()
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


def test_a_log_that_cannot_be_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FISHLINE_LOG", raising=False)
    assert ask("answer log").state == "ok"
    monkeypatch.setenv("FISHLINE_LOG", str(project / "params.yaml"))
    assert ask("answer log").state == "warning"
    monkeypatch.setenv("FISHLINE_LOG", str(project / "log"))
    monkeypatch.setenv("FISHLINE_LOG_PICTURES", "unsure")
    assert "photographs: unsure, up to 1,000 MB" in ask("answer log").found
    assert not (project / "log").exists()
    monkeypatch.setenv("FISHLINE_LOG_PICTURES", "some")
    assert ask("answer log").state == "failure"


def test_a_check_that_breaks_off_is_a_failure(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise KeyError("odd")

    monkeypatch.setattr(doctor_store, "store", broken)
    assert ask("tracking store") == Check("failure", "KeyError: 'odd'")
    monkeypatch.setitem(doctor.PROBES, "nothing", "no_such_module.nothing")
    assert "make env" in ask("nothing").advice


def test_the_whole(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    done = CliRunner().invoke(main, ["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.exit_code == 0, done.stdout
    assert [n for n, check in checks.items() if check["state"] != "ok"] in ([], ["DVC remote"])
    assert not Path("mlflow.db").exists()
    shutil.rmtree("data/sample/Trout")
    done = CliRunner().invoke(main, ["doctor"], color=True)
    assert done.exit_code == 1
    assert "\x1b[31mfailure" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 failed")
    done = CliRunner(env={"NO_COLOR": "1"}).invoke(main, ["doctor"], color=True)
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 70


def test_in_a_bare_folder_everything_is_said_and_nothing_breaks(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "bare")
    done = CliRunner().invoke(main, ["doctor", "--json"])
    states = {check["name"]: check["state"] for check in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert (states["git"], states["params.yaml"], states["DVC cache"]) == ("failure",) * 3
    assert not any(Path().iterdir())
