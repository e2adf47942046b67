"""RESULTS.md says what the executed notebooks computed, and what does not hold comes first."""

import json
import re
from functools import partial

import front
import nbformat
import one_kind
import pytest
import results
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from diffgauss.notebook import lesson

PAGE = results.ROOT / "RESULTS.md"


LIST = """
not_yet_judged = ["One kind of image"]
claim = [
  {id = "C1", section = "The paper", claim = "claim C1", paper = "0.5", criterion = "≥ 1"},
  {id = "C2", section = "The paper", claim = "claim C2", paper = "–", criterion = "≥ 2", partly = "≥ 1"},
  {id = "C9a", section = "The paper", claim = "claim C9a", paper = "–", criterion = "≥ 3"},
  {id = "C1 colour", section = "Colour", claim = "claim C1", paper = "as C1", criterion = "as C1"},
  {id = "C2 colour", section = "Colour", claim = "claim C2", paper = "as C2", criterion = "as C2"},
  {id = "C1s", section = "One kind of image", claim = "d", paper = "–", criterion = "≥ 4"},
]
"""


def claim(name, verdict, why=""):
    """A row of an old ledger: its words are not those of the list."""
    return lesson.Claim(name, "old", "old", "0.5 ± 0.1", "≥ .4", verdict, verdict, "small", why)._asdict()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two small executed notebooks with all claims of a list of three and the figures F1 and F2."""
    (tmp_path / "claims.toml").write_text(LIST, encoding="utf-8")
    monkeypatch.setattr(lesson, "listed", partial(lesson.listed, tmp_path / "claims.toml"))
    (tmp_path / "data" / "results").mkdir(parents=True)
    colour = [claim("C1 colour", "partly", "they are few"), claim("C2 colour", "holds")]
    (tmp_path / "data" / "results" / "cifar10.json").write_text(
        json.dumps({"claims": colour, "caution": "Mind the gap."}), encoding="utf-8"
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
    assert "## Not yet judged" in text and "- C1s: d\n" in text and "“One kind of image”" in text
    assert "| claim C2 | – | 0.5 ± 0.1 | ≥ 2; partly: ≥ 1 |" in text  # the words are those of the list
    assert "| C1 colour | claim C1 | as C1 | 0.5 ± 0.1 | as C1 | **partly** |" in text and "| old |" not in text
    assert "| F1 | [01](notebooks/01_first.ipynb): 1. A section |" in text
    assert "| F2 | [01](notebooks/01_first.ipynb): 1. A section; [02](" in text


@pytest.mark.parametrize("lost, message", [("01_first.ipynb", "C1, C9a, F1"), ("02_second.ipynb", "C2")])
def test_a_claim_or_figure_without_a_counterpart_is_refused(folder, lost, message):
    (folder / lost).unlink()
    with pytest.raises(ValueError, match=f"no notebook has {message}; needs every claim and figure"):
        results.render(folder)


def test_a_colour_claim_without_a_verdict_is_refused(folder):
    path = folder / "data" / "results" / "cifar10.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"claims": record["claims"][:1]}), encoding="utf-8")
    (folder / "02_second.ipynb").unlink()
    with pytest.raises(ValueError, match="no notebook has C2, C2 colour; needs"):
        results.render(folder)


def test_a_claim_that_is_not_in_the_list_is_refused(folder):
    cell = new_code_cell(outputs=[new_output("display_data", {results.CLAIMS: [claim("C77", "holds")]})])
    nbformat.write(new_notebook(cells=[cell]), folder / "03_third.ipynb")
    with pytest.raises(ValueError, match="claims.toml has no C77; needs every claim"):
        results.render(folder)


def test_a_ledger_with_other_words_than_the_list_is_found(folder):
    said = lesson.claim("C2", ours="0.5", verdict="holds", recorded="holds", scale="small")
    for row, found in [
        (said, []),
        (said._replace(criterion="≥ 1.9; partly: ≥ 1"), ["C2"]),
        (said._replace(criterion="≥ 2"), ["C2"]),
        (said._replace(paper="0.6"), ["C2"]),
        (said._replace(claim="another"), ["C2"]),
        (said._replace(ours="0.7"), []),
    ]:
        cell = new_code_cell(outputs=[new_output("display_data", {results.CLAIMS: [row._asdict()]})])
        assert results.reworded(new_notebook(cells=[cell])) == found


def test_the_committed_page_is_what_the_notebooks_say():
    assert PAGE.read_text(encoding="utf-8") == results.render(results.ROOT / "notebooks"), "needs `make results`"


def test_the_verdict_on_bias_follows_from_the_recorded_pull():
    record = json.loads((results.ROOT / "data" / "results" / "one_kind.json").read_text(encoding="utf-8"))
    assert record["bias"] == one_kind.bias(record["pull"]) and f"a bias is **{record['bias']}**" in PAGE.read_text(
        encoding="utf-8"
    )
    for s, pairs in record["pull"]["sneakers"]["pull"].items():
        assert len(pairs) == 3 and all(low < a < high for a, low, high in pairs.values()), s
    for bounds, verdict in (((0.9, 0.97), "found"), ((0.985, 1.01), "excluded"), ((0.97, 1.0), "undecided")):
        planted = {s: {str(i): [0.99, *bounds] for i in range(3)} for s in ("1.5", "0.47")}
        assert one_kind.bias({"sneakers": {"pull": planted}}) == verdict


def record():
    return json.loads((results.ROOT / "data" / "results" / "one_kind.json").read_text(encoding="utf-8"))


def test_the_pictures_of_the_first_screen_are_those_of_the_notebooks():
    for name, (picture, alt) in front.pictures(results.ROOT / "notebooks").items():
        assert (results.ROOT / "docs" / name).read_bytes() == picture, "needs `make results`"
        assert f"![{alt}](docs/{name})" in PAGE.read_text(encoding="utf-8")


def test_a_picture_that_no_notebook_drew_is_refused(folder):
    with pytest.raises(
        ValueError, match="no notebook has drawn results-1.png, results-2.png, results-3.png; needs"
    ):
        front.pictures(folder)
    with pytest.raises(ValueError, match="notebook 06 prints no check 5a; needs its outputs"):
        front.measured(folder, "06", "5a")


@pytest.mark.parametrize("bias, word", [("found", "shown"), ("excluded", "not shown"), ("undecided", "undecided")])
def test_the_headlines_follow_the_verdicts(bias, word):
    planted, rows = record() | {"bias": bias}, {"C11": ({"verdict": "fails"}, PAGE)}
    text = front.headlines(results.ROOT / "notebooks", planted, rows)
    assert f"beyond what the data ask: {word}, and small" in text and "Ten kinds of clothes: not shown." in text
    for claim in planted["claims"]:
        claim["verdict"] = "partly"
    assert "Sneakers: shown in part. X-rays: shown in part." in front.headlines(
        results.ROOT / "notebooks", planted, rows
    )


def test_a_claim_says_which_null_denoisers_meet_it_and_a_borderline_one_says_so(monkeypatch):
    found = {"C4": {"D_G": ["0", True], "mixture": ["1", True], "D_M": ["2", False]}, "C8": {"D_M": ["3", False]}}
    monkeypatch.setattr(results, "null_record", lambda: found)
    assert [results.meet(name) for name in ("C4", "C8", "C1")] == ["D_G, mixture", "none", "–"]
    assert (
        "| C4 | D_M | 2 | no |" in results.null_denoisers() and "| C8 | D_M | 3 | no |" in results.null_denoisers()
    )
    assert results.marked("B1", "holds").startswith("**holds** (borderline: 5.0 times")
    assert results.marked("C4", "partly") == "**partly**"


def test_no_reason_names_the_dimension_alone():
    page = PAGE.read_text(encoding="utf-8")
    reasons = re.findall(r"(?m)^- \*\*.*", page)
    assert reasons and not [line for line in reasons if re.search(r"d = 784|784 dimensions|dimension", line)]
