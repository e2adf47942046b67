"""What is asked of each notebook that is written anew: pictures first, science in the cells, the rest folded."""

import ast
import re

import execute
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from test_structure import PATHS, code, solutions

from diffgauss.notebook import answers

ANEW = [path for path in PATHS if "../docs/glossary.md" in path.read_text(encoding="utf-8")]
"""They point to the glossary."""


@pytest.fixture(scope="module", params=ANEW, ids=lambda p: p.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def shows(cell):
    """Whether the cell has a picture."""
    outputs = cell.get("outputs", [])
    return any(
        "image/png" in o.get("data", {}) or "<img" in o.get("data", {}).get("text/html", "") for o in outputs
    )


def test_there_are_some():
    assert ANEW


def test_a_picture_is_on_the_first_screen(notebook):
    assert any(map(shows, notebook.cells[:5])) and "**" in notebook.cells[4].source  # and a question after it


def long_lines(notebook):
    """Lines of more than 100 characters, but for those that hold a text for readers."""
    for cell in code(notebook):
        if "setup" in tags(cell):
            continue
        texts = [
            node for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 30
        ]  # fmt: skip
        spared = {k for node in texts for k in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
        yield from (s for k, s in enumerate(cell.source.splitlines(), 1) if len(s) > 100 and k not in spared)


def crowded(notebook):
    """Lines with more than one statement."""
    for cell in code(notebook):
        lines = [n.lineno for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.stmt)]
        yield from (cell.source.splitlines()[k - 1] for k in set(lines) if lines.count(k) > 1)


def test_lines_are_short_and_have_one_statement(notebook):
    assert not list(long_lines(notebook)) and not list(crowded(notebook))


def test_a_long_line_and_a_crowded_one_are_found():
    cells = [
        new_code_cell("x = " + "1 + " * 30 + "1"),
        new_code_cell(f"show('{'a word ' * 20}')"),
        new_code_cell("a = 1; b = 2"),
    ]
    book = new_notebook(cells=cells)
    assert [line[:3] for line in long_lines(book)] == ["x ="] and list(crowded(book)) == ["a = 1; b = 2"]


def test_at_most_a_third_of_the_code_is_plots_and_checks(notebook):
    lines = {True: 0, False: 0}
    for cell in code(notebook):
        if "setup" not in tags(cell):
            lines["hide-input" in tags(cell)] += len([s for s in cell.source.splitlines() if s.strip()])
    assert lines[True] <= (lines[True] + lines[False]) / 3, lines


def test_figures_are_small(notebook):
    for cell in code(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            assert len(data.get("image/png", "")) * 3 / 4 <= 60_000, cell.source[:60]
            if "image/gif" in data.get("text/html", "")[:4000]:
                assert len(data["text/html"]) * 3 / 4 <= 400_000


def test_what_readers_write_is_a_task_with_a_short_solution(notebook):
    cells = solutions(notebook)
    assert len(cells) >= 3
    for cell in cells:
        (name,) = re.findall(r"(\w+) = dg\.lesson\.written\(\1\)", cell.source)
        (body,) = re.findall(
            r"^    # BEGIN SOLUTION\n(.*?)^    # END SOLUTION$", cell.source, re.DOTALL | re.MULTILINE
        )
        assert name in answers.TASKS and f"def {name}(" in cell.source and len(body.splitlines()) <= 15
        assert {"solution", "nbval-check-output"} <= set(tags(cell)) and "hide-input" not in tags(cell)
        assert cell.outputs[0].text.startswith(f"✓ your {name} agrees with ")
        assert "dg." not in body


def test_each_prediction_is_compared(notebook):
    text = "\n".join(c.source for c in code(notebook))
    assert text.count("guess = None") == text.count("dg.lesson.predicted(guess, ") >= 2


def silent(notebook):
    """Cells that took more than five seconds, show no bar, and of which the text above does not say how long."""
    bars, above, found = {"tqdm", "animation", "explorer"}, "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            above = cell.source
            continue
        tree = ast.parse(cell.source)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if names & bars:
            bars |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        elif execute.LONG in tags(cell) and not re.search(r"second|minute", above):
            found.append(cell.source)
    return found


def test_cells_that_take_long_show_progress(notebook):
    assert not silent(notebook)


def test_a_silent_cell_is_found():
    long = {"tags": [execute.LONG]}
    train = new_code_cell("def train():\n    return list(tqdm(range(9)))")
    book = new_notebook(cells=[train, new_code_cell("train()", metadata=long), new_code_cell("f()", metadata=long)])
    assert silent(book) == ["f()"]
    book.cells.insert(1, new_markdown_cell("This takes half a minute."))
    assert not silent(book)


def folded(notebook):
    """Folds with mathematics, which VS Code does not set there."""
    for cell in notebook.cells:
        for fold in re.findall(r"<details\b.*?</details>", cell.source, re.DOTALL):
            if re.search(r"\$|\\\(|\\\[|\\begin\{", fold):
                yield fold


def test_folds_hold_no_mathematics(notebook):
    assert not list(folded(notebook))


@pytest.mark.parametrize("answer", ["$x$", r"$$\sigma^2$$", r"\(x\)", r"\begin{align}x\end{align}", "seven"])
@pytest.mark.parametrize("tag", ["<details>", "<details open>"])
def test_a_fold_with_mathematics_is_found(tag, answer):
    text = f"So $x$ is {tag}<summary>Answer</summary>\n\n{answer}\n\n</details> and $y$ more"
    assert len(list(folded(new_notebook(cells=[new_markdown_cell(text)])))) == (answer != "seven")


def test_equations_have_one_number_in_these_notebooks():
    """A number that comes twice stands for the same left-hand side."""
    found: dict[str, set] = {}
    for path in ANEW:
        for cell in nbformat.read(path, as_version=4).cells:
            for body, number in re.findall(r"\$\$(.*?)\\tag\{(\w+)\}", cell.source, re.DOTALL):
                left = re.split(r"=|\\quad|\\;", re.sub(r"\s|\\,|\\!", "", body))[0]
                found.setdefault(number, set()).add(left)
    assert len(found) >= 5
    assert {number: lefts for number, lefts in found.items() if len(lefts) > 1} == {}


def damaged(notebook):
    """Control characters, which a backslash that was read as an escape leaves behind."""
    return [cell.source for cell in notebook.cells if re.search(r"[\x00-\x09\x0b-\x1f]", cell.source)]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_no_control_characters(path):
    assert not damaged(nbformat.read(path, as_version=4))


def test_a_control_character_is_found():
    assert damaged(new_notebook(cells=[new_markdown_cell("$D_L\approx D_G$"), new_markdown_cell(r"$\approx$")]))
