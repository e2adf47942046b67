"""The decks in a browser without network: every slide fits, keys move, mathematics is set."""

import re

import pytest
from decks import page as deck
from fixtures import (
    decks as decks,  # a second conftest.py would hide the first
    visit as visit,
)
from lab import browser as browser
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pages import ROOT, SHOTS
from slides import Slide, slides

pytestmark = pytest.mark.slow
NAMES = ["lecture", *sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))]
CUT = """() => {
    const section = document.querySelector(".slides > section.present");
    section.querySelectorAll(".fragment").forEach(e => e.classList.add("visible"));
    const parts = ":scope > *:not(aside), p, li, pre, table, figure img, mjx-container > svg";
    const out = r => r.left < 0 || r.top < 0 || r.right > innerWidth + 1 || r.bottom > innerHeight + 1;
    return [...section.querySelectorAll(parts)]
        .map(e => [e.tagName, e.textContent.slice(0, 50), e.getBoundingClientRect()])
        .filter(([, , r]) => r.width && out(r))
        .map(([tag, text, r]) => `${tag} ${text} right ${r.right} bottom ${r.bottom}`);
}"""


def cut(page, shot: str = "") -> list[str]:
    """What stands out of the window, slide by slide, with all fragments shown; moves by the right arrow key."""
    page.wait_for_function("window.Reveal?.isReady()")
    found = []
    for k in range(page.evaluate("Reveal.getTotalSlides()")):
        found += [f"slide {k + 1}: {text}" for text in page.evaluate(CUT)]
        if shot:
            page.screenshot(path=SHOTS / f"{shot}-{k + 1:02d}.png")
        page.evaluate("document.querySelectorAll('.present .fragment').forEach(e => e.classList.remove('visible'))")
        while page.evaluate("Reveal.getIndices().h") == k and not page.evaluate("Reveal.isLastSlide()"):
            page.keyboard.press("ArrowRight")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_deck(name, decks, visit):
    page = visit(decks, f"{name}.html", width=1280, height=720)
    assert not cut(page, f"slides-{name}")
    assert page.evaluate("Reveal.isLastSlide()")
    count = page.evaluate("Reveal.getTotalSlides()")
    assert 30 <= count <= 60 if name == "lecture" else 10 <= count <= 24
    assert page.locator("mjx-container").count() > 10 and not page.locator("[data-mjx-error]").count()
    assert not page.evaluate(
        "[...document.querySelectorAll('section :is(p, li, td)')].some(e => e.textContent.includes('$'))"
    )
    assert page.locator("img").evaluate_all("all => all.every(e => e.alt.length > 20 && e.naturalWidth > 100)")
    sizes = page.locator(".slides > section").evaluate_all(
        "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 18


def test_the_lecture_has_the_sections_of_its_plan(decks, visit):
    page = visit(decks, "lecture.html", width=1280, height=720)
    headings = page.locator("h2").evaluate_all("all => all.map(e => e.textContent)")
    guide = (ROOT / "teaching" / "README.md").read_text(encoding="utf-8")
    plan = re.findall(r"(?m)^\| (\d+–\d+) \|", guide.split("### One lecture of 90 minutes")[1].split("\n###")[0])
    of = [re.search(r"Minutes (\d+–\d+)", text) for text in page.locator("section").all_text_contents()]
    assert [found[1] for found in of if found] == plan and plan[-1].endswith("–90")
    assert any("The denoiser that minimises the training loss" in h for h in headings)


def test_a_slide_that_is_cut_off_is_found(decks, visit):
    tall = [Slide("<h2>fits</h2>"), Slide('<div style="height: 2000px">tall</div>')]
    (decks / "planted.html").write_text(deck("planted", tall), encoding="utf-8")
    assert ["slide 2" in text for text in cut(visit(decks, "planted.html", width=1280, height=720))] == [True]


def test_the_index_lists_all_decks(decks, visit):
    page = visit(decks, "index.html", width=1280, height=720)
    assert page.locator("li a").count() == len(NAMES)


def test_figures_of_one_text_share_a_slide_two_at_most():
    drawn = new_output("display_data", {"image/png": "aGk="}, metadata={"image/png": {"alt": "a curve"}})
    cells = [new_markdown_cell("# Title\n\nNotebook 1."), new_markdown_cell("## 1. Curves\n\nText.")]
    cells += [new_code_cell("dg.core()"), *(new_code_cell("plots.show(fig)", outputs=[drawn]) for _ in range(3))]
    cells += [
        new_markdown_cell("**What you should see.** They rise."),
        new_code_cell("plots.show(fig)", outputs=[drawn]),
    ]
    cells += [new_markdown_cell("**What you should see.** It falls.")]
    bodies = [s.body for s in slides(new_notebook(cells=cells)) if "<img" in s.body]
    assert [body.count("<img") for body in bodies] == [2, 1, 1]
    assert ["rise" in body for body in bodies] == [True, True, False] and all(
        'alt="a curve"' in body for body in bodies
    )
