"""One list of claims: the page shows it word by word, and a cell of a table can hold each of its words."""

import claims
import pytest

from diffgauss.notebook import lesson

PAGE = claims.PAGE.read_text(encoding="utf-8")


def test_the_tables_of_the_page_are_those_of_the_list():
    assert claims.written(PAGE) == PAGE, "needs `make claims`"


@pytest.mark.parametrize(
    "was, planted", [("≥ 99 %", "≥ 90 %"), ("| C9c |", "| C9d |"), ("one of the two |", "– |")]
)
def test_a_criterion_that_differs_on_the_page_is_caught(was, planted):
    page = PAGE.replace(was, planted, 1)
    assert page != PAGE and claims.written(page) == PAGE


def test_a_section_without_its_place_on_the_page_is_refused():
    with pytest.raises(ValueError, match="got tables for .*; claims.toml needs .*Beyond the Gaussian"):
        claims.written(PAGE.replace("<!-- claims: Beyond the Gaussian -->", ""))


def test_every_claim_of_the_list_is_in_one_row_of_the_page():
    for name, entry in lesson.listed().items():
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
        assert row == f"| {name} | {entry.claim} | {entry.criterion} | {entry.partly or '–'} |"
        assert f"\n## {entry.section}\n" in PAGE or entry.section == "The paper"


@pytest.mark.parametrize("entry", lesson.listed().values(), ids=lambda entry: entry.id)
def test_the_words_fit_into_a_table(entry):
    words = entry.id, entry.section, entry.claim, entry.paper, entry.criterion
    assert all(word.strip() == word != "" and "|" not in word and "\n" not in word for word in words)
    assert "|" not in entry.partly and entry.partly != "–"


def test_what_is_not_yet_judged_waits_for_networks_of_one_kind_of_image():
    assert {c.id for c in lesson.listed().values() if not c.judged} <= {"C9bs", "F3w"}
