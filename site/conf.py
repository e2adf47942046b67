"""Sphinx's configuration. Its source folder is the repository: links between files are links between pages."""

import ast
import inspect
import json
import re
import shutil
import sys
import textwrap
import tomllib
from pathlib import Path

import flax.nnx  # noqa: F401  # before jit is replaced
import jax

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import web  # noqa: E402

jax.jit = lambda f=None, **_: f or (lambda g: g)  # a compiled function hides its signature from autodoc

project = "diffgauss"
author = "The diffgauss authors"
copyright = f"{author}, MIT licence"
language = "en"

root_doc = "README"
include_patterns = [
    "*.md", "notebooks/[0-9]*.ipynb", "docs/*.md", "teaching/*.md", "benchmarks/*.md", "data/**.md", "site/*.md",
]  # fmt: skip
exclude_patterns = [
    ".*",
    "build",
    "runs",
    "src",
    "tests",
    "tools",
    "benchmarks/RESULTS.md",
]  # a table without a title
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]

nb_execution_mode = "off"  # outputs are those of the files
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
mathjax_path = "tex-svg-full.js"
mathjax3_config = {"svg": {"scale": 0.9}}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"special-members": "__call__"}
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = "diffgauss"
html_static_path = ["static", str(web.package("mathjax") / "es5" / "tex-svg-full.js")]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sourcelink = False
_repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["diffgauss"]["repository"]
html_context = {"default_mode": "auto"}  # light or dark as the reader's system says
html_sidebars = {"**": ["navbar-logo.html", "search-field.html", "sbt-sidebar-nav.html"]}  # a field, not a button
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # its search button says to a screen reader less than it shows
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_repository_button": bool(_repository),
    "repository_url": f"https://github.com/{_repository}" if _repository else "",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def numbered(path: Path) -> str:
    """A notebook's entry in the table of contents: its title after its number."""
    title = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]).split("\n")[0].lstrip("# ")
    return f"{int(path.name[:2])}. {title} <notebooks/{path.stem}>"


CONTENTS = {
    "Notebooks": [numbered(path) for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))],
    "Findings": ["RESULTS", "docs/claims", "benchmarks/README", "benchmarks/PRESETS"],
    "Teaching": ["teaching/README"],
    "Reference": ["site/api", "data/README", "data/zoo/README", "CONTRIBUTING"],
}


def contents() -> str:
    """The table of contents, which the home page gets below its text."""
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
        for caption, pages in CONTENTS.items()
    )


def modules() -> str:
    """A section for each layer, from the table in CONTRIBUTING.md, with the docstrings of its public modules."""
    text = ""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for layer, row in re.findall(r"(?m)^\| (\d) \| (.*) \|$", table):
        text += f"\n## Layer {layer}\n"
        for name in re.findall(r"`(\w+)/?`", row):
            folder = ROOT / "src" / "diffgauss" / name
            names = [f"{name}.{p.stem}" for p in sorted(folder.glob("[!_]*.py"))] if folder.is_dir() else [name]
            for module in names:
                if not module.startswith("_") or module == "_core":
                    members = (
                        "" if module == "cli" else "\n   :members:"
                    )  # its signatures are full of typer's objects
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
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
    return json.dumps(content)


def prepare(app, docname: str, source: list[str]) -> None:
    """What the pages have beyond the files."""
    if docname == "README":
        source[0] += contents()
    elif docname == "site/api":
        source[0] += modules()
    elif docname.startswith("notebooks/"):
        source[0] = notebook(source[0])


def plain(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are text with `code` and bullets; nothing else in them is markup."""
    markup = re.compile(r"``(.+?)``|`([^`]+)`|^( *\* )|([\\*|_`])")
    for i, line in enumerate(lines):
        lines[i] = markup.sub(lambda m: m[3] or (f"\\{m[4]}" if m[4] else f"``{m[1] or m[2]}``"), line)


def written(app, what, name, obj, options, signature, returns) -> tuple[str, str | None] | None:
    """A signature as the source has it, with the names of types in place of what they stand for."""
    if what in ("function", "method"):
        node = ast.parse(textwrap.dedent(inspect.getsource(obj))).body[0]
        if isinstance(node, ast.FunctionDef):
            node.args.args = [a for a in node.args.args if a.arg not in ("self", "cls")]
            return f"({ast.unparse(node.args)})", ast.unparse(node.returns).strip("'") if node.returns else None


def skip(app, what, name, obj, skipped, options) -> bool | None:
    """Leave out the fields of named tuples, whose only docstring is Python's."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def home(app, error) -> None:
    """The home page under the name that servers look for."""
    if not error:
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app) -> None:
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-process-signature", written)
    app.connect("autodoc-skip-member", skip)
    app.connect("build-finished", home)
