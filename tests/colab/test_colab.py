"""Each notebook, alone in an empty folder, installs diffgauss beside Colab's versions and prints what it printed.

One run takes about two notebooks, see ``colab.turn``; with COLAB=all in the environment (`make colab`) all.
"""

import json
import subprocess
from pathlib import Path

import colab
import nbformat
import newest
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

PATHS = sorted((colab.ROOT / "notebooks").glob("[0-9]*.ipynb"))
pytestmark = pytest.mark.slow
UPGRADE = "!{sys.executable} -m pip install -q --disable-pip-version-check numpy==2.1.2\n"
DETECT = """assert "google.colab" in sys.modules
import numpy, pathlib
assert [p.name for p in pathlib.Path().iterdir()] == ["alone.ipynb"]
assert numpy.__version__ == "2.1.3" and dg.load("fashion-mnist", split="test").shape == (10000, 28, 28, 1)"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory, pytestconfig) -> str:
    """pip's cache for this run alone: the wheel of the commit is built once and does not stay in the user's."""
    colab.environment()
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{colab.describe()}")
    return str(tmp_path_factory.mktemp("pip"))


@pytest.fixture
def python(cache) -> Path:
    """The environment's Python, with what earlier tests installed or changed undone."""
    return colab.environment()


def faults(notebook: NotebookNode, folder: Path, python: Path, cache: str) -> list[str]:
    """What goes wrong when the notebook is run by nbval alone in the empty folder; empty if all is well."""
    nbformat.write(notebook, folder / "alone.ipynb")
    before = colab.installed()
    assert before == colab.pins()
    variables = {"DIFFGAUSS_SOURCE": colab.source(), "PIP_CACHE_DIR": cache}
    variables["DIFFGAUSS_DATA"] = str(colab.ROOT / "data")  # the wheel has no images, and here is no network
    found = newest.nbval(python, folder / "alone.ipynb", **variables)
    after = colab.installed()
    found += [f"{n} {v} became {after.get(n)}" for n, v in before.items() if after.get(n) != v]
    if colab.git("rev-parse", "HEAD") not in origin(python):
        found.append(f"diffgauss was not installed from this commit: {origin(python)}")
    return found


def origin(python: Path) -> str:
    """Where pip installed diffgauss from: the URL and the commit, as pip wrote it down."""
    read = "from importlib.metadata import distribution as d; print(d('diffgauss').read_text('direct_url.json'))"
    run = subprocess.run([python, "-I", "-c", read], capture_output=True, text=True)
    return run.stdout if run.returncode == 0 and "vcs_info" in json.loads(run.stdout) else run.stdout + run.stderr


TURN = [pytest.param(p, marks=() if p in colab.turn() else pytest.mark.skip("not its turn")) for p in PATHS]


@pytest.mark.parametrize("path", TURN, ids=[p.stem for p in PATHS])
def test_notebook_with_the_versions_of_colab(path, tmp_path, python, cache):
    found = faults(nbformat.read(path, as_version=4), tmp_path, python, cache)
    if path == PATHS[2]:
        found += newest.carried(python, tmp_path, DIFFGAUSS_DATA=str(colab.ROOT / "data"))
    assert not found, "\n".join(found)


def small(*after: str, before: str = "") -> NotebookNode:
    """The setup cell of the first notebook, with a fault planted before or cells put after it."""
    cells = nbformat.read(PATHS[0], as_version=4).cells
    (setup,) = [cell.source for cell in cells if "setup" in cell.metadata.get("tags", [])]
    importing = "import diffgauss as dg"
    assert setup.count(f"\n{importing}") == 1
    setup = setup.replace(f"\n{importing}", f"\n{before}{importing}")
    return new_notebook(cells=[new_code_cell(source) for source in (setup, *after)])


@pytest.mark.parametrize(
    ("notebook", "planted"),
    [
        (small(DETECT), []),
        (small(before=UPGRADE), ["numpy 2.1.3 became 2.1.2"]),
        (small("# NBVAL_SKIP\n1 + 1", "open('../pyproject.toml')"), ["3 code cells, but", "FileNotFoundError"]),
    ],
    ids=["the setup cell alone", "upgrades numpy", "leaves out a cell and needs the checkout"],
)
def test_setup_cell_and_planted_faults(notebook, planted, tmp_path, python, cache):
    found = faults(notebook, tmp_path, python, cache)
    assert bool(found) == bool(planted), found
    assert all(any(fault in text for text in found) for fault in planted), found
