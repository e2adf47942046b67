"""The tools that write: stamping the address, executing and normalising notebooks, README's promises."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import execute
import nbformat
import pytest
import stamp
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path):
    for name in ("pyproject.toml", "README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("my_networks"))
    (tmp_path / "src" / "diffgauss" / "data").mkdir(parents=True)
    shutil.copy(ROOT / "src" / "diffgauss" / "data" / "store.py", tmp_path / "src" / "diffgauss" / "data")
    return tmp_path


def test_stamp_writes_one_address_everywhere_and_takes_it_back(checkout):
    before = {p: p.read_text(encoding="utf-8") for p in checkout.rglob("*") if p.is_file() and p.suffix != ".png"}
    stamp.stamp(checkout, "")
    blank = {p: p.read_text(encoding="utf-8") for p in before}
    changed = stamp.stamp(checkout, "someone/diffgauss")
    assert set(changed) == set(before)
    for path in checkout.glob("notebooks/*.ipynb"):
        text = path.read_text(encoding="utf-8")
        nbformat.validate(nbformat.reads(text, as_version=4))
        assert f"github/someone/diffgauss/blob/{stamp.ref(checkout)}/notebooks/{path.name}" in text
        assert f'DIFFGAUSS_SOURCE\\", \\"git+https://github.com/someone/diffgauss@{stamp.ref(checkout)}\\"' in text
        assert f"src=https://github.com/someone/diffgauss/blob/{stamp.ref(checkout)}/notebooks/{path.name}" in text
    store = (checkout / "src" / "diffgauss" / "data" / "store.py").read_text(encoding="utf-8")
    assert '\nREPOSITORY = "someone/diffgauss"\n' in store
    assert stamp.stamp(checkout, "someone/diffgauss") == []
    stamp.stamp(checkout, "")
    assert {p: p.read_text(encoding="utf-8") for p in before} == blank


def test_stamp_takes_the_address_from_the_git_remote(checkout):
    git = ["git", "-C", str(checkout)]
    subprocess.run([*git, "init", "-q"], check=True)
    assert stamp.remote(checkout) is None
    subprocess.run([*git, "remote", "add", "origin", "git@github.com:someone/diffgauss.git"], check=True)
    stamp.stamp(checkout)
    assert stamp.address(checkout) == "someone/diffgauss"


def test_stamp_refuses_what_is_no_address(checkout):
    with pytest.raises(ValueError, match="needs owner/name"):
        stamp.stamp(checkout, "https://example.org/x")


@pytest.mark.slow
def test_execute_reports_checks_failures_and_stops(tmp_path, capsys, monkeypatch):
    setup = "import diffgauss as dg"
    notebooks = {
        "good": [setup, 'dg.lesson.check(1, 2.0, 2.0, tol=0.1, text="two")', "dg.lesson.summary()"],
        "bad": [setup, 'dg.lesson.check(1, 2.0, 3.0, tol=0.1, text="three")', "dg.lesson.summary()"],
        "broken": [setup, 'raise RuntimeError("oh")', "dg.lesson.summary()"],
    }
    for name, cells in notebooks.items():
        book = new_notebook(cells=[new_markdown_cell(f"# {name}"), *map(new_code_cell, cells)])
        nbformat.write(book, tmp_path / f"{name}.ipynb")
    for names, code, message in [
        (["good"], 0, "1 of 1 checks passed"),
        (["good", "bad"], 1, "1 of 2 checks passed"),
        (["good", "broken"], 1, "1 of 2 checks passed, 1 notebook(s) stopped"),
    ]:
        arguments = [str(tmp_path / f"{n}.ipynb") for n in names]
        monkeypatch.setattr(sys, "argv", ["execute.py", "--out", str(tmp_path / "out"), *arguments])
        assert execute.main() == code
        assert message in capsys.readouterr().out.splitlines()[-1]
    assert sorted(p.name for p in (tmp_path / "out/html").iterdir()) == ["bad.html", "broken.html", "good.html"]


def test_normalise_drops_what_differs_from_run_to_run():
    cell = new_code_cell("1", metadata={"tags": ["setup"], "execution": {"iopub.execute_input": "now"}})
    view = {execute.WIDGET: {"model_id": "x"}, "text/plain": "VBox()"}
    cell.outputs = [
        nbformat.v4.new_output("display_data", data=view | {"text/html": "the page of a slider"}),
        nbformat.v4.new_output("display_data", data=view),  # a bar
        nbformat.v4.new_output("stream", name="stdout", text="a"),
        nbformat.v4.new_output("stream", name="stdout", text="b"),
    ]
    book = new_notebook(cells=[cell], metadata={"widgets": {}, "kernelspec": {"name": "mine", "display_name": "m"}})
    execute.normalise(book)
    assert set(book.metadata) == {"kernelspec", "language_info"} and book.metadata.kernelspec.name == "python3"
    assert book.cells[0].metadata == {"tags": ["setup"]}
    assert set(book.cells[0].outputs[0].data) == {"text/plain", "text/html"}
    assert [o.get("text") for o in book.cells[0].outputs] == [None, "ab"]


def test_a_cell_that_took_long_is_tagged_until_it_takes_less():
    def cell(seconds, *tags):
        times = {
            "iopub.execute_input": "2026-11-30T07:00:00.5Z",
            "shell.execute_reply": f"2026-11-30T07:00:{seconds}Z",
        }
        return new_code_cell("1", metadata={"tags": list(tags), "execution": times})

    book = new_notebook(cells=[cell("06.5"), cell("05.0", execute.LONG), new_code_cell("never run")])
    execute.normalise(book)
    assert [c.metadata.get("tags") for c in book.cells] == [[execute.LONG], None, None]


def test_setup_cell_installs_from_the_checkout_around_it_and_fails_alone(tmp_path):
    """As if diffgauss were missing, and no address known: pip is asked for the folder above."""
    book = nbformat.read(ROOT / "notebooks/01_probability_flow_ode.ipynb", as_version=4)
    (source,) = [c.source for c in book.cells if "setup" in c.metadata.get("tags", [])]
    assert len([line for line in source.splitlines() if line and line[0] not in " #"]) <= 5
    missing = source.replace('importlib.util.find_spec("diffgauss") is None', "True")
    assert missing != source
    missing = re.sub(r'(DIFFGAUSS_SOURCE", ").*?"', r'\1.."', missing)
    (tmp_path / "alone").mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "DIFFGAUSS_SOURCE"}
    run = subprocess.run(
        [sys.executable, "-c", missing], capture_output=True, text=True, cwd=tmp_path / "alone", env=environment
    )
    assert run.returncode != 0 and "Directory '..' is not installable" in run.stderr, run.stderr


@pytest.mark.slow
def test_readme_examples_run_in_order(capsys):
    names: dict = {}
    devices = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    for example in re.findall(r"(?s)```python\n(.*?)```", README + devices):
        assert len([line for line in example.splitlines() if line.strip()]) <= 12
        exec(compile(example, "README", "exec"), names)
    assert "memorized" in capsys.readouterr().out
    assert len(names["losses"]) == 32 and names["losses"][-1] < names["losses"][0]


def test_readme_is_short():
    words = re.sub(r"(?s)```.*?```|<!--.*?-->|\]\([^)]*\)|\|", " ", README).split()
    assert len(words) <= 700


def test_readme_names_the_commands_that_the_makefile_has():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z]+):.*##", makefile))
    named = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", README))
    assert {"run", "test", "lab", "quick", "bench", "help"} <= targets
    assert {"lab", "run", "test"} <= named <= targets
