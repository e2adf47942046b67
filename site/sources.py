"""What the pages have beyond the files that they are made of: contents, reference, alt texts, answers that fold."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def numbered(path: Path) -> str:
    """A notebook's entry in the table of contents: its title after its number."""
    title = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]).split("\n")[0].lstrip("# ")
    return f"{int(path.name[:2])}. {title} <notebooks/{path.stem}>"


CONTENTS = {
    "Notebooks": [numbered(path) for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))],
    "Findings": ["RESULTS", "docs/claims", "benchmarks/README", "docs/presets", "docs/screened"],
    "Teaching": ["teaching/README"],
    "Use": ["docs/install", "docs/own_images", "docs/devices", "docs/toolkits"],
    "Reference": ["docs/glossary", "docs/jax", "site/api", "data/README", "data/zoo/README"],
    "Project": ["CONTRIBUTING", "CHANGELOG", "SECURITY", "docs/attacks"],
}


def contents() -> str:
    """The table of contents, which the home page gets below its text."""
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
        for caption, pages in CONTENTS.items()
    )


def modules() -> str:
    """A section for each floor of the import contract in pyproject.toml, with the docstrings of its modules."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (floors,) = [c["layers"] for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    text = ""
    for floor in floors:
        rooms = floor.split(" | ")
        text += f"\n## {', '.join(rooms)}\n"
        for room in rooms:
            folder = ROOT / "src" / "diffgauss" / room
            for module in [f"{room}.{p.stem}" for p in sorted(folder.glob("[!_]*.py"))] or [room]:
                members = "" if module == "cli" else "\n   :members:"  # its signatures are full of typer's objects
                directive = f".. automodule:: diffgauss.{module}{members}"
                text += f"\n### {module}\n\n```{{eval-rst}}\n{directive}\n```\n"
    return text


def unfold(text: str) -> str:
    """Blank lines around the content of a folded answer, without which it would be HTML, its formulas bare TeX."""
    folded = re.compile(r"^<details><summary>(.*?)</summary>(.*?)</details>", re.MULTILINE | re.DOTALL)
    return folded.sub(r"<details><summary>\1</summary>\n\n\2\n\n</details>\n\n", text)


def notebook(text: str) -> str:
    """The notebook as MyST-NB needs it: alt texts in the cell, and answers unfolded."""
    content = json.loads(text)
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = unfold("".join(cell["source"]))
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.diffgauss.claims+json", None)  # for RESULTS.md
            about = output.get("metadata", {}).get("image/png", {})
            if alt := about.get("alt"):  # a picture has twice as many pixels as its width says
                width = {"width": f"{about['width']}px"} if "width" in about else {}
                cell["metadata"]["mystnb"] = {"image": {"alt": alt} | width}
    return json.dumps(content)


def prepare(app, docname: str, source: list[str]) -> None:
    """What the pages have beyond the files."""
    if docname == "README":
        source[0] += contents()
    elif docname == "site/api":
        source[0] += modules()
    elif docname.startswith("notebooks/"):
        source[0] = notebook(source[0])


def setup(app) -> None:
    app.connect("source-read", prepare)
