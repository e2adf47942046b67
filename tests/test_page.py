"""The page: valid structure, everything inside, nothing of the user's taken for markup."""

from html.parser import HTMLParser

import numpy as np
import pytest

from diffgauss import files
from diffgauss.notebook import plots
from diffgauss.tour import page
from diffgauss.tour.page import Picture, Section, Table

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags with attributes in order, texts by tag, the cells of each table, and faults of nesting."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))
        if "table" in self.open and {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data


def faults(text: str) -> list[str]:
    """What a reader on a phone, a screen reader or one without a network would miss."""
    page, found = Page(text), []
    names = [tag for tag, _ in page.tags]
    if dict(page.tags).get("html", {}).get("lang") != "en":
        found.append("lang")
    if names.count("h1") != 1 or names.count("title") != 1 or names.count("main") != 1:
        found.append("title")
    if not any(a.get("name") == "viewport" for _, a in page.tags):
        found.append("viewport")
    found += ["alt" for tag, a in page.tags if tag == "img" and len(a.get("alt", "")) < 20]
    found += [
        "outside" for _, a in page.tags for v in (a.get("src", ""), a.get("href", "")) if "//" in v.split(",")[0]
    ]
    if "http" in text or "<script" in text or "@import" in text:
        found.append("outside")
    if names.count("caption") != names.count("table"):
        found.append("caption")
    ids = [a["id"] for _, a in page.tags if "id" in a]
    found += ["link" for tag, a in page.tags if tag == "a" and a["href"].removeprefix("#") not in ids]
    return found


def example() -> str:
    fig, ax = plots.figure()
    plots.curves([1, 2], {"D_G": [1, 2]}, ax=ax)
    parts = (
        "a < b & D_G",
        ("one", "two"),
        Picture(fig, 'A line that rises from 1 to 2, "quoted".', "It rises."),
        Table("Numbers", ("name", "value"), [("<b>", "1")]),
    )
    return page.render("A page of <i>mine</i>", [Section("First", "short", parts), Section("Second", "", ())])


def test_the_page_is_whole_and_escapes_what_is_written():
    text = example()
    assert faults(text) == []
    page = Page(text)
    assert page.tables == [[["name", "value"], ["<b>", "1"]]]
    assert ("h1", "A page of <i>mine</i>") in page.texts and ("p", "a < b & ") in page.texts
    assert "<var>D<sub>G</sub></var>" in text


@pytest.mark.parametrize(
    "good, bad, fault",
    [
        (' lang="en"', "", "lang"),
        ("<h1>", "<h1>x</h1><h1>", "title"),
        ('alt="A line', 'alt="" title="A line', "alt"),
        ("data:image/png;base64,", "https://example.org/a.png,", "outside"),
        ("<caption>Numbers</caption>", "", "caption"),
        ('href="#s1"', 'href="#s7"', "link"),
    ],
)
def test_faults_are_found(good, bad, fault):
    assert good in example() and fault in faults(example().replace(good, bad))


def test_pictures_need_alt_and_tables_a_caption():
    fig, _ = plots.figure()
    with pytest.raises(ValueError, match="empty alt text"):
        page.render("x", [Section("s", "", [Picture(fig, " ", "see")])])
    with pytest.raises(ValueError, match="empty caption"):
        page.render("x", [Section("s", "", [Table("", ("a",), [("b",)])])])


def test_write_leaves_the_old_page_or_the_new_one(tmp_path):
    path = tmp_path / "deep" / "report.html"
    files.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    files.write(path, "new σ")
    assert path.read_text(encoding="utf-8") == "new σ" and [p.name for p in path.parent.iterdir()] == [
        "report.html"
    ]


def test_levels_are_on_a_logarithmic_axis():
    picture = page.over_levels(np.array([80.0, 1.0]), {"D_M": np.array([1.0, 2.0])}, "error", "alt", "see")
    (ax,) = picture.figure.axes
    assert ax.get_xscale() == "log" and ax.lines[0].get_color() == plots.COLORS["D_M"]
