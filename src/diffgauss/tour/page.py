"""One self-contained HTML page: text, figures as PNG with alt text, tables with captions; no script, no network."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import ArrayLike

from diffgauss.notebook import plots

_MADE = '<meta name="generator" content="diffgauss tour">'
_PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Table:
    """caption: what it holds; head: a label a column; rows: the first cell of each is its label."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """figure, alt: what it shows, for those who cannot see it; see: what to look for, printed below it."""

    figure: plots.Figure
    alt: str
    see: str


@dataclass(frozen=True)
class Section:
    """title; short: its finding in a sentence; parts in their order: a string is a paragraph, a tuple a list."""

    title: str
    short: str
    parts: Sequence[str | tuple[str, ...] | Picture | Table]


def is_report(path: Path) -> bool:
    """Whether the file is a page that ``render`` made."""
    with open(path, "rb") as file:
        return _MADE.encode() in file.read(1000)


def render(title: str, sections: Sequence[Section]) -> str:
    """The whole page. D_θ, D_L, D_G and D_M are set with an index; everything else is shown as it is written.

    Raises ValueError for a picture without alt text or a table without a caption.
    """
    contents = [f'<li><a href="#s{i}">{_text(s.title)}</a></li>' for i, s in enumerate(sections)]
    body = []
    for i, section in enumerate(sections):
        parts = "\n".join(_part(part) for part in section.parts)
        body.append(
            f'<section aria-labelledby="s{i}">\n<h2 id="s{i}">{_text(section.title)}</h2>\n{parts}\n</section>'
        )
    return _PAGE.substitute(title=html.escape(title), contents="\n".join(contents), body="\n".join(body))


def over_levels(sigmas: ArrayLike, lines: Mapping[str, np.ndarray], ylabel: str, alt: str, see: str) -> Picture:
    """One curve for each entry of lines over the noise levels, whose axis is logarithmic."""
    fig, ax = plots.figure(size=(5.0, 3.4))
    named = {re.sub(r"^(D_[θLGM])", r"$\1$", label): line for label, line in lines.items()}
    plots.curves(sigmas, named, ax=ax, marker="o", markersize=4)
    for line in ax.lines:  # so that lines on top of one another show
        line.set_linestyle({"$D_G$": "--", "$D_M$": ":"}.get(str(line.get_label()), "-"))
    ax.legend(handlelength=3)
    ax.set(xscale="log", xlabel="noise level σ", ylabel=ylabel)
    return Picture(fig, alt, see)


def _part(part: str | tuple[str, ...] | Picture | Table) -> str:
    if isinstance(part, str):
        return f"<p>{_text(part)}</p>"
    if isinstance(part, Picture):
        if not part.alt.strip():
            raise ValueError("got a picture with an empty alt text; needs a sentence that says what it shows")
        data = base64.b64encode(plots.png(part.figure)).decode()
        picture = f'<img alt="{html.escape(part.alt)}" src="data:image/png;base64,{data}">'
        return f"<figure>\n{picture}\n<figcaption>{_text(part.see)}</figcaption>\n</figure>"
    if isinstance(part, Table):
        if not part.caption.strip():
            raise ValueError("got a table with an empty caption; needs a sentence that says what it holds")
        head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in part.head)
        rows = "\n".join(
            f'<tr><th scope="row">{_text(row[0])}</th>'
            + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in part.rows
        )
        table = f"<table>\n<caption>{_text(part.caption)}</caption>\n<tr>{head}</tr>\n{rows}\n</table>"
        return f'<div class="wide" tabindex="0" role="group" aria-label="Table">\n{table}\n</div>'
    return "<ul>\n" + "\n".join(f"<li>{_text(item)}</li>" for item in part) + "\n</ul>"


def _text(plain: str) -> str:
    return re.sub(r"D_([θLGM])", r"<var>D<sub>\1</sub></var>", html.escape(plain))
