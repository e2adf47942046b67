"""Students' copies hide answers and outputs, and nothing else."""

import sys

import nbformat
import pytest
import student

PATHS = sorted((student.ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_answers_and_outputs_go_and_the_rest_stays(path):
    whole, copy = nbformat.read(path, as_version=4), student.student(nbformat.read(path, as_version=4))
    nbformat.validate(copy)
    pairs = list(zip(whole.cells, copy.cells, strict=True))
    code = [(w, c) for w, c in pairs if w.cell_type == "code"]
    assert all(not c.outputs and c.execution_count is None for _, c in code)
    for w, c in code:
        if "# BEGIN SOLUTION" in w.source:
            before, hidden = w.source.split("# BEGIN SOLUTION")
            assert c.source == before + "...  # write this" + hidden.split("# END SOLUTION")[1]
        else:
            assert w.source == c.source
    text = [(w.source, c.source) for w, c in pairs if w.cell_type == "markdown"]
    answers = sum(w.count("<summary>") - w.count("<summary>Hint</summary>") for w, _ in text)
    asked = sum("# BEGIN SOLUTION" in w.source or "guess = None" in w.source for w, _ in code)
    assert answers + asked >= 6 and sum(c.count(student.BLANK) for _, c in text) == answers
    assert not [c for _, c in text if "<summary>Answer" in c or "<summary>Discussion" in c]
    for mark in ("<summary>Hint</summary>", "**Predict.**", "## "):
        assert sum(w.count(mark) for w, _ in text) == sum(c.count(mark) for _, c in text)


def test_a_folded_answer_that_the_tool_would_miss_is_found():
    cell = nbformat.v4.new_markdown_cell("<details><summary>Answer</summary>\n\nSeven.\n\n</details> and more")
    assert student.student(nbformat.v4.new_notebook(cells=[cell])).cells[0].source == "*Your answer:* and more"


def test_the_command_writes_every_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["student.py", "--out", str(tmp_path)])
    assert student.main() == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [p.name for p in PATHS]
    assert f"{len(PATHS)} notebooks in" in capsys.readouterr().out
