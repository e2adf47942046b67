"""Every notebook, copied alone into an empty folder, runs as a reader runs it and prints what it printed.

For the first three, which newcomers open, the package is the wheel, its cache is empty and the store is on this
machine: they fetch nothing but what their code names. A kernel takes 2 GB of memory at most.

About two of them, in turn, run with the versions of Colab instead (tests/colab), and two with the newest releases
(tests/newest), so that each runs once.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import colab
import execute
import nbformat
import newest
import pytest
from loopback import Server, variables
from nbformat.v4 import new_code_cell, new_notebook, new_output

PATHS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9]*.ipynb"))


ELSEWHERE = colab.turn() | newest.turn()
HERE = [pytest.param(p, marks=pytest.mark.skip("runs elsewhere")) if p in ELSEWHERE else p for p in PATHS]


MODEST = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
sys.exit(code or (f"a process took {peak / 1e9:.2f} GB; needs 2 or less" if peak > 2e9 else 0))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the wheel's contents."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(execute.ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", HERE, ids=[p.stem for p in PATHS])
def test_notebook_alone_in_an_empty_folder(path, installed, tmp_path):
    copy = tmp_path / "alone" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    first = path in PATHS[:3]
    with Server() as server:
        own = variables(tmp_path, server.url) | {"PYTHONPATH": str(installed)} if first else {}
        found = newest.nbval(sys.executable, copy, [sys.executable, "-c", MODEST], **own)
    assert not found, "\n".join(found)
    asked = set(server.asked)
    assert bool(asked) == first and asked <= execute.needs(nbformat.read(path, as_version=4))
    if path == PATHS[2]:
        assert not newest.carried(sys.executable, copy.parent)


@pytest.mark.slow
def test_a_process_that_takes_more_is_found():
    run = [sys.executable, "-c", MODEST, sys.executable, "-c", "bytearray(b'1') * 2_100_000_000"]
    assert "GB; needs 2 or less" in subprocess.run(run, capture_output=True, text=True).stderr


CALLBACK = """import ipywidgets
def show(n):
    if n == 2:
        raise ValueError("a broken frame")
slider = ipywidgets.IntSlider(min=0, max=2)
ipywidgets.interactive_output(show, {"n": slider})
slider.value = 2"""


CHECK = 'import diffgauss as dg\ndg.lesson.check(2, 1 / 3, 0.33, tol=0.01, text="a third")'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "stored", "passes"),
    [
        ("print(1 + 1)", "2\n", True),
        ("print(1 + 1)", "3\n", False),
        (CHECK, "✓ 2. a third: 0.334 (expected 0.33 ± 0.01)\n", True),
        (CHECK.replace("0.33,", "0.34,"), "✓ 2. a third: 0.333 (expected 0.34 ± 0.01)\n", True),
        (CHECK.replace("0.33,", "0.35,"), "✓ 2. a third: 0.345 (expected 0.35 ± 0.01)\n", False),
        (CHECK, "✓ 2. a third: 0.333 (expected 0.33 ± 0.02)\n", False),
        (CALLBACK, None, False),
        (CALLBACK.replace("n == 2", "n == 3"), None, True),
    ],
    ids="right altered digits within failed tolerance raises runs".split(),
)
def test_nbval_can_say_no(source, stored, passes, tmp_path):
    cell = new_code_cell(source, execution_count=1)
    if stored:
        cell.metadata.tags = ["nbval-check-output"]
        cell.outputs = [new_output("stream", name="stdout", text=stored)]
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "small.ipynb")
    assert bool(newest.nbval(sys.executable, tmp_path / "small.ipynb")) != passes
