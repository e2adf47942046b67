"""One table of numbers with their goals, as JSON and as Markdown."""

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from timing import cores

from diffgauss.zoo.runs import processor


@dataclass(frozen=True)
class Row:
    """One line: values, one for each round; goal: ("≤" or "≥", a number), for the median; times: median seconds.

    note says why values is empty; judged is False where the sizes are too small for a verdict.
    """

    part: str
    what: str
    values: Sequence[float]
    unit: str = "×"
    goal: tuple[str, float] | None = None
    times: dict[str, float] | None = None
    note: str = ""
    judged: bool = True

    @property
    def quartiles(self) -> tuple[float, float, float] | None:
        if not self.values:
            return None
        if len(self.values) == 1:
            return self.values[0], self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, statistics.median(self.values), high

    def met(self) -> bool | None:
        if self.goal is None or self.quartiles is None or not self.judged:
            return None
        sign, limit = self.goal
        return self.quartiles[1] <= limit if sign == "≤" else self.quartiles[1] >= limit


def ratio(
    part: str, what: str, times: dict[str, list[float]], top: str, bottom: str, *,
    goal: tuple[str, float] | None = None, scale: float = 1.0, note: str = "",
) -> Row:  # fmt: skip
    """scale · top/bottom, round by round; empty where one of the two had no turn."""
    if top not in times or bottom not in times:
        return Row(part, what, [], goal=goal, note=note)
    values = [scale * a / b for a, b in zip(times[top], times[bottom], strict=True)]
    return Row(part, what, values, goal=goal, times={k: statistics.median(times[k]) for k in (top, bottom)})


def machine() -> dict[str, Any]:
    """Processor, cores, memory and load: what a ratio may depend on, and nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_GiB": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    packages = ("diffgauss", "jax", "jaxlib", "numpy")
    return {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages}


def write(header: dict[str, Any], rows: Sequence[Row], path: Path) -> None:
    """The JSON to path, the Markdown beside it and on the screen."""
    table = as_markdown(header, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(header, rows), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table, end="")
    if (load := header["machine"]["load_before"]) > 0.5:
        print(f"\nThe machine was busy (load {load}): measure again on an idle one.")


def as_json(header: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    return header | {"rows": [asdict(r) | {"quartiles": r.quartiles, "met": r.met()} for r in rows]}


def as_markdown(header: dict[str, Any], rows: Sequence[Row]) -> str:
    shown = [header[part] for part in ("machine", "versions", "settings", "missing") if header[part]]
    lines = ["; ".join(f"{k.replace('_', ' ')}: {v}" for k, v in part.items()) for part in shown]
    cells = [("", "measured", "median (quartiles)", "goal", "met", "median seconds")]
    cells += [_cells(row) for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    table = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    table.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n\n".join(lines) + "\n\n" + "\n".join(table) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    if row.quartiles is None:
        value = f"not measured: {row.note}"
    else:
        low, middle, high = (f"{v:.3g}" for v in row.quartiles)
        value = middle + (f" ({low} – {high})" if len(row.values) > 1 else "") + f" {row.unit}"
    goal = f"{row.goal[0]} {row.goal[1]:g} {row.unit}" if row.goal else "—"
    met = {True: "yes", False: "NO", None: "—"}[row.met()]
    times = ", ".join(f"{name} {t:.3g}" for name, t in (row.times or {}).items())
    return row.part, row.what, value.replace("|", "/"), goal, met, times
