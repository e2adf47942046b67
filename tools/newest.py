"""Environments with the newest releases, and with Kaggle's, in build/NAME, and the tests in them.

python tools/newest.py newest|kaggle|lowest [--notebooks N,M]

newest: Python 3.13 and the newest release of everything that the project asks for; kaggle: Python 3.12 and the
versions that Kaggle ships; lowest: Python 3.11 and every lower bound of pyproject.toml. Each is made from nothing.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import colab
import nbformat
from colab import ROOT
from packaging.requirements import Requirement

TOOLS = ("beartype", "hypothesis", "nbval", "pytest", "pytest-xdist")
"""What the tests of the kernels, and nbval, need besides the project."""

QUICK = (
    "test_core", "test_schedule", "test_ode", "test_blocks", "test_empirical", "test_gaussian", "test_linear",
    "test_distance", "test_linearity", "test_train", "test_checkpoint", "test_lesson", "test_files", "test_cli",
)  # fmt: skip
"""The fast tests of the kernels, which take about a minute."""


def project() -> dict:
    """The table of that name in pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def bounds() -> list[str]:
    """Every lower bound of pyproject.toml as a pin."""
    asked = [Requirement(text) for text in project()["dependencies"]]
    return [f"{r.name}=={s.version}" for r in asked for s in r.specifier if s.operator == ">="]


def turn() -> set[Path]:
    """The notebooks that a run of the tests takes with the newest releases: Colab's, one commit later."""
    return colab.turn(1) - colab.turn()


class Kind(NamedTuple):
    """minor: of Python 3; pins: pip's, besides the project's own requirements; notebooks: which run in it."""

    minor: int
    pins: list[str]
    notebooks: range


def kinds() -> dict[str, Kind]:
    return {
        "newest": Kind(13, [], range(1, 11)),
        "kaggle": Kind(12, ["numpy==2.0.2", "ipywidgets==8.1.5"], range(1, 4)),
        "lowest": Kind(11, bounds(), range(0)),
    }


def environment(name: str, extra: str = "") -> Path:
    """The Python of an environment that was made from nothing, with an extra of the project such as [dev]."""
    kind, folder = kinds()[name], ROOT / "build" / name / "env"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([colab.interpreter(kind.minor), "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    asked = [f"{ROOT}{extra}", *TOOLS, "ipykernel", *kind.pins]
    command = [python, *colab.PIP, "install", "-q", "--no-compile", "-e", *asked]
    subprocess.run(command, check=True, env=colab.clean())
    return python


def versions(python: Path) -> dict[str, str]:
    """Name to version of what is there."""
    listed = subprocess.run([python, *colab.PIP, "freeze"], capture_output=True, text=True, check=True).stdout
    return {colab.canonical(n): v for n, v in re.findall(r"(?m)^([\w.-]+)==(\S+)$", listed)}


def nbval(python: str | Path, path: Path, before: Sequence[str] = (), **variables: str) -> list[str]:
    """What goes wrong when a notebook is run by nbval in its folder; empty if all is well and every cell ran.

    before: what the command line begins with; variables: of the process.
    """
    command = [*before, python, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=900"]
    command += ["--durations=5", f"--nbval-sanitize-with={ROOT / 'tools' / 'nbval.cfg'}"]
    command += ["-p", "no:cacheprovider", path.name]
    environment = colab.clean(**variables)
    run = subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True, timeout=3000)
    found = [] if run.returncode == 0 else [run.stdout[-6000:] + run.stderr[-2000:]]
    cells = sum(cell.cell_type == "code" for cell in nbformat.read(path, as_version=4).cells)
    if not re.search(rf"\b{cells} passed", run.stdout):
        found.append(f"{cells} code cells, but: {run.stdout[-300:]}")
    return found


def carried(python: str | Path, folder: Path, **variables: str) -> list[str]:
    """What goes wrong when notebooks 4 to 6 take along the two networks that notebook 3 kept in the folder."""
    found = [] if len(list((folder / "my_networks").iterdir())) == 2 else ["notebook 3 did not keep two networks"]
    for path in sorted((ROOT / "notebooks").glob("0[456]_*.ipynb")):
        book = nbformat.read(path, as_version=4)
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        own = [cell for cell in code if "own" in cell.metadata.get("tags", [])]
        assert len(own) >= 2
        taken = nbformat.v4.new_code_cell("assert {net.whose for net in mine.values()} == {'yours'}")
        book.cells = [*code[:2], *own, taken]
        nbformat.write(book, folder / path.name)
        found += nbval(python, folder / path.name, **variables)
    return found


def faults(python: Path, notebooks: list[Path], tests: list[str]) -> list[str]:
    """What goes wrong when these tests and notebooks run there, each notebook alone in an empty folder."""
    command = [python, "-m", "pytest", "-m", "not slow", "-q", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, cwd=ROOT, env=colab.clean(), capture_output=True, text=True)
    found = [] if run.returncode == 0 else [run.stdout[-6000:] + run.stderr[-2000:]]
    for path in notebooks:
        with tempfile.TemporaryDirectory() as folder:
            found += nbval(python, Path(shutil.copy(path, folder)))
            if path.name.startswith("03"):
                found += carried(python, Path(folder))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=kinds())
    parser.add_argument(
        "--notebooks", help="numbers, with commas, or '' for none; default: all that the set is for"
    )
    parser.add_argument("--quick", action="store_true", help="the fast tests of the kernels alone")
    args = parser.parse_args()
    every = args.name == "newest" and not args.quick
    python = environment(args.name, "[dev]" if every else "")
    print(colab.version(python), versions(python))
    given = kinds()[args.name].notebooks if args.notebooks is None else args.notebooks.split(",")
    numbers = [int(n) for n in given if n != ""]
    notebooks = [path for n in numbers for path in (ROOT / "notebooks").glob(f"{n:02}_*.ipynb")]
    not_here = ("browser", "site", "colab", "test_style.py")  # the last asks for the tools that are pinned
    whole = ["tests", *(f"--ignore=tests/{name}" for name in not_here)]
    tests = whole if every else [f"tests/{name}.py" for name in QUICK]
    found = faults(python, notebooks, tests)
    print("\n".join(found) or f"all is well with {', '.join(p.stem for p in notebooks) or 'the tests'}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
