"""Notebooks in JupyterLab 4 in Chromium: each slider, dragged to its ends, shows other pictures.

Of a notebook the cells run that its sliders need; with BROWSER=all (`make browser`, nightly) all cells do.

With ipywidgets 8 of constraints.txt, and with ipywidgets 7.7 of the versions that Colab ships: its page side,
jupyterlab_widgets 1.1.11, declares JupyterLab 3 and 4, and JupyterLab 4.6.6 lists it as enabled.
"""

import ast
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import colab
import lab
import nbformat
import pytest
from lab import browser as browser  # a fixture
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page

pytestmark = pytest.mark.slow
ALL = os.environ.get("BROWSER") == "all"  # `make browser`
NAMES = ["02_optimal_denoiser", "09_natural_images"]
PATHS = [p for name in NAMES if (p := colab.ROOT / "notebooks" / f"{name}.ipynb").exists()]
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
EXPLORER = """from diffgauss import widgets

def frame(ax, height, width):
    ax.bar([0], [height], width)
    ax.set(xlim=(-1, 1), ylim=(0, 4))

box = widgets.explorer(frame, height=[1, 2, 3], width=[0.2, 0.9])
box"""
SLIDER = """import ipywidgets, sys
from diffgauss.notebook.plots import figure, png
from IPython.display import Image, Javascript, display

frames = []
for n in range(3):
    fig, ax = figure()
    ax.plot([n, 1])
    frames.append(png(fig))

def show(n):
    PLANT
    display(Image(data=frames[n], format="png"))

slider = ipywidgets.IntSlider(min=0, max=2, continuous_update=False)
display(ipywidgets.VBox([slider, ipywidgets.interactive_output(show, {"n": slider})]))"""
NO_HUB = "uncaught in the page: Cannot read properties of undefined (reading 'Queue')"
"""ipywidgets 7 hands its labels to MathJax.Hub, which is MathJax 2's; JupyterLab 4 brings a later one."""
LOG = """display(Javascript("console.error('planted')"))"""
OBSERVE = """slider.observe(lambda change: 1 / change["new"], "value")"""


@pytest.fixture
def page(browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_default_timeout(120_000)  # a busy machine is no fault
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def lab8(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The address and the folder of JupyterLab in this environment, with ipywidgets 8."""
    folder = tmp_path_factory.mktemp("lab8") / "notebooks"
    folder.mkdir()
    with lab.server(sys.executable, folder) as address:
        yield address, folder


@pytest.fixture(scope="module")
def lab7(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The same with Colab's versions, ipywidgets 7.7.1 among them; the setup cell installs diffgauss."""
    folder = tmp_path_factory.mktemp("lab7") / "notebooks"
    folder.mkdir()
    python = colab.environment()
    cache = tmp_path_factory.mktemp("pip")
    with lab.server(python, folder, DIFFGAUSS_SOURCE=colab.source(), PIP_CACHE_DIR=str(cache)) as address:
        yield address, folder


def faults(
    notebook: NotebookNode, name: str, server: tuple[str, Path], page: Page, patience: float = 30
) -> list[str]:
    """What goes wrong in a copy of the notebook without outputs, so that what is seen was made now."""
    address, folder = server
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return lab.faults(page, address, folder / f"{name}.ipynb", len(code), name, patience)


def small(*sources: str) -> NotebookNode:
    return new_notebook(cells=[new_code_cell(source) for source in sources], metadata=METADATA)


def sliders(notebook: NotebookNode) -> NotebookNode:
    """The notebook's setup cell, its sliders, and the cells that make the names which these read, and no others."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kept, wanted = [], set()
    for cell in reversed(code):
        tree = ast.parse(re.sub(r"(?m)^[!%].*", "", cell.source))
        names = {(node.id, isinstance(node.ctx, ast.Load)) for node in ast.walk(tree) if isinstance(node, ast.Name)}
        made = {name for name, load in names if not load} | {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        made |= {
            (alias.asname or alias.name).split(".")[0]
            for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }  # fmt: skip
        if "setup" in cell.metadata.get("tags", []) or "widgets.explorer(" in cell.source or made & wanted:
            kept.append(cell)
            wanted = (wanted | {name for name, load in names if load}) - made
    return new_notebook(cells=kept[::-1], metadata=METADATA)


def setup() -> str:
    cells = nbformat.read(PATHS[0], as_version=4).cells
    (source,) = [cell.source for cell in cells if "setup" in cell.metadata.get("tags", [])]
    return source


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_notebook_with_ipywidgets_8(path, lab8, page):
    notebook = nbformat.read(path, as_version=4)
    assert not faults(notebook if ALL else sliders(notebook), path.stem, lab8, page)


def test_the_cells_that_a_slider_needs():
    sources = [
        "import math as m",
        "a = 1",
        "a = m.pi",
        "def f():\n    return a",
        "f()",
        "widgets.explorer(f)",
        "b = a",
    ]
    assert [cell.source for cell in sliders(small(*sources)).cells] == [sources[i] for i in (0, 2, 3, 5)]


def test_sliders_with_ipywidgets_7(lab7, page):
    assert not faults(small(setup(), EXPLORER), "ipywidgets7", lab7, page)


@pytest.mark.skipif(not ALL, reason="make browser runs it")
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_notebook_with_ipywidgets_7(path, lab7, page):
    found = faults(nbformat.read(path, as_version=4), f"{path.stem}-ipywidgets7", lab7, page)
    assert not [text for text in found if text != NO_HUB], found


@pytest.mark.parametrize(
    ("sources", "planted"),
    [
        ([EXPLORER], None),
        ([SLIDER.replace("PLANT", "pass")], None),
        ([SLIDER.replace("PLANT", "assert n < 2, 'a broken frame'")], "a broken frame"),
        ([SLIDER.replace("PLANT", "n = 0")], ", same picture"),
        ([SLIDER.replace("PLANT", "pass"), OBSERVE], "division by zero"),
        ([SLIDER.replace("PLANT", "pass"), LOG], "console: planted"),
        (["1 + 1"], "no slider"),
    ],
    ids=["explorer", "slider", "callback raises", "picture stays", "observer raises", "console", "no slider"],
)
def test_planted_faults_are_found(sources, planted, lab8, page):
    found = faults(small(*sources), "planted", lab8, page, patience=8 if planted else 30)
    assert any(planted in text for text in found) if planted else not found, found
