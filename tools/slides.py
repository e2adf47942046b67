"""Decks for the projector: one for each notebook, and the lecture of 90 minutes.

python tools/slides.py [--out build/slides]

Nothing is tagged: the template of the notebooks says what goes on a slide. Title; objectives; of each section
question, answer and equations, then each figure with the first sentences of *What you should see*; the one code
cell that calls the package most; claims; summary; quiz. The whole text is in the speaker's notes (key S).
The lecture takes the sections that its plan in teaching/README.md names.
"""

import argparse
import html
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import NamedTuple

import nbformat
from nbconvert.filters import Highlight2HTML, markdown2html
from nbformat import NotebookNode
from web import ROOT, package

ANSWER = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
EQUATION = re.compile(r"(\$\$.*?\$\$)", re.DOTALL)
SEE = "**What you should see.**"
CLAIMS = "application/vnd.diffgauss.claims+json"


class Slide(NamedTuple):
    """HTML of one slide, the Markdown of its notes, and the number of the section that it belongs to."""

    body: str
    notes: str = ""
    section: int | None = None


def slides(notebook: NotebookNode) -> list[Slide]:
    """The deck of one notebook."""
    cells = notebook.cells
    title, _, about = cells[0].source.split("\n")[:3]
    found = [Slide(text(title) + text(about.split(" Previous:")[0]))]
    heading, number, key = "", None, key_cell(notebook)
    for i, cell in enumerate(cells):
        source = cell.source
        if source.startswith("**After this notebook you can**"):
            found.append(Slide(text("## After this notebook you can\n\n" + listed(source))))
        elif cell.cell_type == "markdown" and source.startswith("## "):
            heading = source.split("\n")[0]
            numbered = re.match(r"## (\d+)\. ", heading)
            number = int(numbered[1]) if numbered else None
            if re.search(r"\. Exercises|## (Exercises|Words)", heading):
                continue
            found += opening(source, number)
        elif cell is key:
            found.append(Slide(text(heading) + Highlight2HTML()(source), "", number))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                figure = f"data:image/png;base64,{data['image/png']}"
                seen = next((c.source for c in cells[i:] if c.source.startswith((SEE, "## "))), "")
                found.append(picture(heading, figure, output.metadata["image/png"]["alt"], seen, number))
            if CLAIMS in data:
                found += ledger(data[CLAIMS])
    return found


def key_cell(notebook: NotebookNode) -> NotebookNode:
    """The code cell of a numbered section, no check and no figure, that calls the package most."""
    start = next(i for i, c in enumerate(notebook.cells) if c.source.startswith("## 1. "))
    code = [c for c in notebook.cells[start:] if c.cell_type == "code"]
    code = [c for c in code if not re.search(r"NBVAL|plots\.|widgets\.|dg\.lesson", c.source)]
    return max(code, key=lambda c: len(re.findall(r"\bdg\.\w", c.source)))


def opening(source: str, number: int | None) -> Iterator[Slide]:
    """Question, answer and equations of a section, if it has any; the summary and its quiz."""
    heading, _, rest = source.partition("\n")
    if "## Summary" in source:
        summary, _, quiz = source[source.index("## Summary") :].partition("**Quiz.**")
        yield Slide(text("## Summary\n\n" + listed(summary)))
        answers = "\n\n".join(a for _, a in ANSWER.findall(quiz))
        yield Slide(text("## Quiz\n\n" + ANSWER.sub("", quiz.split("**References.**")[0]).strip()), answers)
        return
    question = next((p for p in rest.split("\n\n") if "**Predict" in p), "")
    answer = ANSWER.search(rest)
    theory = ANSWER.sub("", rest.replace(question, "")).strip()
    parts = EQUATION.split(theory)
    lines = [text(question)] if question else []
    lines += [fragment(f"**{answer[1]}.** {answer[2].strip()}")] if question and answer else []
    for before, equation in zip(parts[::2], parts[1::2], strict=False):
        lead = last(before.strip().split("\n\n")[-1])
        lines.append(fragment(f"{lead}\n\n{equation}"))
    if lines:
        yield Slide(text(heading) + "".join(lines), theory, number)


def picture(heading: str, source: str, alt: str, seen: str, number: int | None = None) -> Slide:
    caption = seen.removeprefix(SEE).strip() if seen.startswith(SEE) else ""
    image = f'<figure><img src="{source}" alt="{html.escape(alt)}"></figure>'
    return Slide(text(heading) + image + text(first(caption)), caption, number)


def ledger(claims: list[dict], at_once: int = 4) -> Iterator[Slide]:
    for k in range(0, len(claims), at_once):
        rows = [f"| {c['id']} | {c['claim']} | {c['ours']} | **{c['verdict']}** |" for c in claims[k : k + at_once]]
        table = "\n".join(["| | claim | ours | verdict |", "|---|---|---|---|", *rows])
        yield Slide(text(f"## Claims\n\n{table}"))


def lecture(decks: dict[int, list[Slide]]) -> list[Slide]:
    """The slides that the plan in teaching/README.md names, with a divider for each of its rows."""
    guide = (ROOT / "teaching" / "README.md").read_text(encoding="utf-8")
    plan = guide.split("### One lecture of 90 minutes")[1].split("\n###")[0]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [Slide(text(readme.split("\n\n")[0]) + text("A lecture of 90 minutes"))]
    for minutes, what, where in re.findall(r"(?m)^\| (\d+–\d+) \| (.*) \| (.*) \|$", plan):
        found.append(Slide(text(f"## {what[0].upper()}{what[1:]}\n\nMinutes {minutes}: {where}")))
        if "README figure" in where:
            ((alt, path),) = re.findall(r"!\[(.*?)\]\((.*?\.png)\)", readme)
            found.append(picture("## The puzzle", Path(path).name, alt, ""))
        for k, begin, one, last in re.findall(r"notebook (\d+), (?:(from) )?sections? (\d)(?:–(\d))?", where):
            end = 99 if begin else int(last or one)
            found += [s for s in decks[int(k)] if s.section and int(one) <= s.section <= end]
        if "RESULTS.md" in where:
            results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
            failed = re.findall(r"(?m)^- .*", results.split("## What does not hold")[1].split("\n## ")[0])
            for k in range(0, len(failed), 5):
                found.append(
                    Slide(text("## What does not hold, or only in part\n\n" + "\n".join(failed[k : k + 5])))
                )
    return found


def text(markdown: str) -> str:
    return markdown2html(markdown)


def fragment(markdown: str) -> str:
    return f'<div class="fragment">{text(markdown)}</div>'


def listed(markdown: str) -> str:
    """The numbered list of a cell."""
    return "\n".join(re.findall(r"(?m)^\d\. .*", markdown))


def sentences(paragraph: str) -> list[str]:
    return re.split(r"(?<=[.!?]) +(?=[A-Z$*(])", paragraph.replace("\n", " "))


def first(markdown: str, enough: int = 80) -> str:
    """Whole sentences from the start, until there are enough characters."""
    found: list[str] = []
    for sentence in sentences(markdown):
        if len(" ".join(found)) < enough:
            found.append(sentence)
    return " ".join(found)


def last(markdown: str, enough: int = 40) -> str:
    """Whole sentences to the end, enough of them to lead to the equation that follows."""
    found: list[str] = []
    for sentence in reversed(sentences(markdown)):
        if len(" ".join(found)) < enough:
            found.insert(0, sentence)
    return " ".join(found)


def page(title: str, deck: list[Slide]) -> str:
    sections = "\n".join(f'<section>{s.body}<aside class="notes">{text(s.notes)}</aside></section>' for s in deck)
    template = Template((ROOT / "site" / "deck.html").read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), sections=sections)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "slides", help="folder for the decks")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(
        package("reveal.js") / "dist", out / "reveal", ignore=shutil.ignore_patterns("*.map", "*.esm.js")
    )
    shutil.copytree(package("reveal.js") / "plugin" / "notes", out / "reveal" / "notes")
    for path in (package("mathjax") / "es5" / "tex-svg-full.js", ROOT / "docs" / "readme.png"):
        shutil.copy(path, out)
    decks = {}
    links = []
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        decks[int(path.name[:2])] = deck = slides(notebook)
        title = notebook.cells[0].source.split("\n")[0].lstrip("# ")
        (out / f"{path.stem}.html").write_text(page(title, deck), encoding="utf-8")
        links.append((path.stem, title, len(deck)))
    whole = lecture(decks)
    (out / "lecture.html").write_text(page("A lecture of 90 minutes", whole), encoding="utf-8")
    links.insert(0, ("lecture", "A lecture of 90 minutes", len(whole)))
    items = "".join(f'<li><a href="{stem}.html">{html.escape(t)}</a>, {n} slides' for stem, t, n in links)
    index = page("diffgauss: slides", [Slide(f"<h2>diffgauss: slides</h2><ul>{items}</ul>")])
    (out / "index.html").write_text(index, encoding="utf-8")
    for stem, _, n in links:
        print(f"{stem:<28}{n:>3} slides")
    print(f"{out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
