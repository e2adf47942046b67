"""What a course hands out: students get no answer, no solution and no hidden test."""

import copy
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


@pytest.mark.parametrize(
    "planted", ["executed", "answers", "solutions", "nbgrader", "otter", "test", "page", "nothing"]
)
def test_what_is_for_instructors_alone_is_found(planted, books, tmp_path):
    book, copied = copy.deepcopy(books[PATHS[1].name]), student.student(copy.deepcopy(books[PATHS[1].name]))
    for whole, cell in zip(book.cells, copied.cells, strict=True):
        folded = cell.cell_type == "markdown" and "<details>" in whole.source
        if planted == "answers" and folded or planted == "solutions" and "# BEGIN" in whole.source:
            cell.source = whole.source.replace("# BEGIN SOLUTION", "").replace("# END SOLUTION", "")
    if planted == "test":
        copied.cells.append(nbformat.v4.new_code_cell('dg.lesson.grade("D_M", seed=7)'))
    made = {"executed": book, "nbgrader": assignment.nbgrader(book, 7), "otter": assignment.otter(book, 7)}
    if planted == "page":
        code = next(c.source for c in book.cells if "# BEGIN SOLUTION" in c.source).replace("# BEGIN", "")
        (tmp_path / "deck.html").write_text("<pre>" + code.replace("(", "<b>(</b>") + "</pre>", encoding="utf-8")
    else:
        nbformat.write(made.get(planted, copied), tmp_path / "one.ipynb")
    assert bool(release.leaks(tmp_path)) == (planted != "nothing")


@pytest.mark.slow
def test_the_release_has_two_parts(tmp_path, monkeypatch, capsys):
    """Without the lecture notes, which take minutes: tests/site/test_pdf.py prints one notebook for students."""
    made = {name: how for name, how in release.PARTS.items() if how[0] not in ("web.py", "pdf.py")}
    monkeypatch.setattr(release, "PARTS", made)
    monkeypatch.setattr(release, "OUT", tmp_path / "release")
    assert release.main() == 0 and "students.zip" in capsys.readouterr().out
    held = {}
    for part in ("students", "instructor"):
        with zipfile.ZipFile(tmp_path / "release" / f"{part}.zip") as archive:
            held[part] = {name.removeprefix(f"{part}/") for name in archive.namelist() if not name.endswith("/")}
    names = {path.name for path in PATHS}
    assert {f"notebooks/{name}" for name in names} | {"slides/lecture.html"} <= held["students"]
    assert {name.split("/")[0] for name in held["students"]} == {"notebooks", "slides"}
    wanted = {"slides/lecture.html", "assignment/nbgrader/nbgrader_config.py"}
    assert wanted | {f"assignment/otter/{name}" for name in names} <= held["instructor"]
    leaking = {line.split(":")[0] for line in release.leaks(tmp_path / "release" / "instructor")}
    assert {f"slides/{PATHS[1].stem}.html", f"assignment/otter/{PATHS[1].name}"} <= leaking


@pytest.mark.slow
def test_a_release_with_an_answer_for_students_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(release, "PARTS", {"students/assignment": ["assignment.py"]})
    monkeypatch.setattr(release, "OUT", tmp_path / "release")
    assert release.main() == 1
    found = f"assignment/nbgrader/source/{PATHS[1].stem}/{PATHS[1].name}: hiddentests"
    assert found in capsys.readouterr().out
    assert not list((tmp_path / "release").glob("*.zip"))
