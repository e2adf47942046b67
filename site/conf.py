"""Sphinx's configuration. Its source folder is the repository: links between files are links between pages."""

import shutil
import sys
import tomllib
from pathlib import Path

import flax.nnx  # noqa: F401  # before jit is replaced
import jax

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "site"), str(ROOT / "tools")]
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
# benchmarks/RESULTS.md is a table without a title.
exclude_patterns = [".*", "build", "runs", "src", "tests", "tools", "benchmarks/RESULTS.md"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sources", "docstrings"]

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
_repository = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["diffgauss"][
    "repository"
]
html_context = {"default_mode": "auto"}  # light or dark as the reader's system says
html_sidebars = {"**": ["navbar-logo.html", "search-field.html", "sbt-sidebar-nav.html"]}  # a field, not a button
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # its search button says to a screen reader less than it shows
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_repository_button": bool(_repository),
    "repository_url": f"https://github.com/{_repository}" if _repository else "",
    "launch_buttons": {  # the theme makes them from the address, and none without it
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
    }
    if _repository
    else {},
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def home(app, error) -> None:
    """The home page under the name that servers look for."""
    if not error:
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def named_by_its_text(app, page, template, context, doctree) -> None:
    """The button that unfolds a cell is called what it shows: its label says something else to a screen reader."""
    if "body" in context:
        context["body"] = context["body"].replace(' aria-label="Toggle hidden content"', "")


def setup(app) -> None:
    app.connect("build-finished", home)
    app.connect("html-page-context", named_by_its_text)
