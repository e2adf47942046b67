"""Imports point strictly down, as the contracts in pyproject.toml say, and what breaks one is caught."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "src" / "diffgauss").rglob("*.py"))
OTHERS = ("__init__.py", "__main__.py", "cli.py", "files.py", "results.py", "interrupts.py")
KERNELS = [p for p in FILES if p.parent.name in ("diffgauss", "denoisers", "measures") and p.name not in OTHERS]


def lint(root: Path) -> tuple[int, str]:
    """What lint-imports says of the package under a root: its exit status and its words."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    variables = {"PYTHONPATH": str(root / "src"), "PATH": "", "COLUMNS": "200"}
    run = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def test_the_package_keeps_its_contracts():
    code, said = lint(ROOT)
    assert code == 0 and "4 kept, 0 broken" in said, said


@pytest.mark.parametrize(
    "module, planted",
    [
        ("core", "from diffgauss.schedule import karras_sigmas"),
        ("schedule", "from diffgauss.data import load"),
        ("ode", "def planted():\n    from diffgauss.measures.distance import nearest"),
        ("measures/distance", "from diffgauss import load"),
        ("measures/distance", "import diffgauss.notebook.widgets as w"),
        ("measures/distance", "from diffgauss.measures.linearity import linearity"),
        ("denoisers/gaussian", "from diffgauss.denoisers import empirical"),
        ("zoo/runs", "from diffgauss.notebook import plots"),
        ("data/images", "from PIL import Image"),
        ("data/decoding", "def planted():\n    import datasets"),
        ("measures/linearity", "import matplotlib.pyplot as plt"),
        ("notebook/widgets", "from matplotlib.figure import Figure"),
        ("notebook/lesson", "import ipywidgets"),
        ("tour/run", "import typer"),
        ("utils", "x = 1"),
    ],
)
def test_what_breaks_a_contract_is_caught(module, planted, copied):
    path = copied / "src" / "diffgauss" / f"{module}.py"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text(f"{before or ''}\n{planted}\n", encoding="utf-8")
    try:
        code, said = lint(copied)
    finally:
        path.unlink() if before is None else path.write_text(before, encoding="utf-8")
    assert code == 1 and module.replace("/", ".") in said, said


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_the_kernels_are_few_enough_to_hold_in_the_head():
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in KERNELS) <= 1800
