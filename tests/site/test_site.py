"""The site as a file, as a page in a browser without network, on a phone, and for those who cannot see it."""

import ast
import json
import re
from pathlib import Path

import pages
import pytest
import web
from bs4 import BeautifulSoup
from fixtures import (
    site as site,  # a second conftest.py would hide the first
    visit as visit,
)
from lab import browser as browser
from nbconvert import HTMLExporter
from pages import ROOT, SHOTS
from playwright.sync_api import ViewportSize

pytestmark = pytest.mark.slow
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
OTHERS = ["index", "RESULTS", "CONTRIBUTING", "docs/claims", "teaching/README", "benchmarks/README", "site/api"]
PAGES = [*OTHERS, *(f"notebooks/{name}" for name in NOTEBOOKS)]
WORST = ("serious", "critical")
PHONE: ViewportSize = {"width": 390, "height": 844}
AXE = "axe.run({resultTypes: ['violations']}).then(r => r.violations)"


def violations(page) -> list[str]:
    """What axe-core calls serious or critical."""
    page.add_script_tag(path=web.package("axe-core") / "axe.min.js")
    return [
        f"{v['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for v in page.evaluate(AXE)
        if v["impact"] in WORST
        for node in v["nodes"]
    ]


def phone(page) -> tuple[bool, list[str]]:
    """Whether the page is no wider than the screen, and its text below 14 pixels."""
    small: list[str] = page.evaluate("""() => {
        const article = document.querySelector("article"), small = [];
        const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
        for (let node; (node = walker.nextNode()); ) {
            const parent = node.parentElement, seen = parent.getClientRects().length;
            if (node.data.trim() && seen && !parent.closest("mjx-container, script, style")
                && parseFloat(getComputedStyle(parent).fontSize) < 14) small.push(node.data.trim().slice(0, 60));
        }
        return small;
    }""")
    return page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"], small


def test_no_missing_alt_no_dead_link_nothing_from_elsewhere(site):
    assert all((site / f"{name}.html").exists() for name in PAGES)
    assert not pages.faults(site)


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("", None),
        ('<img src="a.png">', "no alt text"),
        ('<img src="a.png" alt=" ">', "no alt text"),
        ('<img src="b.png" alt="b">', "not there"),
        ("<p>git clone OWNER/REPO</p>", "placeholder: OWNER/REPO"),
        ("<p>The address is TODO.</p>", "placeholder: TODO"),
        ('<a href="gone.html">x</a>', "dead link: gone.html"),
        ('<a href="two.html#gone">x</a>', "dead link: two.html#gone"),
        ('<script src="https://cdn.example/x.js"></script>', "elsewhere: https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "elsewhere: //cdn.example/x.css"),
        ('<link rel="stylesheet" href="a.css">', "elsewhere: https://cdn.example/font.woff"),
    ],
)
def test_planted_faults_are_found(planted, found, tmp_path):
    sound = '<a href="two.html#here">t</a> <a href="https://example.org">e</a> <img src="a.png" alt="a">'
    (tmp_path / "one.html").write_text(sound + planted, encoding="utf-8")
    (tmp_path / "two.html").write_text('<h1 id="here">two</h1>', encoding="utf-8")
    (tmp_path / "a.png").touch()
    if "a.css" in planted:
        (tmp_path / "a.css").write_text("@font-face {src: url('https://cdn.example/font.woff')}", encoding="utf-8")
    faults = pages.faults(tmp_path)
    assert len(faults) == 1 and found in faults[0] if found else not faults


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_figures_have_the_alt_text_of_the_notebook(name, site):
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    soup = BeautifulSoup((site / "notebooks" / f"{name}.html").read_bytes(), "html.parser")
    want = []
    for output in (o for cell in cells for o in cell.get("outputs", [])):
        if page := "".join(output.get("data", {}).get("text/html", [])):  # sliders and animations
            want += [image["alt"] for image in BeautifulSoup(page, "html.parser").select("img")]
        elif "image/png" in output.get("data", {}):
            want.append(output["metadata"]["image/png"]["alt"])
    shown = [image["alt"] for image in soup.select(".cell_output img")]
    assert shown == [" ".join(alt.split()) for alt in want] and all(shown)


def test_reference_has_every_public_name(site):
    soup = BeautifulSoup((site / "site" / "api.html").read_bytes(), "html.parser")
    shown = {str(tag["id"]) for tag in soup.find_all("dt", id=True)}
    init = (ROOT / "src" / "diffgauss" / "__init__.py").read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(init)) if isinstance(node, ast.ImportFrom)]
    names = {f"{i.module}.{a.name}" for i in imports if "diffgauss." in str(i.module) for a in i.names}
    files = {".".join(p.relative_to(ROOT / "src").with_suffix("").parts) for p in (ROOT / "src").rglob("*.py")}
    modules = names & files
    assert modules <= {str(tag["id"]).removeprefix("module-") for tag in soup.find_all(id=re.compile("^module-"))}
    names -= modules
    assert len(names) > 30 and names <= shown
    assert "sigma" in soup.find("dt", id="diffgauss.ode.heun").text  # type: ignore[union-attr]


@pytest.mark.parametrize("name", PAGES)
def test_page(name, site, visit):
    """Mathematics is set, axe-core finds nothing serious; a phone does not scroll sideways, no text is small."""
    page = visit(site, f"{name}.html")
    if name.startswith("notebooks/"):
        assert page.locator("mjx-container").count() > 10
        page.screenshot(path=SHOTS / f"{Path(name).name}.png")
    assert not page.locator("mjx-merror, [data-mjx-error]").count()
    assert "$$" not in page.locator("article").inner_text()
    assert not violations(page)
    page.set_viewport_size(PHONE)
    page.screenshot(path=SHOTS / f"{name.replace('/', '-')}-phone.png")
    assert phone(page) == (True, [])


@pytest.mark.parametrize("name", ["index", "site/api", f"notebooks/{NOTEBOOKS[1]}"])
def test_dark(name, site, visit):
    page = visit(site, f"{name}.html", dark=True)
    page.screenshot(path=SHOTS / f"{Path(name).name}-dark.png")
    assert not violations(page)


def test_axe_finds_a_planted_fault(site, visit):
    page = visit(site, "RESULTS.html")
    page.evaluate("""document.querySelector("article").insertAdjacentHTML("afterbegin",
        '<img src="../_static/plus.png"><p style="color: #ccc; background: #fff">pale</p>')""")
    found = "".join(violations(page))
    assert "image-alt" in found and "color-contrast" in found


def test_what_is_too_wide_or_too_small_for_a_phone_is_found(site, visit):
    page = visit(site, "RESULTS.html")
    page.set_viewport_size(PHONE)
    page.evaluate("""document.querySelector("article").insertAdjacentHTML("beforeend",
        '<p style="width: 500px; font-size: 9px">planted</p>')""")
    assert phone(page) == (False, ["planted"])


def test_folded_answer_opens(site, visit):
    page = visit(site, f"notebooks/{NOTEBOOKS[1]}.html")
    answer = page.locator("details", has=page.locator("summary", has_text="Answer")).first
    inside = answer.locator("p").first
    assert not inside.is_visible()
    answer.locator("summary").click()
    assert inside.is_visible()
    written = page.locator("details:not(.hide)")  # the others are folded code
    assert written.count() >= 3 and "$" not in written.evaluate_all("all => all.map(e => e.textContent).join()")


@pytest.fixture(params=["site", "exported"])
def sliders(request, site, tmp_path, visit):
    """The page of notebook 2, as the site has it and as nbconvert writes it, without a kernel."""
    if request.param == "site":
        return visit(site, f"notebooks/{NOTEBOOKS[1]}.html")
    body, _ = HTMLExporter(mathjax_url="").from_filename(str(ROOT / "notebooks" / f"{NOTEBOOKS[1]}.ipynb"))
    (tmp_path / "page.html").write_text(re.sub(r"<script src=.*?</script>", "", body), encoding="utf-8")
    return visit(tmp_path, "page.html")


def test_sliders_play_without_a_kernel(sliders):
    player = sliders.locator(".diffgauss-player").first
    picture, slider = player.locator("img"), player.locator("input").first
    seen, sources = [], []
    for key in ("Home", "ArrowRight", "End"):
        slider.focus()
        sliders.keyboard.press(key)
        seen.append(player.locator("output").first.inner_text())
        sources.append(picture.get_attribute("src"))
        assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") > 400
        assert slider.get_attribute("aria-valuetext") == seen[-1]
    assert len(set(seen)) == len(set(sources)) == 3
    player.screenshot(path=SHOTS / "player.png")


def test_search_finds_a_term(site, visit):
    page = visit(site, "search.html?q=memorize")
    page.locator("#search-results li a").first.wait_for()
    assert "notebooks/" in "".join(page.locator("#search-results li a").evaluate_all("all => all.map(e => e.href)"))


def test_previous_and_next(site, visit):
    page = visit(site, f"notebooks/{NOTEBOOKS[0]}.html")
    page.locator("a.right-next").click()
    page.wait_for_url(f"**/{NOTEBOOKS[1]}.html")
    page.locator("a.left-prev").click()
    page.wait_for_url(f"**/{NOTEBOOKS[0]}.html")


def test_keyboard_reaches_the_navigation_and_its_focus_is_seen(site, visit):
    page = visit(site, "index.html")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('nav a[href*=notebooks]') !== null"):
            break
    assert page.evaluate("document.activeElement.closest('nav') !== null")
    ring = "e => [getComputedStyle(e).boxShadow, getComputedStyle(e).outlineStyle].join()"
    other = page.locator("nav a[href*=notebooks]").last.evaluate(ring)
    assert page.locator(":focus").evaluate(ring) != other == "none,none"
    page.screenshot(path=SHOTS / "focus.png")
    page.keyboard.press("Enter")
    page.wait_for_url("**/notebooks/*.html")
