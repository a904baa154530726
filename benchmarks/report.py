"""What a measurement is reported with: the machine, versions, medians, a table."""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

Values = dict[str, list[float]]
Rows = dict[str, Values]  # what was measured: side: one value for each seed
EPOCHS = 20  # of the notebook
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "mlflow", "dvc")
TORCH = """
import json, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
print(json.dumps({"threads": torch.get_num_threads(), "gpu": gpu}))
"""  # asked in a process of its own: this one stays small, or its children's memory looks large


def machine() -> dict[str, Any]:
    asked = subprocess.run([sys.executable, "-c", TORCH], capture_output=True, check=True)
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": os.getloadavg(),
        **json.loads(asked.stdout),
    }


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """n, median, spread (lowest and highest) and all values; nothing of nothing."""
    if not values:
        return {"n": 0}
    spread = [min(values), max(values)]
    return {"n": len(values), "median": statistics.median(values), "spread": spread} | {
        "values": list(values)
    }


def summaries(named: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    return {name: summary(values) for name, values in named.items()}


def short(values: Sequence[float]) -> str:
    """The median; of several values also the lowest and the highest."""
    if not values:
        return "–"
    found = summary(values)
    low, high = map(_number, found["spread"])
    return _number(found["median"]) + (f" ({low}–{high})" if len(values) > 1 else "")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """A table in Markdown; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(map(str.ljust, row, widths)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    print(*(f"| {line} |" for line in lines), sep="\n")


def show(rows: Rows, epochs: dict[str, float]) -> None:
    """A row for each measurement; `epochs` that the notebook's trainings were measured in."""
    table = [["", "notebook", "fishline", "notebook / fishline", "remark"]]
    for name, sides in rows.items():
        theirs, ours = sides["notebook"], sides["fishline"]
        comparable = len(theirs) == len(ours) and "accuracy:" not in name
        pairs = [a / b for a, b in zip(theirs, ours, strict=True)] if comparable else []
        remark = remark_on(name, epochs)
        if 0 < len(ours) < len(theirs):
            remark = f"fishline: {len(ours)} of {len(theirs)} seeds"
        table.append([name, short(theirs), short(ours), short(pairs), remark])
    print_table(table)


def remark_on(name: str, epochs: dict[str, float]) -> str:
    task = name.removesuffix(", s").removesuffix(": epochs").removeprefix("fine-tuning: ")
    measured = epochs.get({"base training": "base"}.get(task, task), EPOCHS)
    if measured < EPOCHS:
        return f"notebook: measured {measured:.2f} of {EPOCHS} epochs, scaled"
    in_part = name == "end to end, s" and min(epochs.values()) < EPOCHS
    return "notebook: its trainings scaled" if in_part else ""


def show_loop(found: dict[str, Values]) -> None:
    table = [["base training of fishline", "median (lowest–highest)"]]
    for kind, values in found["images_per_second"].items():
        table.append([f"{kind}, images/s", short(values)])
    print_table(table + [[name, short(values)] for name, values in found["ratios"].items()])


def write(path: Path | None, found: Mapping[str, Any]) -> None:
    if path:
        whole = {"machine": machine(), "versions": versions(), **found}
        path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
