"""The lecture notes: every notebook is printed, in order, with its text, its formulas and its pictures."""

import io
from typing import Any

import pdf
import pytest
from fixtures import site as site
from pypdf import PdfReader

pytestmark = pytest.mark.slow
NAMES = [f"notebooks/{path.stem}" for path in sorted((pdf.ROOT / "notebooks").glob("[0-9]*.ipynb"))]


@pytest.fixture(scope="module")
def printed(site):
    return dict(zip(NAMES[1:3], pdf.pages(site, NAMES[1:3]), strict=True))


def test_a_notebook_is_printed_with_its_pictures_and_answers(printed):
    reader = PdfReader(io.BytesIO(printed[NAMES[1]]))
    text = "\n".join(page.extract_text() for page in reader.pages)
    assert len(reader.pages) >= 6 and "Quiz" in text and "What you should see" in text
    assert "importlib.util" not in text  # the set-up is not printed
    assert sum(len(page.images) for page in reader.pages) >= 5


def test_students_get_it_without_answers_and_solutions(site, printed):
    (hidden,) = pdf.pages(site, [NAMES[1]], student=True)
    whole, blank = (
        "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(part)).pages)
        for part in (printed[NAMES[1]], hidden)
    )
    for answer in ("END SOLUTION", "It returns the nearest training image"):
        assert answer in whole and answer not in blank
    assert "write this" in blank and "Your answer" in blank and blank.count("Hint") == whole.count("Hint")


def test_the_parts_are_bound_in_order_with_an_outline(printed):
    reader = PdfReader(io.BytesIO(pdf.bound(printed)))
    one = len(PdfReader(io.BytesIO(printed[NAMES[1]])).pages)
    items: list[Any] = reader.outline
    assert [item.title for item in items] == NAMES[1:3]
    assert [reader.get_destination_page_number(item) for item in items] == [0, one]


def test_without_a_browser_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="no Chromium found; needs one to print"):
        pdf.chromium()
