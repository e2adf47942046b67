"""What a course hands out: build/release/students without an answer, and build/release/instructor with all of them.

Students get their copies of the notebooks, the decks and the lecture notes. Instructors get the decks and the notes
with answers, and the sources of the assignments with their hidden tests. Each folder is also a zip file.
"""

import html
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import nbformat
from pypdf import PdfReader
from student import FOLDED, SOLUTION
from web import ROOT

OUT = ROOT / "build" / "release"
PARTS = {
    "../site": ["web.py"],  # which the lecture notes are printed from
    "students/notebooks": ["student.py"],
    "students/slides": ["decks.py", "--student"],
    "students/lecture-notes.pdf": ["pdf.py", "--student"],
    "instructor/slides": ["decks.py"],
    "instructor/lecture-notes-with-answers.pdf": ["pdf.py"],
    "instructor/assignment": ["assignment.py"],
}
MARKS = {"beginsolution", "hiddentests", "dglessongrade"}  # as letters: they stand in instructors' notebooks alone


def letters(text: str) -> str:
    """Small letters alone: neither tags nor line breaks, which JSON writes as n, nor links tell two texts apart."""
    plain = html.unescape(re.sub(r"</?[A-Za-z][^<>\n]*>|\\n", "", unicodedata.normalize("NFKC", text)))  # a PDF's ﬁ
    return re.sub("[^a-z]", "", re.sub(r"\]\([^)]*\)", "", plain).lower())


def secrets() -> set[str]:
    """How each answer and each solution of the notebooks begins."""
    found = set()
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            folds = [fold.partition("</summary>")[2] for fold in FOLDED.findall(cell.source)]
            written = ["".join(found[0].splitlines()[1:-1]) for found in SOLUTION.finditer(cell.source)]
            found |= {letters(text)[:60] for text in folds + written}
    return found


def leaks(folder: Path) -> list[str]:
    """The files below the folder that hold an answer, a solution or a hidden test."""
    hidden, found = secrets() | MARKS, []
    for path in (path for path in sorted(folder.rglob("*")) if path.suffix in (".pdf", ".html", ".ipynb", ".py")):
        pages = PdfReader(path).pages if path.suffix == ".pdf" else []
        text = letters("".join(page.extract_text() for page in pages) or path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(folder)}: {secret}" for secret in sorted(hidden) if secret in text]
    return found


def main() -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    for name, (tool, *how) in PARTS.items():
        command = [sys.executable, ROOT / "tools" / tool, *how, "--out", (OUT / name).resolve()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if found := leaks(OUT / "students"):
        print("students would get what only instructors may have:", *found, sep="\n")
        return 1
    for part in ("students", "instructor"):
        print(shutil.make_archive(str(OUT / part), "zip", OUT, part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
