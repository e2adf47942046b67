import configparser
import importlib.metadata
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffgauss.notebook import lesson
from diffgauss.notebook.lesson import Claim

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No check has been made yet."""
    monkeypatch.setattr(lesson, "_outcomes", {})


@pytest.fixture
def shown(monkeypatch):
    seen = []
    monkeypatch.setattr(lesson, "display", lambda bundle, *, raw: seen.append(bundle))
    return seen


@pytest.mark.parametrize(
    "value, quoted, bounds, passes",
    [
        (1.04, 1.0, {"tol": 0.05}, True),
        (0.94, 1.0, {"tol": 0.05}, False),
        (1.5, 1.0, {"tol": 0.5}, True),
        (3.0, None, {"below": 3.0}, True),
        (3.1, None, {"below": 3.0}, False),
        (3.0, None, {"above": 3.0}, True),
        (2.9, None, {"above": 3.0}, False),
        (2.0, None, {"above": 1.0, "below": 3.0}, True),
        (0.0, None, {"above": 1.0, "below": 3.0}, False),
        (1.04, 1.0, {"tol": 0.05, "below": 1.01}, False),
        (float("nan"), 1.0, {"tol": 1e9}, False),
        (float("nan"), None, {"below": 1.0}, False),
        (float("inf"), None, {"above": 1.0}, False),
        (-float("inf"), None, {"below": 1.0}, False),
        (np.float32(0.5), 0.5, {"tol": 0.0}, True),
        (np.array(0.5), 0.5, {"tol": 0.0}, True),
    ],
)
def test_check(value, quoted, bounds, passes, capsys):
    lesson.check(1, value, quoted, text="a value", **bounds)
    assert lesson._outcomes == {"check 1": passes}
    assert capsys.readouterr().out.startswith("✓ 1. a value: " if passes else "✗ 1. a value: ")


@pytest.mark.parametrize(
    "value, quoted, bounds, printed",
    [
        (0.512345, 0.5, {"tol": 0.02, "below": 0.9}, "✓ 2b. it: 0.512 (expected 0.5 ± 0.02, ≤ 0.9)"),
        (0.7123456, 0.5, {"tol": 0.02}, "✗ 2b. it: 0.712 (expected 0.5 ± 0.02)"),
        (1.121951, 1.12195, {"tol": 1e-5}, "✓ 2b. it: 1.12195 (expected 1.12195 ± 1e-05)"),
        (-0.5261, -0.53, {"tol": 0.1}, "✓ 2b. it: -0.526 (expected -0.53 ± 0.1)"),
        (1987.4, 2000.0, {"tol": 200.0}, "✓ 2b. it: 1987 (expected 2000 ± 200)"),
        (3.1e-7, None, {"below": 1e-6}, "✓ 2b. it: 3.1e-07 (expected ≤ 1e-06)"),
        (11, 11.0, {"tol": 0.0}, "✓ 2b. it: 11 (expected 11 ± 0)"),
        (float("nan"), 1.0, {"tol": 0.1}, "✗ 2b. it: nan (expected 1 ± 0.1)"),
    ],
)  # fmt: skip
def test_a_check_shows_what_was_measured(value, quoted, bounds, printed, capsys):
    lesson.check("2b", value, quoted, text="it", **bounds)
    assert capsys.readouterr().out == f"{printed}\n"


def test_nbval_sees_all_but_the_measured_digits(capsys):
    """The pattern of tools/nbval.cfg makes one line of all values that pass, and leaves the mark alone."""
    rules = configparser.ConfigParser()
    rules.read(ROOT / "tools" / "nbval.cfg", encoding="utf-8")
    rule, other = (rules[name] for name in rules.sections())
    seen = []
    for value in (0.5123456, 0.5, 4e-1, 0.6):
        lesson.check("2b", value, 0.5, tol=0.05, text="share (in %): what")
        seen.append(re.sub(rule["regex"], rule["replace"], capsys.readouterr().out))
    assert seen[0] == seen[1] == "✓ 2b. share (in %): what: MEASURED (expected 0.5 ± 0.05)\n"
    assert seen[2] == seen[3] and seen[2][0] == "✗"
    lines = [
        "✓ your GL agrees with it: largest difference 3e-08 (allowed 1e-4)",
        "✗ your GL: largest difference 2 (allowed 1e-4)",
    ]
    assert [re.sub(other["regex"], other["replace"], line) for line in lines] == [
        "✓ your GL agrees with it: largest difference MEASURED (allowed 1e-4)",
        "✗ your GL: largest difference MEASURED (allowed 1e-4)",
    ]


@pytest.mark.parametrize("arguments", [{}, {"quoted": 1.0}, {"tol": 0.1}, {"tol": 0.1, "below": 1.0}])
def test_a_check_needs_something_to_compare_with(arguments):
    with pytest.raises(ValueError, match="check 4: got quoted=.*needs quoted with tol, or a bound"):
        lesson.check(4, 1.0, text="a value", **arguments)


def test_summary_counts_each_number_once(capsys):
    for value in (0.0, 1.0):
        lesson.check(1, value, 1.0, tol=0.1, text="run twice")
        lesson.check("1b", value, 0.0, tol=0.1, text="fails the second time")
    capsys.readouterr()
    lesson.summary()
    assert capsys.readouterr().out == "1 of 2 checks passed\nfailed: check 1b\n"
    lesson.check("1b", 0.0, 0.0, tol=0.1, text="mended")
    capsys.readouterr()
    lesson.summary()
    assert capsys.readouterr().out == "2 of 2 checks passed\n"


def claim(id, verdict, recorded):
    why = "" if verdict == "holds" else "the data are small"
    return Claim(id, "it is so", "0.5", "0.6 [0.5, 0.7]", "≥ 0.4", verdict, recorded, "28×28, not 64×64", why)


def test_a_failing_claim_is_a_finding_and_only_a_changed_verdict_fails(shown, capsys):
    lesson.ledger(claim("C1", "holds", "holds"), claim("C2", "fails", "fails"))
    assert capsys.readouterr().out == ""
    lesson.ledger(claim("C3", "partly", "holds"))
    assert capsys.readouterr().out == "✗ verdict C3: got partly, recorded holds\n"
    lesson.summary()
    assert capsys.readouterr().out == "2 of 3 checks passed\nfailed: verdict C3\n"


def test_the_ledger_shows_every_field_but_the_record(shown):
    lesson.ledger(claim("C1", "holds", "holds"), claim("C2", "fails", "fails"))
    rows = shown[0]["text/markdown"].splitlines()
    assert len(rows) == 6 and {row.count("|") for row in rows[:4]} == {8}
    assert rows[3] == "| C2 | it is so | 0.5 | 0.6 [0.5, 0.7] | ≥ 0.4 | **fails** | 28×28, not 64×64 |"
    assert rows[5] == "C2 fails: the data are small"
    assert [c["verdict"] for c in shown[0][lesson.CLAIMS]] == ["holds", "fails"]


def test_a_verdict_that_does_not_hold_needs_its_reason(shown):
    with pytest.raises(ValueError, match="C2: got no why; a verdict other than 'holds' needs its reason"):
        lesson.ledger(claim("C1", "holds", "holds"), claim("C2", "partly", "partly")._replace(why=""))
    assert not shown


def test_a_claim_takes_its_words_from_the_list():
    entry = lesson.listed()["C2"]
    row = lesson.claim("C2", ours="0.6", verdict="fails", recorded="fails", scale="small", why="few images")
    assert row == Claim("C2", entry.claim, entry.paper, "0.6", entry.rule, "fails", "fails", "small", "few images")
    assert entry.rule == f"{entry.criterion}; partly: one of the two"
    assert lesson.listed()["C1"].rule == lesson.listed()["C1"].criterion  # holds or fails


def test_an_unknown_claim_is_refused_in_one_line():
    with pytest.raises(ValueError, match="^got claim 'C99'; claims.toml has C1, C2, .*B5m$"):
        lesson.claim("C99", ours="0.6", verdict="holds", recorded="holds", scale="small")


def test_a_claim_that_is_listed_twice_is_refused(tmp_path):
    entry = '[[claim]]\nid = "C1"\nsection = "a"\nclaim = "b"\npaper = "–"\ncriterion = "c"\n'
    (tmp_path / "twice.toml").write_text("not_yet_judged = []\n" + 2 * entry, encoding="utf-8")
    with pytest.raises(ValueError, match="twice.toml: got 'C1' twice"):
        lesson.listed(tmp_path / "twice.toml")


def test_an_exercise_returns_the_reference_whatever_the_answer(capsys):
    reference = lesson.EXERCISES["1a"].reference
    for answer, message in [
        (None, "Exercise 1a: not attempted yet; set `answer`"),
        (35, "Exercise 1a: right."),
        (36, "Exercise 1a: not yet. Hint: Heun calls D twice"),
        ("thirty", "Exercise 1a: your answer raised ValueError: could not convert"),
    ]:
        assert lesson.exercise("1a", answer) == reference
        printed = capsys.readouterr().out
        assert printed.startswith(message)
        assert ("Hint" in printed) == (answer in (36, "thirty"))


def test_a_function_that_raises_is_an_answer_not_yet_right(capsys):
    def answer(*arguments):
        raise ZeroDivisionError("too early")

    assert lesson.exercise("1b", answer) is lesson.EXERCISES["1b"].reference
    assert "your answer raised ZeroDivisionError: too early" in capsys.readouterr().out


def test_an_unknown_exercise_is_refused():
    with pytest.raises(ValueError, match="got exercise '9z'; there are 1a, 1b"):
        lesson.exercise("9z")


def test_env_report_names_python_packages_and_device(capsys, recwarn):
    lesson.env_report()
    printed = capsys.readouterr().out
    assert f"Python {platform.python_version()}" in printed
    for package in ("diffgauss", "jax", "numpy", "matplotlib", "ipywidgets"):
        assert f"{package} {importlib.metadata.version(package)}" in printed
    assert "jupyterlab" not in printed  # an extra
    assert not [w for w in recwarn if "not tried with" in str(w.message)]


CELLS = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
import diffgauss
shell = InteractiveShell.instance()
if sys.argv[1] == "trim":
    shell.run_cell("import diffgauss as dg; dg.lesson.env_report()")
    shell.run_cell("dg.lesson.env_report()")
shell.run_cell("import numpy as np; kept = [np.ones(8000) for _ in range(8000)]")  # 64 kB each
shell.run_cell("kept = kept[::100]")  # the rest is free, but lies between
print("kB", *[line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what other allocators give back is their affair")
def test_what_a_cell_frees_goes_back_to_the_system():
    took = {}
    for how in ("trim", "plain"):
        run = subprocess.run([sys.executable, "-c", CELLS, how], capture_output=True, text=True, check=True)
        took[how] = int(re.findall(r"kB (\d+)", run.stdout)[-1]) / 1024
    assert took["plain"] - took["trim"] > 300, took


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.4.1", r"jax 0\.4\.1 is older than it needs to be \(>=0\.7\.2\)"),
        ("9.1.2", r"jax 9\.1\.2 is newer than 0\."),
    ],
)
def test_env_report_warns_once_of_what_was_not_tried(version, said, monkeypatch, capsys):
    genuine = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "jax" else genuine(name))
    with pytest.warns(UserWarning, match=f"not tried with all that is here: {said}") as caught:
        lesson.env_report()
    assert len(caught) == 1
    assert f"jax {version}" in capsys.readouterr().out


def test_a_prediction_is_set_beside_what_was_measured(capsys):
    lesson.predicted(None, 302.4, "images that D_M averages")
    lesson.predicted(500, 302.4, "images that D_M averages")
    lesson.predicted("a", "c", "the best function")
    assert capsys.readouterr().out.splitlines() == [
        "No prediction yet: set `guess` and run the cell again. (Images that D_M averages)",
        "Images that D_M averages: you predicted 500; it is 302.4.",
        "The best function: you predicted a; it is c.",
    ]
