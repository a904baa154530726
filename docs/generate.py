"""What docs/ says of params.yaml, dvc.yaml, the command line and the modules, written from them.

    python docs/generate.py

rewrites params.schema.json, parameters.md and graph.svg, and in graph.md, code.md and cli.md what
stands between the marks `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from click.testing import CliRunner
from jinja2 import Template
from parameters import code, parameters, schema

from fishline.cli.main import main
from fishline.core.yaml_files import read_yaml

DOCS = Path(__file__).parent
ROOT = DOCS.parent
MODULES = ROOT / "src/fishline"

DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" width="{{ width }}" \
font-family="sans-serif" font-size="15" role="img" aria-label="The graph of stages">
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0 8 4 0 8z" fill="#808a8f"/></marker></defs>
{% for x1, y1, x2, y2 in lines -%}
<path d="M{{ x1 }} {{ y1 }} {{ x2 }} {{ y2 }}" stroke="#808a8f" stroke-width="2" \
marker-end="url(#tip)"/>
{% endfor %}{% for x, y, name in boxes -%}
<rect x="{{ x - 65 }}" y="{{ y - 18 }}" width="130" height="36" rx="5" fill="#00796b"/>\
<text x="{{ x }}" y="{{ y + 5 }}" text-anchor="middle" fill="#fff">{{ name }}</text>
{% endfor %}</svg>
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# The graph


def mermaid() -> str:
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    return subprocess.check_output(command, cwd=ROOT, text=True).expandtabs(4).rstrip()


def drawing(diagram: str) -> str:
    """The diagram as a picture, without the arrows that a longer way stands for."""
    names = dict(re.findall(r'(node\d+)\["(.*?)"\]', diagram))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(node\d+)-->(node\d+)", diagram)}
    before = {name: {a for a, b in edges if b == name} for name in names.values()}

    def depth(name: str) -> int:
        return 1 + max(map(depth, before[name]), default=-1)

    def above(name: str) -> set[str]:
        return before[name].union(*map(above, before[name]))

    drawn = [(a, b) for a, b in edges if not any(a in above(c) for c in before[b])]
    order = sorted(before, key=lambda name: (depth(name), name not in above("evaluate"), name))
    rows = [[n for n in order if depth(n) == row] for row in range(1 + max(map(depth, before)))]
    place = {
        n: (90 + 160 * i, 30 + 68 * y) for y, row in enumerate(rows) for i, n in enumerate(row)
    }
    lines = [
        (place[a][0], place[a][1] + 18, place[b][0], place[b][1] - 18) for a, b in sorted(drawn)
    ]
    boxes = [(*place[name], name) for name in order]
    size = {"width": 180 + 160 * (max(map(len, rows)) - 1), "height": 60 + 68 * (len(rows) - 1)}
    return Template(DRAWING, keep_trailing_newline=True).render(lines=lines, boxes=boxes, **size)


def stages() -> str:
    """A row per stage: what it reads and writes; its code is left out."""
    rows = []
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        outs = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
        files = [next(iter(out)) if isinstance(out, dict) else out for out in outs]
        reads = [dep for dep in stage.get("deps", []) if not dep.startswith("src/")]
        said = [entry.replace("${data.dir}", "data.dir") for entry in reads]
        rows.append([f"`{name}`", code(both(said)), code(both(files))])
    return table(("stage", "reads", "writes"), rows)


def both(files: Sequence[str]) -> list[str]:
    """`files`, with `*` for what there is of either model."""
    short = [re.sub(r"(?<=/)(base|finetuned)(?=[-.])", "*", file) for file in files]
    pairs = zip(files, short, strict=True)
    return list(dict.fromkeys(s if short.count(s) == 2 else f for f, s in pairs))


# The code


def packages() -> str:
    """Every package and its modules, from the lowest layer up, as their docstrings begin."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [MODULES / layer for layer in reversed(contracts["contracts"][0]["layers"])]
    files = [file for layer in layers for file in sorted(layer.rglob("__init__.py"))]
    return "\n\n".join(map(package, [*files, MODULES / "__init__.py"]))


def package(init: Path) -> str:
    """A heading, as deep as the package lies, what it is for, and a row per module."""
    path = init.parent.relative_to(MODULES.parent)
    modules = [module for module in sorted(init.parent.glob("*.py")) if module != init]
    rows = [[f"`{module.name}`", summary(module)] for module in modules]
    heading = "#" * max(3, 1 + len(path.parts))
    return f"{heading} {'.'.join(path.parts)}\n\n{summary(init)}\n\n{table(('module', ''), rows)}"


def summary(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    first = " ".join(docstring.split("\n\n")[0].split())
    return first.replace("|", r"\|")


# The command line


def usage() -> str:
    """What `fishline --help` says on a terminal of 80 columns."""
    said = CliRunner().invoke(main, ["--help"], prog_name="fishline", terminal_width=80)
    return f"```text\n{said.stdout.rstrip()}\n```"


def filled(page: str, **parts: str) -> str:
    """`page` with new text between the marks."""
    for name, text in parts.items():
        mark = f"<!-- generated: {name} -->\n"
        before, found, rest = page.partition(mark)
        if not found:
            raise ValueError(f"docs/generate.py: a page lacks the mark {mark.strip()}")
        page = f"{before}{mark}\n{text}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return page


def pages() -> dict[Path, str]:
    """What each page written here ought to be."""
    diagram = mermaid()
    graph, layout, line = ((DOCS / name).read_text() for name in ("graph.md", "code.md", "cli.md"))
    block = f"```mermaid\n{diagram}\n```"
    return {
        ROOT / "params.schema.json": schema(),
        DOCS / "parameters.md": parameters(),
        DOCS / "graph.svg": drawing(diagram),
        DOCS / "graph.md": filled(graph, diagram=block, stages=stages()),
        DOCS / "code.md": filled(layout, modules=packages()),
        DOCS / "cli.md": filled(line, help=usage()),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
