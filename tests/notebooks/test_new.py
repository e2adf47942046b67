"""What tools/new.py writes runs, and is what the template asks for."""

import sys

import execute
import nbformat
import new
import pytest
import test_structure
import test_template

ASKED = [
    test_template.test_a_picture_is_on_the_first_screen,
    test_template.test_lines_are_short_and_have_one_statement,
    test_template.test_at_most_a_third_of_the_code_is_plots_and_checks,
    test_template.test_figures_are_small,
    test_template.test_each_prediction_is_compared,
    test_template.test_folds_hold_no_mathematics,
    test_structure.test_every_cell_ran_in_order_and_none_raised,
    test_structure.test_unchecked_numbers_stay_out_of_checked_cells,
    test_structure.test_one_setup_cell_the_same_everywhere,
    test_structure.test_code_cells_are_short,
    test_structure.test_objectives_are_closed_by_checks,
    test_structure.test_check_numbers_are_unique,
    test_structure.test_numbers_in_prose_are_checked_numbers,
    test_structure.test_folded_answers_are_closed,
]


@pytest.mark.slow
def test_a_new_notebook_runs_and_is_as_the_template_asks(tmp_path, monkeypatch, capsys):
    path = tmp_path / "10_sneakers.ipynb"
    monkeypatch.setattr(sys, "argv", ["new.py", str(path), "Find out what sneakers have in common"])
    assert new.main() == 0
    notebook = nbformat.read(path, as_version=4)
    error, _ = execute.run(notebook, tmp_path)
    assert error is None and execute.checks(notebook) == (3, 3)
    execute.normalise(notebook)
    for asked in ASKED:
        asked(notebook)
    assert len(test_structure.solutions(notebook)) == 1
    assert new.main() == 1 and "exists; needs the name of a new notebook" in capsys.readouterr().err


@pytest.mark.parametrize("name, title", [("sneakers.ipynb", "A title"), ("10_a.ipynb", " ")])
def test_a_name_or_title_that_does_not_fit_is_one_line(name, title, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["new.py", str(tmp_path / name), title])
    assert new.main() == 1 and "needs NN_name.ipynb and a title with a verb" in capsys.readouterr().err
