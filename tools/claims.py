"""Write the tables of docs/claims.md from the list of claims, src/diffgauss/notebook/claims.toml.

python tools/claims.py

A table stands between <!-- claims: SECTION --> and <!-- /claims -->; the prose around it is written by hand.
"""

import re
from pathlib import Path

from diffgauss import files
from diffgauss.notebook import lesson

PAGE = Path(__file__).resolve().parents[1] / "docs" / "claims.md"
MARKED = re.compile(r"(<!-- claims: (.+?) -->\n).*?(<!-- /claims -->)", re.DOTALL)


def table(section: str) -> str:
    """The claims of a section."""
    rows = [("id", "claim", "holds when", "partly when"), ("---",) * 4]
    rows += [
        (c.id, c.claim, c.criterion, c.partly or "–") for c in lesson.listed().values() if c.section == section
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def written(page: str) -> str:
    """The page with its tables as the list has them. Raises ValueError where the sections of the two differ."""
    marked = [name for _, name, _ in MARKED.findall(page)]
    sections = list(dict.fromkeys(c.section for c in lesson.listed().values()))
    if marked != sections:
        raise ValueError(f"{PAGE.name}: got tables for {marked}; claims.toml needs {sections}")
    return MARKED.sub(lambda found: f"{found[1]}\n{table(found[2])}\n{found[3]}", page)


if __name__ == "__main__":
    files.write(PAGE, written(PAGE.read_text(encoding="utf-8")))
    print(f"{PAGE.name}: {len(lesson.listed())} claims")
