"""Every notebook, copied alone into an empty folder, runs as a reader runs it and prints what it printed.

About two of them, in turn, run with the versions of Colab instead (tests/colab), and two with the newest releases
(tests/newest), so that each runs once.
"""

import sys
from pathlib import Path

import colab
import nbformat
import newest
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

PATHS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9]*.ipynb"))


ELSEWHERE = colab.turn() | newest.turn()
HERE = [pytest.param(p, marks=pytest.mark.skip("runs elsewhere")) if p in ELSEWHERE else p for p in PATHS]


@pytest.mark.slow
@pytest.mark.parametrize("path", HERE, ids=[p.stem for p in PATHS])
def test_notebook_alone_in_an_empty_folder(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    found = newest.nbval(sys.executable, copy)
    assert not found, "\n".join(found)


CALLBACK = """import ipywidgets
def show(n):
    if n == 2:
        raise ValueError("a broken frame")
slider = ipywidgets.IntSlider(min=0, max=2)
ipywidgets.interactive_output(show, {"n": slider})
slider.value = 2"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "stored", "passes"),
    [
        ("# NBVAL_CHECK_OUTPUT\nprint(1 + 1)", "2\n", True),
        ("# NBVAL_CHECK_OUTPUT\nprint(1 + 1)", "3\n", False),
        (CALLBACK, None, False),
        (CALLBACK.replace("n == 2", "n == 3"), None, True),
    ],
    ids=["right output", "altered output", "callback raises", "callback runs"],
)
def test_nbval_can_say_no(source, stored, passes, tmp_path):
    cell = new_code_cell(source, execution_count=1)
    if stored:
        cell.outputs = [new_output("stream", name="stdout", text=stored)]
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "small.ipynb")
    assert bool(newest.nbval(sys.executable, tmp_path / "small.ipynb")) != passes
