"""What a course hands out: students get no answer, no solution and no hidden test."""

import copy
import subprocess
import sys
import zipfile

import assignment
import nbformat
import pytest
import release
import student

PATHS = sorted((release.ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def books():
    return {path.name: nbformat.read(path, as_version=4) for path in PATHS}


def test_students_copies_hold_nothing_for_instructors_alone(books, tmp_path):
    for name, book in books.items():
        nbformat.write(student.student(copy.deepcopy(book)), tmp_path / name)
    assert not release.leaks(tmp_path)
    assert len(release.secrets()) >= 2 * len(books) and all(len(secret) > 12 for secret in release.secrets())


@pytest.mark.parametrize("planted", ["executed", "answers", "solutions", "nbgrader", "otter", "page", "nothing"])
def test_what_is_for_instructors_alone_is_found(planted, books, tmp_path):
    book, copied = copy.deepcopy(books[PATHS[1].name]), student.student(copy.deepcopy(books[PATHS[1].name]))
    for whole, cell in zip(book.cells, copied.cells, strict=True):
        folded = cell.cell_type == "markdown" and "<details>" in whole.source
        if planted == "answers" and folded or planted == "solutions" and "# BEGIN" in whole.source:
            cell.source = whole.source.replace("# BEGIN SOLUTION", "").replace("# END SOLUTION", "")
    made = {"executed": book, "nbgrader": assignment.nbgrader(book, 7), "otter": assignment.otter(book, 7)}
    if planted == "page":
        code = next(c.source for c in book.cells if "# BEGIN SOLUTION" in c.source)
        (tmp_path / "deck.html").write_text("<pre>" + code.replace("(", "<b>(</b>") + "</pre>", encoding="utf-8")
    else:
        nbformat.write(made.get(planted, copied), tmp_path / "one.ipynb")
    assert bool(release.leaks(tmp_path)) == (planted != "nothing")


@pytest.mark.slow
def test_the_release_has_two_parts():
    done = subprocess.run([sys.executable, release.ROOT / "tools" / "release.py"], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    names = {path.name for path in PATHS}
    held = {}
    for part in ("students", "instructor"):
        with zipfile.ZipFile(release.OUT / f"{part}.zip") as archive:
            held[part] = {name.removeprefix(f"{part}/") for name in archive.namelist() if not name.endswith("/")}
    assert {f"notebooks/{name}" for name in names} | {"lecture-notes.pdf", "slides/lecture.html"} <= held[
        "students"
    ]
    assert {name.split("/")[0] for name in held["students"]} == {"notebooks", "slides", "lecture-notes.pdf"}
    wanted = {"slides/lecture.html", "lecture-notes-with-answers.pdf", "assignment/nbgrader/nbgrader_config.py"}
    assert wanted | {f"assignment/otter/{name}" for name in names} <= held["instructor"]
    leaking = {line.split(":")[0] for line in release.leaks(release.OUT / "instructor")}
    assert {"slides/lecture.html", "lecture-notes-with-answers.pdf"} <= leaking  # the test can see inside both
