"""The pages beside the notebooks: their code runs, and the letters of the notebooks are those of the glossary."""

import json
import re
from pathlib import Path

import jax
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_on_jax_runs():
    page = (ROOT / "docs" / "jax.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 6 and all("assert" in block for block in blocks)
    scope: dict = {}
    with jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(block, scope)


def letters(page: str) -> set[str]:
    """The letters of the tables' first cells: of $\\Sigma=U\\Lambda U^\\top$ the Σ, of $D(x;\\sigma)$ the D."""
    cells = re.findall(r"(?m)^\| ([^|]*\$[^|]*) \|", page)
    names = [part for cell in cells for name in re.findall(r"\$(.+?)\$", cell) for part in name.split(",")]
    found = {re.sub(r"\(x;\\sigma\)", "", name.split("=")[0]).strip() for name in names}
    return found - {r"\dots"}


NOTEBOOKS = {
    path.stem: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
}
POINTING = [name for name, book in NOTEBOOKS.items() if any("../docs/glossary.md" in c.source for c in book.cells)]


def test_there_are_notebooks_that_point_to_the_glossary():
    assert POINTING


@pytest.mark.parametrize("name", POINTING)
def test_the_letters_of_a_notebook_are_in_the_glossary(name):
    (table,) = [c.source for c in NOTEBOOKS[name].cells if c.source.startswith("## Words and letters")]
    used = letters(table)
    assert len(used) >= 5 and used <= letters(GLOSSARY), used - letters(GLOSSARY)


def test_an_unknown_letter_is_found():
    table = "| letter | meaning |\n| $q_3$, $\\Sigma=UU$ | odd |\n| $D(x;\\sigma)$ | known |"
    assert letters(table) == {"q_3", r"\Sigma", "D"} and letters(table) - letters(GLOSSARY) == {"q_3"}


def rows(page: str, name: str) -> list[list[float]]:
    """The numbers of the table between the marks of that name."""
    body = page.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in body.strip().splitlines()[2:]]
    return [[float(c.rstrip("%")) / (100 if c.endswith("%") else 1) for c in line] for line in lines]


def test_the_page_on_the_screened_memory_has_the_numbers_of_its_record():
    page = (ROOT / "docs" / "screened.md").read_text(encoding="utf-8")
    record = json.loads((ROOT / "data" / "results" / "screened.json").read_text(encoding="utf-8"))
    names = ("sigma", "ratio", "visited", "bound", "error", "error_scan", "error_100_nearest", "error_mini_batches")
    for line, found in zip(rows(page, "by sigma"), record["by_sigma"], strict=True):
        assert line == pytest.approx([found[name] for name in names], rel=0.5, abs=0.06)
        assert line[1] == pytest.approx(found["ratio"], abs=0.006) and line[4] < 2 * found["error"]
    for line, found in zip(rows(page, "by n"), record["by_n"], strict=True):
        assert line == pytest.approx([found[name] for name in ("n", "scan", "screened", "ratio")], abs=0.06)
