"""README.md and docs/: what they name is there, what they quote is said, and the site builds.

The commands of the README and of docs/sweeps.md are run by test_workflow.py and its neighbours;
here those of every page are held against the programs' own command lines.
"""

import argparse
import importlib
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import dvc
import mlflow
import pytest
from clone import ROOT, readme_commands
from dvc.cli import parse_args
from dvc.cli.parser import get_main_parser

from fishline.cli.main import main
from fishline.core.params import Params
from fishline.core.validation import keys

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

# Programs that only the system knows, and lines of a file that is written by one of them.
SYSTEM = {
    "apt-get",
    "ray",
    "torchrun",
    "cat",
    "cd",
    "cp",
    "createuser",
    "curl",
    "docker",
    "export",
    "git",
    "npm",
    "zensical",
}
SYSTEM |= {"pip", "python", "python3", "source", "ssh", "sudo", "systemctl", "useradd", "END"}

# Messages of torch and of the system.
OTHERS = {"operator torchvision::nms does not exist", "No space left on device"}
OTHERS |= {"CUDA out of memory", "address already in use"}


@cache
def groups() -> dict[str, click.Command]:
    from mlflow.cli import cli  # a second

    return {"fishline": main, "mlflow": cli}


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text()


def spans(page: str) -> Iterator[str]:
    """What stands between backticks in a page's text."""
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        yield " ".join(span.split())


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        return importlib.import_module("generate")


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    pages = {path.stem: path.read_text() for path in (tmp_path / "build/docs").glob("*.html")}
    assert {Path(page).stem for page in PAGES[1:]} <= set(pages)
    for name, page in pages.items():
        for tag in re.findall(
            r"<(?:script|img|iframe|link rel=.?(?:stylesheet|preconnect))[^>]*>", page
        ):
            assert "//" not in tag, f"{name}: {tag}"
        assert 'class="mermaid"' not in page  # the theme would fetch a script to draw it


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r": ([\w-]+\.md)$", text("mkdocs.yml"), re.MULTILINE)
    assert sorted(f"docs/{name}" for name in named) == PAGES[1:]


def test_generated_pages_say_what_their_sources_say(generate: ModuleType) -> None:
    for path, page in generate.pages().items():
        assert path.read_text() == page, f"{path.name} is out of date: python docs/generate.py"


def test_every_parameter_is_explained() -> None:
    for key, _ in keys(Params):
        row = re.search(
            rf"^\| `{re.escape(key)}` \|(.*)$", text("docs/parameters.md"), re.MULTILINE
        )
        assert row is not None, key
        default, meaning, allowed, _ = re.split(r"(?<!\\)\|", row[1])[:4]
        assert default.strip() and meaning.strip() and allowed.strip(), key


def test_every_module_has_a_row() -> None:
    modules = {path.name for path in (ROOT / "src/fishline").rglob("*.py")} - {"__init__.py"}
    assert modules == set(re.findall(r"^\| `(\w+\.py)` \|", text("docs/code.md"), re.MULTILINE))


def test_the_report_is_explained_section_by_section() -> None:
    template = text("src/fishline/evaluation/templates/report.html.j2")
    shown = re.findall(r"<h2 id[^>]*>(.*?)</h2>|<h3>(What a leaky[^<]*)</h3>", template)
    titles = re.findall(r"^## (.*)$", text("docs/report.md"), re.MULTILINE)
    assert len(shown) == len(titles)
    for (section, within), title in zip(shown, titles, strict=True):
        assert title in (section or within)  # a section has two titles, by what there is to show


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "//" in target:
            assert re.match(r"https://[\w.-]+\.\w+(/|$)", target), target
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if page.startswith("docs/"):
            assert path.resolve().parent == ROOT / "docs", f"{target} is not on the site"
        if anchor:
            assert anchor in anchors(path.read_text()), target


def anchors(page: str) -> set[str]:
    """The names that GitHub gives to a page's headings, and the site the same ones."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    for span in spans(page):
        if re.fullmatch(r"(src|tests|docs|benchmarks|deploy|examples|\.github)/[\w./-]+", span):
            assert (ROOT / span).exists(), span


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in readme_commands(page=page):
        line = re.sub(r"^\s*([A-Z_]+=\S*\s*)*", "", line)  # variables that it sets
        if not line or line.startswith("("):  # a pipe that test_workflow.py runs
            continue
        program, *words = shlex.split(line)
        if program == "dvc":
            parse_args(words)
            changed = [w.partition("=")[0] for o, w in itertools.pairwise(words) if o == "-S"]
            assert set(changed) <= {key for key, _ in keys(Params)}, line
        elif program in groups():
            understand(groups()[program], program, words)
        elif program == "make":
            assert set(words) <= TARGETS, line
        else:
            assert program in SYSTEM or "/" in program, line


def understand(command: click.Command, name: str, words: list[str]) -> None:
    """Parse `words` as the program would.

    Raises:
        click.UsageError: it would refuse them.
    """
    if words == ["--help"]:  # it would print it and leave
        return
    with command.make_context(name, list(words)) as context:
        rest = context._protected_args + context.args
        if isinstance(command, click.Group) and (rest or not command.invoke_without_command):
            name, chosen, rest = command.resolve_command(context, rest)
            assert name is not None and chosen is not None
            understand(chosen, name, rest)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_have_these_names_and_options(page: str) -> None:
    for span in spans(page):
        program, *words = span.split()
        if program not in ("dvc", "fishline", "make", "mlflow") or not words:
            continue
        if program == "make":
            assert {w for w in words if w.islower() and "=" not in w} <= TARGETS, span
            continue
        rest, options = followed(program, words)
        assert len(rest) < len(words) or not re.match("[a-z]", rest[0]), span
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - options
        assert not unknown, f"{span}: {unknown}"


def followed(program: str, words: list[str]) -> tuple[list[str], set[str]]:
    """What follows the subcommand that `words` begin with, and that subcommand's options."""
    if program == "dvc":
        parser = get_main_parser()
        while words and words[0] in (choices := _subparsers(parser)):
            parser, words = choices[words[0]], words[1:]
        return words, set(parser._option_string_actions)
    command: click.Command = groups()[program]
    context = click.Context(command, info_name=program)
    while words and isinstance(command, click.Group):
        chosen = command.get_command(context, words[0])
        if chosen is None:
            break
        command, words = chosen, words[1:]
    return words, {option for known in command.get_params(context) for option in known.opts}


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def source(*files: Path) -> str:
    """Python files with the pieces of their strings joined."""
    whole = "\n".join(path.read_text() for path in files)
    return re.sub(r"[\"']\s*\n\s*f?[\"']", "", whole).replace('\\"', '"').replace("\\'", "'")


@cache
def sources() -> dict[str, str]:
    of_mlflow = Path(mlflow.__file__).parent
    names = ("store/db/utils", "store/tracking/file_store", "server/security_utils")
    names += ("store/model_registry/sqlalchemy_store",)
    return {
        "MLflow": source(*(of_mlflow / f"{name}.py" for name in names)),
        "DVC": source(*sorted(Path(dvc.__file__).parent.rglob("*.py"))),
        "fishline": source(*sorted((ROOT / "src/fishline").rglob("*.py")), ROOT / "Makefile"),
    }


def messages() -> list[tuple[str, str]]:
    """Section and message of each row on troubleshooting that is led by a message alone."""
    found = []
    for section in re.split(r"^## ", text("docs/troubleshooting.md"), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        found += [
            (title, message) for message in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
        ]
    return found


@pytest.mark.parametrize(("section", "message"), messages())
def test_a_message_is_quoted_as_it_is_said(section: str, message: str) -> None:
    if message in OTHERS:
        return
    parts = [re.escape(part.strip()) for part in message.split("…") if part.strip(" .")]
    said = sources().get(section, sources()["fishline"])
    assert re.search(r"\b" * parts[0][0].isalnum() + ".*?".join(parts), said), message
