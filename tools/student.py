"""Write the notebooks as students get them: no outputs, answers or solutions; checks, hints and exercises stay.

python tools/student.py [--out build/student]
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from execute import ROOT, write
from nbformat import NotebookNode

FOLDED = re.compile(r"<details><summary>(?!Hint<).*?</details>", re.DOTALL)
BLANK = "*Your answer:*"
SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n.*?^\1# END SOLUTION$", re.DOTALL | re.MULTILINE)
EMPTY = r"\1...  # write this"


def blanked(notebook: NotebookNode) -> NotebookNode:
    """The notebook with a blank line in place of each solution and each fold that is no hint."""
    for cell in notebook.cells:
        folded = cell.cell_type == "markdown"
        cell.source = FOLDED.sub(BLANK, cell.source) if folded else SOLUTION.sub(EMPTY, cell.source)
    return notebook


def student(notebook: NotebookNode) -> NotebookNode:
    """The notebook without outputs either."""
    for cell in blanked(notebook).cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "student", help="folder for the copies")
    out = parser.parse_args().out
    paths = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    for path in paths:
        write(student(nbformat.read(path, as_version=4)), out / path.name)
    print(f"{len(paths)} notebooks in {out}; make lab FOLDER={out} opens them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
