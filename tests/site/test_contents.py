"""The site's table of contents, without building it."""

import ast
import json

import pytest
from pages import PLACEHOLDER, ROOT
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


def written() -> dict[str, str]:
    """The text of every page, of the home page too; of a notebook its cells, without outputs."""
    found = {}
    for file in get_matching_files(ROOT, setting("include_patterns"), setting("exclude_patterns")):
        text = (ROOT / file).read_text(encoding="utf-8")
        book = file.endswith(".ipynb")
        found[file] = "\n".join("".join(c["source"]) for c in json.loads(text)["cells"]) if book else text
    return found


def test_no_page_has_a_placeholder():
    pages = written()
    assert {"README.md", "RESULTS.md", "teaching/README.md", "docs/install.md"} <= set(pages)
    assert {file: found for file, text in pages.items() if (found := PLACEHOLDER.findall(text))} == {}


@pytest.mark.parametrize(
    "planted", ["OWNER/x", "https://github.com/someone/REPO", "YOUR-NAME/x", "<your name>", "TODO", "XXX"]
)
def test_a_placeholder_is_found(planted):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert PLACEHOLDER.search(readme.replace("make lab ", f"git clone {planted}\nmake lab "))
    assert not PLACEHOLDER.search("A name of your own, `make address REPO=owner/name`, XXXII.")
