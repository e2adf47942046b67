"""RESULTS.md says what the executed notebooks computed, and what does not hold comes first."""

import json
import re

import nbformat
import pytest
import results
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from diffgauss import lesson

PAGE = results.ROOT / "RESULTS.md"


def claim(name, verdict, why=""):
    return lesson.Claim(name, f"claim {name}", "–", "0.5 ± 0.1", "≥ .4", verdict, verdict, "small", why)._asdict()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two small executed notebooks with all claims of a list of three and the figures F1 and F2."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "claims.md").write_text(
        "| id | x | y | z |\n| C1 | a | ≥ 1 | – |\n| C2 | b | ≥ 2 | ≥ 1 |\n| C9a | c | ≥ 3 | – |\n"
    )
    (tmp_path / "data" / "zoo").mkdir(parents=True)
    colour = [claim("C1 colour", "partly", "they are few"), claim("C2 colour", "holds")]
    (tmp_path / "data" / "zoo" / "cifar10.json").write_text(
        json.dumps({"claims": colour, "caution": "Mind the gap."})
    )
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "FIGURES", ["F1", "F2"])

    def executed(name, claims, paper):
        figure = new_output("display_data", {"image/png": ""}, metadata={"image/png": {"alt": "a", "paper": paper}})
        ledger = new_output("display_data", {results.CLAIMS: claims})
        cells = [new_markdown_cell("## 1. A section"), new_code_cell(outputs=[figure, ledger])]
        nbformat.write(new_notebook(cells=cells), tmp_path / name)

    executed("01_first.ipynb", [claim("C9a", "holds"), claim("C1", "holds")], "F1 F2")
    executed("02_second.ipynb", [claim("C2", "fails", "the data are small"), *colour], "F2")
    return tmp_path


def test_every_claim_and_figure_is_in_the_page_and_shortfalls_come_first(folder):
    text = results.render(folder)
    assert text.index("not shown") < text.index("C2 fails** (claim C2): the data are small.") < text.index("| C1 |")
    assert "The other 2 of 3 claims hold." in text
    assert re.findall(r"(?m)^\| (C[\w ]+) \|", text) == ["C1", "C2", "C9a", "C1 colour", "C2 colour"]
    assert "| **holds** | partly |" in text and "| **fails** | holds |" in text and "| **holds** | – |" in text
    assert "- **C1 colour partly**: they are few." in text  # once, and not among the grey ones
    assert text.index("Mind the gap.") < text.index("C1 colour partly")
    assert "| ≥ 2; partly: ≥ 1 |" in text  # the criterion is that of docs/claims.md
    assert "| F1 | [01](notebooks/01_first.ipynb): 1. A section |" in text
    assert "| F2 | [01](notebooks/01_first.ipynb): 1. A section; [02](" in text


@pytest.mark.parametrize("lost, message", [("01_first.ipynb", "C1, C9a, F1"), ("02_second.ipynb", "C2")])
def test_a_claim_or_figure_without_a_counterpart_is_refused(folder, lost, message):
    (folder / lost).unlink()
    with pytest.raises(ValueError, match=f"no notebook has {message}; needs every claim and figure"):
        results.render(folder)


def test_the_committed_page_is_what_the_notebooks_say():
    assert PAGE.read_text(encoding="utf-8") == results.render(results.ROOT / "notebooks"), "needs `make results`"
