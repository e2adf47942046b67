"""Decks for the projector: one for each notebook, and the lecture of 90 minutes.

python tools/decks.py [--student] [--out build/slides]     --student: without answers and solutions

What is on a slide is decided in slides.py, how it looks in site/deck.html.
The lecture takes the sections that its plan in teaching/README.md names.
"""

import argparse
import html
import re
import shutil
import sys
from pathlib import Path
from string import Template

import nbformat
from slides import Slide, picture, slides, text
from student import blanked
from web import ROOT, package


def page(title: str, deck: list[Slide]) -> str:
    sections = "\n".join(f'<section>{s.body}<aside class="notes">{text(s.notes)}</aside></section>' for s in deck)
    template = Template((ROOT / "site" / "deck.html").read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), sections=sections)


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
            found.append(picture("## The puzzle", [(Path(path).name, alt)], ""))
        for k, begin, one, last in re.findall(r"notebook (\d+), (?:(from) )?sections? (\d)(?:–(\d))?", where):
            end = 99 if begin else int(last or one)
            found += [s for s in decks[int(k)] if s.section and int(one) <= s.section <= end]
        if "RESULTS.md" in where:
            results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
            failed = re.findall(r"(?m)^- .*", results.split("## What does not hold")[1].split("\n## ")[0])
            for k in range(0, len(failed), 5):
                some = ["## What does not hold, or only in part", "", *failed[k : k + 5]]
                found.append(Slide(text("\n".join(some))))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "slides", help="folder for the decks")
    parser.add_argument("--student", action="store_true", help="without answers and solutions")
    options = parser.parse_args()
    out = options.out
    reveal, mathjax = package("reveal.js"), package("mathjax")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(reveal / "dist", out / "reveal", ignore=shutil.ignore_patterns("*.map", "*.esm.js", "theme"))
    for file in (reveal / "plugin/notes/notes.js", mathjax / "es5/tex-svg-full.js", ROOT / "docs/readme.png"):
        shutil.copy(file, out)
    decks = {}  # file name: title and slides
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook = blanked(notebook) if options.student else notebook
        decks[path.stem] = notebook.cells[0].source.split("\n")[0].lstrip("# "), slides(notebook)
    parts = {int(stem[:2]): deck for stem, (_, deck) in decks.items()}
    decks = {"lecture": ("A lecture of 90 minutes", lecture(parts))} | decks
    links = [f"* [{title}]({stem}.html), {len(deck)} slides" for stem, (title, deck) in decks.items()]
    decks["index"] = "diffgauss: slides", [Slide(text("\n".join(["## diffgauss: slides", "", *links])))]
    for stem, (title, deck) in decks.items():
        (out / f"{stem}.html").write_text(page(title, deck), encoding="utf-8")
        print(f"{stem:<28}{len(deck):>3} slides")
    print(out / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
