"""The site's table of contents, without building it."""

import ast

from pages import ROOT
from sources import CONTENTS
from sphinx.util.matching import get_matching_files


def setting(name: str) -> list[str]:
    """A list in site/conf.py, which would change jax if it were imported."""
    lines = ast.parse((ROOT / "site" / "conf.py").read_text(encoding="utf-8")).body
    (value,) = [x.value for x in lines if isinstance(x, ast.Assign) and ast.unparse(x.targets[0]) == name]
    return ast.literal_eval(value)


def test_every_page_is_in_the_contents_once():
    files = get_matching_files(ROOT, setting("include_patterns"), setting("exclude_patterns"))
    pages = {file.rsplit(".", 1)[0] for file in files} - {"README"}  # the home page holds the table
    listed = [entry.split("<")[-1].rstrip(">") for entries in CONTENTS.values() for entry in entries]
    assert sorted(listed) == sorted(pages)
