"""The template of the notebooks: what a reader, a screen reader, nbval and Colab rely on."""

import ast
import base64
import copy
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import execute
import nbformat
import pytest
import results
import stamp
from nbformat.v4 import new_code_cell, new_output
from PIL import Image

import diffgauss as dg
from diffgauss.notebook import lesson, widgets

ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
MARKS = {"nbval-check-output", "hide-input"}
NUMBER = r"[-−]?\d+(?:\.\d+)?"


@pytest.fixture(scope="module", params=PATHS, ids=lambda p: p.stem)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def notebook(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def prose(notebook):
    return [c.source for c in notebook.cells if c.cell_type == "markdown"]


def checking(notebook):
    return [c for c in code(notebook) if MARKS <= set(c.metadata.get("tags", []))]


def solutions(notebook):
    """The cells that a reader writes in."""
    return [c for c in code(notebook) if "# BEGIN SOLUTION" in c.source]


def tagged(notebook, tag):
    (cell,) = [c for c in notebook.cells if tag in c.metadata.get("tags", [])]
    return cell


def test_there_are_notebooks():
    assert [p.name[:2] for p in PATHS] == [f"{i + 1:02d}" for i in range(len(PATHS))]


def test_format(path, notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 1.5e6


def test_every_cell_ran_in_order_and_none_raised(notebook):
    assert [c.execution_count for c in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not [o for c in code(notebook) for o in c.outputs if o.output_type == "error"]


def test_checked_cells_have_output_and_the_last_counts_all(notebook):
    marked = checking(notebook)
    others = [c for c in code(notebook) if "nbval" in str(c.metadata) and c not in marked]
    assert len(marked) >= 5 and others == solutions(notebook)
    assert all(c.metadata.jupyter.source_hidden and c.metadata.cellView == "form" for c in marked)
    assert all(c.outputs and c.outputs[0].text.strip() for c in marked)
    assert "✗" not in "".join(o.text for c in marked for o in c.outputs)
    last = notebook.cells[-1]
    assert last is marked[-1] and last.source == "dg.lesson.summary()"
    ((passed, of),) = re.findall(r"\A(\d+) of (\d+) checks passed\n\Z", last.outputs[0].text)
    assert passed == of


def test_unchecked_numbers_stay_out_of_checked_cells(notebook):
    """Only check() and summary() print there: no digits of a machine, no times, no figures."""
    for cell in checking(notebook):
        for statement in ast.parse(cell.source).body:
            assert re.match(r"dg\.lesson\.(check|summary)\(", ast.unparse(statement))


def test_no_placeholder(notebook):
    assert not re.search(r"appear here|make address|NBVAL_", "".join(c.source for c in notebook.cells))


def test_images_have_alt_text(notebook):
    """One image a cell: the site knows an alt text for each cell."""
    shown = [[o for o in c.outputs if "image/png" in o.get("data", {})] for c in code(notebook)]
    assert max(map(len, shown)) == 1
    images = sum(shown, [])
    assert len(images) >= 5
    assert all(len(o.metadata["image/png"]["alt"].split()) >= 8 for o in images)


def stopped(output):
    """What keeps an animation or a player from moving: frames that are missing or no pictures, by number."""
    page = output.get("data", {}).get("text/html", "")
    if gif := re.search(r"data:image/gif;base64,([^\"]+)", page):
        frames = getattr(Image.open(io.BytesIO(base64.b64decode(gif[1]))), "n_frames", 1)
        return [] if frames > 1 else [1]
    if "diffgauss-player" not in page:
        return []
    ((names, listed),) = re.findall(r"names = (.*), frames = (\[.*\]);", page)
    frames = [base64.b64decode(frame) for frame in json.loads(listed)]
    wanted = math.prod(map(len, json.loads(names).values()))
    frames += [b""] * (wanted - len(frames))
    return [k for k, frame in enumerate(frames) if not frame.startswith(b"\x89PNG") or k >= wanted]


def test_players_and_animations_have_their_frames(notebook):
    moving = [(re.findall(r"widgets\.explorer\(|plots\.animation\(", c.source), c.outputs) for c in code(notebook)]
    for calls, outputs in moving:
        pages = [o for o in outputs if "data:image/" in o.get("data", {}).get("text/html", "")]
        assert len(pages) == len(calls) and not sum(map(stopped, pages), [])
    assert any(calls for calls, _ in moving)


@pytest.mark.parametrize(("change", "found"), [(None, []), ("drop", [5]), ("empty", [2]), ("add", [6])])
def test_a_player_without_its_frames_is_found(change, found):
    frame, names = b"\x89PNG", {"sigma": [1, 2, 3], "n": ["few", "many"]}
    page = widgets.player([frame] * 6, names, width=9, alt="Six.")
    frames = [frame] * (6 + {"drop": -1, "add": 1}.get(str(change), 0))
    if change == "empty":
        frames[2] = b""
    coded = json.dumps([base64.b64encode(f).decode() for f in frames])
    page = re.sub(r"frames = \[.*\];", lambda _: f"frames = {coded};", page)
    assert stopped(new_output("display_data", {"text/html": page})) == found


@pytest.mark.parametrize("frames", [1, 3])
def test_an_animation_of_one_frame_is_found(frames):
    first, *rest = (Image.new("L", (8, 8), 60 * k) for k in range(frames))
    buffer = io.BytesIO()
    first.save(buffer, format="gif", save_all=True, append_images=rest)
    page = f'<img src="data:image/gif;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    assert stopped(new_output("display_data", {"text/html": page})) == ([1] if frames == 1 else [])


def test_title_neighbours_and_card(path, notebook):
    k = PATHS.index(path)
    first = notebook.cells[0].source
    assert f"Notebook {k + 1} of " in first
    for neighbour in PATHS[max(k - 1, 0) : k + 2]:
        assert neighbour == path or f"({neighbour.name})" in first
    card = tagged(notebook, "card").source
    for row in ("read", "run on 2 cores", "run on a GPU", "data", "before this", "in the papers", "last verified"):
        assert f"**{row}** " in card
    assert "\n" not in card
    minutes = int(re.findall(r"\*\*read\*\* (\d+) min", card)[0])
    words = len(re.sub(r"\$[^$]*\$|https?://\S+", " ", " ".join(prose(notebook))).split())
    assert abs(words / 200 - minutes) <= 2, f"{words} words at 200 a minute"


def test_the_card_says_how_much_data_is_loaded(notebook):
    assert f"**data** {execute.size(execute.needs(notebook))} ·" in tagged(notebook, "card").source
    notebook = copy.deepcopy(notebook)
    notebook.cells.append(new_code_cell('n = 64\ndg.zoo.load(f"xray-n{n}")'))
    assert f"**data** {execute.size(execute.needs(notebook))} ·" not in tagged(notebook, "card").source


def test_one_setup_cell_the_same_everywhere(notebook):
    reference = tagged(nbformat.read(PATHS[0], as_version=4), "setup").source
    assert tagged(notebook, "setup").source == reference
    others = [c.source for c in code(notebook) if "setup" not in c.metadata.get("tags", [])]
    assert not [s for s in others if re.search(r"\bpip\b|subprocess|^[%!]", s, re.MULTILINE)]


def test_code_cells_are_short(notebook):
    for cell in code(notebook):
        if "setup" not in cell.metadata.get("tags", []):
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= 15, cell.source


def test_objectives_are_closed_by_checks(notebook):
    (objectives,) = [s for s in prose(notebook) if s.startswith("**After this notebook you can**")]
    numbers = re.findall(r"(?m)^(\d)\. ", objectives)
    assert 3 <= len(numbers) <= 5
    assert set(numbers) <= {str(n) for n, *_ in checks(notebook)}


def checks(notebook):
    """(number, the figures that the check compares with) of each dg.lesson.check call."""
    for cell in code(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "dg.lesson.check":
                compared = node.args[2:3] + [
                    k.value for k in node.keywords if k.arg in ("below", "above", "quoted")
                ]
                yield ast.literal_eval(node.args[0]), [float(ast.literal_eval(v)) for v in compared]


def test_check_numbers_are_unique(notebook):
    numbers = [str(n) for n, _ in checks(notebook)]
    assert len(numbers) == len(set(numbers))


def claimed(notebook):
    """The id that each call of ``lesson.claim`` names."""
    for cell in code(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ("claim", "dg.lesson.claim"):
                yield ast.literal_eval(node.args[0])


def test_claims_take_their_words_from_the_list(notebook):
    assert not [c.source for c in code(notebook) if re.search(r"\bClaim\b", c.source)]
    assert set(claimed(notebook)) <= set(lesson.listed())


def test_every_judged_claim_is_in_one_ledger():
    books = [nbformat.read(path, as_version=4) for path in PATHS]
    names = [name for book in books for name in claimed(book)]
    shown = [claim["id"] for book in books for claim in results.claims(book)]
    recorded = [row["id"] for record in ("cifar10", "one_kind") for row in dg.results(record)["claims"]]
    colour = [row["id"] for row in dg.results("cifar10")["claims"]]
    judged = sorted(name for name, entry in lesson.listed().items() if entry.judged)
    assert sorted(names + colour) == sorted(shown)
    assert sorted(names + recorded) == judged


def test_the_executed_ledger_has_the_words_of_the_list(notebook):
    assert not results.reworded(notebook), "needs `make notebooks`"


def lost(notebook):
    """Names in a section on the reader's own network that neither it nor the first two cells define."""
    own = [c for c in code(notebook) if "own" in c.metadata.get("tags", [])]
    source = "\n".join(c.source for c in (*code(notebook)[:2], *own))
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "F821",
        "--output-format=concise",
        "-",
    ]
    found = subprocess.run(command, input=source, capture_output=True, text=True)
    assert found.returncode in (0, 1), found.stderr
    return re.findall(r"Undefined name `(\w+)`", found.stdout)


def test_sections_on_own_networks_run_alone(notebook):
    assert not lost(notebook)


def test_a_name_from_elsewhere_is_found():
    cells = [new_code_cell("import jax"), new_code_cell("ten = range(10)"), new_code_cell("G = 1")]
    own = new_code_cell("x = jax.numpy.ones(len(ten)) + G", metadata={"tags": ["own"]})
    assert lost(nbformat.v4.new_notebook(cells=[*cells, own])) == ["G"]


def unguarded(notebook):
    """Numbers that the text states as results and that no check compares with.

    In prose a result is **bold**; what was chosen (σ = 0.5, N = 60000) stands inside $…$. Under "What you should
    see" every number outside $…$ is a result.
    """
    guarded = {value for _, values in checks(notebook) for value in values}
    for text in prose(notebook):
        results = re.findall(rf"\*\*({NUMBER})\*\*", text)
        if text.startswith("**What you should see.**"):
            results += re.findall(rf"(?<![\w.]){NUMBER}(?![\w]|\.\d)", re.sub(r"\$[^$]*\$|`[^`]*`|C\d+", " ", text))
        yield from (r for r in results if float(r.replace("−", "-")) not in guarded)


def test_numbers_in_prose_are_checked_numbers(notebook):
    assert not list(unguarded(notebook))


def test_an_unguarded_number_is_found():
    cells = [
        nbformat.v4.new_markdown_cell("**What you should see.** At $\\sigma=3$ it is **0.25**, or 7 times more."),
        nbformat.v4.new_code_cell('dg.lesson.check(1, x, 0.25, tol=0.1, text="it")'),
    ]
    assert list(unguarded(nbformat.v4.new_notebook(cells=cells))) == ["7"]


def test_folded_answers_are_closed(notebook):
    for text in prose(notebook):
        assert text.count("<details>") == text.count("</details>") == text.count("<summary>")
        assert "TODO" not in text


def test_relative_links_exist(notebook, path):
    for text in prose(notebook):
        for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text):
            assert (path.parent / target).exists(), target


def test_exercises_exist_and_run_all_goes_on(notebook, path):
    source = "\n".join(c.source for c in code(notebook))
    names = re.findall(r'dg\.lesson\.exercise\("(\w+)", answer\)', source)
    assert len(names) + len(solutions(notebook)) >= 3 and all(n.startswith(str(int(path.name[:2]))) for n in names)
    assert source.count("answer = None") == len(names)


def test_addresses_agree():
    """Badges, setup cells, README and CITATION.cff say what pyproject.toml says."""
    repository = stamp.address(ROOT)
    for path in [*PATHS, ROOT / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert stamp.stamped(text, path, repository, stamp.ref(ROOT)) == text
        assert "<!-- badges -->" in text
    assert ("repository-code:" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")) == bool(repository)


def test_readme_lists_every_notebook_with_its_minutes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in PATHS:
        card = tagged(nbformat.read(path, as_version=4), "card").source
        read = re.findall(r"\*\*read\*\* (\d+) min", card)[0]
        run = re.findall(r"\*\*run on 2 cores\*\* ([\d.]+) min", card)[0]
        (row,) = [line for line in readme.splitlines() if f"notebooks/{path.name}" in line and line.startswith("|")]
        assert f"| {read} + {run} |" in row


def test_sources_are_plain_json():
    for path in PATHS:
        assert json.loads(path.read_text(encoding="utf-8"))["nbformat_minor"] >= 5
