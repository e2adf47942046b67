"""Write RESULTS.md from what the executed notebooks computed: every claim, its verdict, and the paper's figures.

python tools/results.py
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from diffgauss.lesson import CLAIMS

ROOT = Path(__file__).resolve().parents[1]
FIGURES = [f"F{n}" for n in (*range(1, 10), *range(12, 19), 28, 29, 30)]
"""The figures of Li et al. (2024) that have a counterpart here."""

HEAD = """# Results

**What was not shown.** Everything below is about grey images of 28×28 pixels (Fashion-MNIST) and, where it says so,
natural colour images of 32×32 (CIFAR-10, a copy re-encoded as JPEG), and about networks of 3·10⁵ weights (2·10⁴ to
1.4·10⁶ where the width is varied; 1.3·10⁵ for the ResNet). No higher resolution has been tried; the paper works at
64×64×3, with nets of 10⁷ weights and more. A claim that holds here holds on this scale, and so does one that fails.

This page is written by `make results` from what the executed notebooks computed; each criterion was written before
the run that it judges; [docs/claims.md](docs/claims.md) says what had been seen by then.
All networks: [data/zoo](data/zoo/README.md).

"""


def notebooks(folder: Path) -> list[tuple[Path, NotebookNode]]:
    """The notebooks of a folder, in order."""
    return [(path, nbformat.read(path, as_version=4)) for path in sorted(folder.glob("[0-9]*.ipynb"))]


def claims(notebook: NotebookNode) -> Iterator[dict]:
    """The rows of the ledger that the notebook computed."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield from output.get("data", {}).get(CLAIMS, [])


def figures(notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """(figure of the paper, the section with its counterpart) for each figure that names one."""
    section = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"(?m)^## (.+)$", cell.source)):
            section = found[1]
        for output in cell.get("outputs", []):
            for name in output.get("metadata", {}).get("image/png", {}).get("paper", "").split():
                yield name, section


def render(folder: Path) -> str:
    """The page. Raises ValueError where a claim of docs/claims.md or a figure of the paper has no counterpart."""
    rows: dict[str, tuple[dict, Path]] = {}
    places: dict[str, list[str]] = {}
    for path, notebook in notebooks(folder):
        rows |= {claim["id"]: (claim, path) for claim in claims(notebook)}
        for name, section in figures(notebook):
            place = f"[{path.stem[:2]}](notebooks/{path.name}): {section}"
            if place not in places.setdefault(name, []):
                places[name].append(place)
    promised, (coloured, note) = criteria(), colour()
    rows = {name: row for name, row in rows.items() if name not in coloured}
    if missing := [name for name in promised if name not in rows] + [f for f in FIGURES if f not in places]:
        raise ValueError(f"no notebook has {', '.join(missing)}; needs every claim and figure")
    verdicts = {name.removesuffix(" colour"): claim["verdict"] for name, claim in coloured.items()}
    return (
        HEAD + shortfalls(rows) + table(rows, promised, verdicts) + on_colour(coloured, note) + counterparts(places)
    )


def criteria() -> dict[str, str]:
    """The criterion of each claim in docs/claims.md."""
    text = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| ([BC]\d+\w?) \| .* \| (.*) \| (.*) \|$", text)
    return {name: f"{holds}; partly: {partly}".removesuffix("; partly: –") for name, holds, partly in rows}


def colour() -> tuple[dict[str, dict], str]:
    """The claims on colour images, by id ("C2 colour"), and how to read them: what tools/cifar10.py measured."""
    record = json.loads((ROOT / "data" / "zoo" / "cifar10.json").read_text(encoding="utf-8"))
    return {claim["id"]: claim for claim in record["claims"]}, record["caution"]


def on_colour(claims: dict[str, dict], note: str) -> str:
    """The rows on colour images, and why some do not hold."""
    head = ("id", "claim", "paper", "ours", "verdict", "difference in scale")
    lines = [head, ("---",) * len(head)]
    for name, c in claims.items():
        lines.append((name, c["claim"], c["paper"], c["ours"], f"**{c['verdict']}**", c["scale"]))
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    short = "".join(f"- **{c['id']} {c['verdict']}**: {c['why']}.\n" for c in claims.values() if c["why"])
    command = "DIFFGAUSS_CIFAR10=FOLDER python tools/cifar10.py"
    return (
        f"## On natural colour images\n\n{note}\n\n{short}\n{body}\n\nCriteria: docs/claims.md, written before "
        f"the results. The column is made again by `{command}`, from any copy of the images.\n\n"
    )


def shortfalls(rows: dict[str, tuple[dict, Path]]) -> str:
    """What does not hold, or only in part, and why: first, not last."""
    lines = [f"- **{c['id']} {c['verdict']}** ({c['claim']}): {c['why']}." for c, _ in rows.values() if c["why"]]
    good = sum(c["verdict"] == "holds" for c, _ in rows.values())
    text = "\n".join(lines) if lines else "Nothing."
    return f"## What does not hold, or only in part\n\n{text}\n\nThe other {good} of {len(rows)} claims hold.\n\n"


def table(rows: dict[str, tuple[dict, Path]], criterion: dict[str, str], on_colour: dict[str, str]) -> str:
    """All claims, in the order of their numbers: C of the paper, then B of later work."""
    head = ("id", "claim", "paper", "ours", "criterion", "verdict", "on colour", "difference in scale", "notebook")
    lines = [head, ("---",) * len(head)]
    for name in sorted(rows, key=lambda name: (name[0] != "C", int(re.findall(r"\d+", name)[0]), name)):
        c, path = rows[name]
        link = f"[{path.stem[:2]}](notebooks/{path.name})"
        found, other = f"**{c['verdict']}**", on_colour.get(name, "–")
        lines.append((name, c["claim"], c["paper"], c["ours"], criterion[name], found, other, c["scale"], link))
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    command = "python tools/execute.py --out build notebooks/NAME.ipynb"
    return (
        f"## All claims\n\n{body}\n\nA row is made again by `{command}`, with the notebook of its last column.\n\n"
    )


def counterparts(places: dict[str, list[str]]) -> str:
    """Where each figure of the paper has its counterpart."""
    lines = "\n".join(f"| {name} | {'; '.join(places[name])} |" for name in FIGURES)
    note = "A counterpart asks the same question of our data; it does not copy the figure."
    return f"## Figures of the paper\n\n{note}\n\n| figure | notebook: section |\n| --- | --- |\n{lines}\n"


if __name__ == "__main__":
    page = render(ROOT / "notebooks")
    (ROOT / "RESULTS.md").write_text(page, encoding="utf-8")
    print(f"RESULTS.md: {page.count('| **holds** |')} claims hold, on grey or on colour images")
