"""What is on the slides of a notebook.

Nothing is tagged: the template of the notebooks says what goes on a slide. Title; objectives; of each section
question, answer and equations, then its figures with the first sentences of *What you should see*, two to a slide
where they share that text; the one code cell that calls the package most; claims; summary; quiz. The whole text is
in the speaker's notes (key S).
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

from nbconvert.filters import Highlight2HTML, markdown2html
from nbformat import NotebookNode

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
    heading, number, key, shown = "", None, key_cell(notebook), []
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
                figure = f"data:image/png;base64,{data['image/png']}", output.metadata["image/png"]["alt"]
                seen = next((c.source for c in cells[i:] if c.source.startswith((SEE, "## "))), "")
                beside = len(shown) == 1 and found[-1] == picture(heading, shown, seen, number)
                shown = [*shown, figure] if beside else [figure]
                found[len(found) - beside :] = [picture(heading, shown, seen, number)]
            if CLAIMS in data:
                found += ledger(data[CLAIMS])
    return found


def key_cell(notebook: NotebookNode) -> NotebookNode:
    """The code cell of a numbered section, no check and no figure, that calls the package most."""
    start = next(i for i, c in enumerate(notebook.cells) if c.source.startswith("## 1. "))
    code = [c for c in notebook.cells[start:] if c.cell_type == "code"]
    code = [c for c in code if not re.search(r"plots\.|widgets\.|dg\.lesson", c.source)]
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


def picture(heading: str, figures: list[tuple[str, str]], seen: str, number: int | None = None) -> Slide:
    """Figures, each its address and what it shows in words, side by side, and the first sentences of their text."""
    caption = seen.removeprefix(SEE).strip() if seen.startswith(SEE) else ""
    images = "".join(f'<img src="{source}" alt="{html.escape(alt)}">' for source, alt in figures)
    return Slide(text(heading) + f"<figure>{images}</figure>" + text(first(caption)), caption, number)


def ledger(claims: list[dict], at_once: int = 4) -> Iterator[Slide]:
    for k in range(0, len(claims), at_once):
        rows = [f"| {c['id']} | {c['claim']} | {c['ours']} | **{c['verdict']}** |" for c in claims[k : k + at_once]]
        table = "\n".join(["| | claim | ours | verdict |", "|---|---|---|---|", *rows])
        yield Slide(text(f"## Claims\n\n{table}"))


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
