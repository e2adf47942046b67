"""The graded assignments, by nbgrader and otter-grader themselves: what right, wrong and borrowed answers earn.

One run takes notebook 2, with all kinds of answers, and about two others, see ``colab.turn``; with COLAB=all in the
environment all.
"""

import json
import os
import random
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import assignment
import colab
import nbformat
import pytest
import student

pytestmark = pytest.mark.slow
ROOT, NAME = assignment.ROOT, "02_optimal_denoiser"
NAMES = [path.stem for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
CLASS = int(os.environ.get("CLASS", "0"))  # students of the whole class, for the one test that is not run every day
STATES = ("right", "wrong", "empty", "borrowed", "crashing", "slow")
GRADERS = ["nbgrader==0.9.6", "otter-grader==7.0.0"]
SCORES = """
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    found = {s.student.id: {g.cell.name.removeprefix("test_"): g.score for n in s.notebooks for g in n.grades}
             for s in book.assignment_submissions("%s")}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def graders() -> Path:
    """An environment with both graders, which also sees this one's packages; made once."""
    where = ROOT / "build" / "graders"
    done = where / ".installed"
    if not done.exists() or done.read_text(encoding="utf-8") != " ".join(GRADERS):
        subprocess.run([sys.executable, "-m", "venv", "--clear", where], check=True)
        pip = [where / "bin" / "python", "-m", "pip", "install", "-q", "--no-compile"]
        subprocess.run([*pip, *GRADERS], check=True)
        (site,) = where.glob("lib/python*/site-packages")
        ours = [sysconfig.get_path("purelib"), ROOT / "src"]
        (site / "ours.pth").write_text("\n".join(map(str, ours)) + "\n", encoding="utf-8")
        done.write_text(" ".join(GRADERS), encoding="utf-8")
    return where / "bin"


def whole(name: str):
    """The cells of a notebook that its questions need: the set-up, the imports and the questions."""
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    asked = assignment.questions(book)
    needed = [
        cell for k, cell in enumerate(book.cells)
        if cell.cell_type == "code" and (k in asked or "setup" in cell.metadata.get("tags", []) or k == 2)
    ]  # fmt: skip
    book.cells = needed
    return book


def run(*command, cwd, code=0):
    bin = str(Path(command[0]).parent)
    env = os.environ | {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == code, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def sources(book) -> dict[str, str]:
    """What each question's cell holds."""
    return {name: book.cells[k].source for k, name in assignment.questions(book).items()}


def answered(path: Path, whole, states: dict[str, str]):
    """The student's copy with each question answered in the way that states says."""
    book, right = nbformat.read(path, as_version=4), sources(whole)
    for cell in book.cells:
        for name in assignment.NAME.findall(cell.source) if cell.cell_type == "code" else []:
            assert "write this" in cell.source or "YOUR CODE" in cell.source or "..." in cell.source
            if states[name] == "right":
                cell.source = right[name]
            if states[name] == "wrong":
                cell.source = re.sub(r"return (.*)\n    # END", r"return 2 * (\1)\n    # END", right[name])
            if states[name] == "crashing":
                cell.source = f"def {name}(*a):\n    return 1 / 0\n{name} = dg.lesson.written({name})\n1 / 0"
            if states[name] == "slow":
                cell.source = f"def {name}(*a):\n    while True:\n        pass\n{name} = dg.lesson.written({name})"
            if states[name] == "dying":  # takes the kernel with it
                cell.source = f"def {name}(*a):\n    import os\n    os._exit(0)\n{name} = dg.lesson.written({name})"
            if states[name] == "borrowed":
                cell.source = (
                    f"def {name}(*a):\n    from diffgauss.notebook.answers import TASKS\n"
                    f"    return TASKS['{name}'].kernel(*a)\n{name} = dg.lesson.written({name})"
                )
    return book


def graded(graders: Path, course: Path, name: str, students: dict[str, dict[str, str]]) -> dict:
    """The points of each student for each question, by nbgrader; students: how each answers each question."""
    book = whole(name)
    source = course / "source" / name
    source.mkdir(parents=True)
    nbformat.write(assignment.nbgrader(book, seed=11), source / f"{name}.ipynb")
    config = assignment.CONFIG.replace("timeout = 900", "timeout = 20")
    assert config != assignment.CONFIG
    (course / "nbgrader_config.py").write_text(config, encoding="utf-8")
    run(graders / "nbgrader", "generate_assignment", name, "--create", cwd=course)
    released = course / "release" / name / f"{name}.ipynb"
    text = released.read_text(encoding="utf-8")
    assert "seed=11" not in text and "BEGIN SOLUTION" not in text
    assert text.count("dg.lesson.grade(") == len(sources(book))
    for who, states in students.items():
        folder = course / "submitted" / who / name
        folder.mkdir(parents=True)
        nbformat.write(answered(released, book, states), folder / f"{name}.ipynb")
    dead = any("dying" in states.values() for states in students.values())  # said, after all the others are graded
    run(graders / "nbgrader", "autograde", name, "--create", cwd=course, code=int(dead))
    return json.loads(run(graders / "python", "-c", SCORES % name, cwd=course).splitlines()[-1])


def earned(students: dict[str, dict[str, str]]) -> dict:
    """A point for what is right, and for nothing else; none at all for who ends the kernel."""
    return {
        who: {name: float(state == "right" and "dying" not in states.values()) for name, state in states.items()}
        for who, states in students.items()
    }


TURN = {NAME} | {path.stem for path in colab.turn(2)}
HERE = [pytest.param(name, marks=() if name in TURN else pytest.mark.skip("not its turn")) for name in NAMES]


@pytest.mark.parametrize("name", HERE)
def test_nbgrader_marks_each_question(graders, name, tmp_path):
    asked, states = list(sources(whole(name))), STATES if name == NAME else STATES[:2]
    students = {state: dict.fromkeys(asked, state) for state in states if state != "slow"}
    if "slow" in states:  # one question alone: each takes the whole time that the grader allows
        students["slow"] = dict.fromkeys(asked, "right") | {asked[1]: "slow"}
    assert graded(graders, tmp_path, name, students) == earned(students)


@pytest.mark.skipif(not CLASS, reason="7 to 13 minutes on one core: CLASS=30 grades a class of so many")
def test_a_class_is_graded(graders, tmp_path):
    asked, rng = list(sources(whole(NAME))), random.Random(0)
    students = {}
    for k in range(CLASS):
        states = {name: rng.choice(STATES[:5]) for name in asked}
        if k % 10 == 9:
            states[asked[0]] = "slow"
        if k % 10 == 4:
            states[asked[1]] = "dying"
        students[f"student{k:02d}"] = states
    assert graded(graders, tmp_path, NAME, students) == earned(students)


def test_otter_marks_each_question(graders, tmp_path):
    book = whole(NAME)
    names = list(sources(book))
    states = dict(zip(names, ["right", "wrong", "empty", "borrowed", "right"], strict=True))
    nbformat.write(assignment.otter(book, seed=11), tmp_path / f"{NAME}.ipynb")
    run(graders / "otter", "assign", f"{NAME}.ipynb", "dist", "--no-pdfs", cwd=tmp_path)  # also runs the tests
    released = tmp_path / "dist" / "student" / f"{NAME}.ipynb"
    assert "seed=11" not in "".join(
        p.read_text(encoding="utf-8") for p in released.parent.rglob("*") if p.is_file()
    )
    (tmp_path / "work").mkdir()
    nbformat.write(answered(released, book, states), tmp_path / "work" / f"{NAME}.ipynb")
    (archive,) = (tmp_path / "dist" / "autograder").glob("*.zip")
    said = run(graders / "otter", "run", "-a", archive, f"{NAME}.ipynb", cwd=tmp_path / "work")
    found = dict(re.findall(r"(?m)^\d+ +(\w+) +([\d.]+) +1\.0$", said))
    assert {name: float(score) for name, score in found.items()} == {
        name: float(state == "right") for name, state in states.items()
    }, said


def test_the_command_writes_copies_and_sources(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["assignment.py", "--out", str(tmp_path), "--seed", "5"])
    assert assignment.main() == 0
    made = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert {f"student/{p.name}" for p in (ROOT / "notebooks").glob("[0-9]*.ipynb")} <= made
    assert {f"nbgrader/source/{NAME}/{NAME}.ipynb", f"otter/{NAME}.ipynb", "nbgrader/nbgrader_config.py"} <= made
    copy = nbformat.read(tmp_path / "student" / f"{NAME}.ipynb", as_version=4)
    assert not any("BEGIN SOLUTION" in c.source for c in copy.cells)
    assert sum("...  # write this" in c.source for c in copy.cells) == len(sources(nbformat.read(
        ROOT / "notebooks" / f"{NAME}.ipynb", as_version=4
    )))  # fmt: skip
    assert student.BLANK in "".join(c.source for c in copy.cells)
    assert f"{len(NAMES)} notebooks with questions" in capsys.readouterr().out
