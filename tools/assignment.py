"""Write the notebooks as graded assignments: the student's copies, and sources for nbgrader and for otter-grader.

python tools/assignment.py [--out build/assignment]

A question is a cell that students write in, between # BEGIN SOLUTION and # END SOLUTION. It has a public test with
the notebook's own arguments, and a hidden one with others, which only the sources hold. Then

    cd build/assignment/nbgrader && nbgrader generate_assignment NAME
    cd build/assignment/otter && otter assign NAME.ipynb dist

make what students get. Both graders run the notebook with the diffgauss that is installed.
"""

import argparse
import copy
import re
import sys
from pathlib import Path

import nbformat
from execute import ROOT, write
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_raw_cell
from student import student

from diffgauss import files

NAME = re.compile(r"dg\.lesson\.written\((\w+)\)")
HIDDEN = 20241210
"""The seed of the hidden tests' arguments; a course may take its own by --seed."""

CONFIG = """c = get_config()
c.CourseDirectory.course_id = "diffgauss"
c.ExecutePreprocessor.timeout = 900
c.ClearSolutions.code_stub = {"python": "...  # write this"}
"""


def questions(notebook: NotebookNode) -> dict[int, str]:
    """The name of what is written in each cell with a solution, by the cell's number."""
    found = {}
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and "# BEGIN SOLUTION" in cell.source:
            (found[k],) = NAME.findall(cell.source)
    return found


def blank(notebook: NotebookNode) -> NotebookNode:
    """The notebook without outputs and folded answers, its solutions as they are."""
    copied, whole = student(copy.deepcopy(notebook)), copy.deepcopy(notebook)
    for cell, own in zip(copied.cells, whole.cells, strict=True):
        if cell.cell_type == "code":
            cell.source = own.source
    return copied


def nbgrader(notebook: NotebookNode, seed: int) -> NotebookNode:
    """The source of an nbgrader assignment: a point for each question."""
    made, cells = blank(notebook), []
    asked = questions(made)
    for k, cell in enumerate(made.cells):
        cells.append(cell)
        if name := asked.get(k):
            cell.metadata["nbgrader"] = _nbgrader(name, solution=True)
            tests = (
                f'dg.lesson.grade("{name}")\n### BEGIN HIDDEN TESTS\n'
                f'dg.lesson.grade("{name}", seed={seed})\n### END HIDDEN TESTS'
            )
            cells.append(new_code_cell(tests, metadata={"nbgrader": _nbgrader(f"test_{name}", grade=True)}))
    made.cells = cells
    return made


def _nbgrader(grade_id: str, *, solution: bool = False, grade: bool = False) -> dict:
    own = {"grade": grade, "solution": solution, "locked": grade, "task": False, "grade_id": grade_id}
    return own | {"schema_version": 3, "cell_type": "code"} | ({"points": 1} if grade else {})


def otter(notebook: NotebookNode, seed: int) -> NotebookNode:
    """The source of an otter assignment: a question with a public and a hidden test for each."""
    made = blank(notebook)
    asked = questions(made)
    cells = [new_raw_cell("# ASSIGNMENT CONFIG\ninit_cell: true\nexport_cell: false\nfiles: []")]
    for k, cell in enumerate(made.cells):
        if not (name := asked.get(k)):
            cells.append(cell)
            continue
        cells += [
            new_raw_cell(f"# BEGIN QUESTION\nname: {name}\npoints: 1"),
            new_raw_cell("# BEGIN SOLUTION"),
            cell,
            new_raw_cell("# END SOLUTION"),
            new_raw_cell("# BEGIN TESTS"),
            new_code_cell(f'dg.lesson.grade("{name}")'),
            new_code_cell(f'# HIDDEN\ndg.lesson.grade("{name}", seed={seed})'),
            new_raw_cell("# END TESTS"),
            new_raw_cell("# END QUESTION"),
        ]
    made.cells = cells
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "assignment")
    parser.add_argument("--seed", type=int, default=HIDDEN, help="of the hidden tests")
    options = parser.parse_args()
    out, made = options.out, 0
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        write(student(copy.deepcopy(notebook)), out / "student" / path.name)
        if questions(notebook):
            write(nbgrader(notebook, options.seed), out / "nbgrader" / "source" / path.stem / path.name)
            write(otter(notebook, options.seed), out / "otter" / path.name)
            made += 1
    files.write(out / "nbgrader" / "nbgrader_config.py", CONFIG)
    print(f"{made} notebooks with questions, and all notebooks for students, in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
