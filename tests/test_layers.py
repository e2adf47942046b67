"""Imports point strictly down (walked in the syntax trees, so nothing needs to run)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import diffgauss

ROOT = Path(diffgauss.__file__).parent
LAYERS = {
    "_core": 0, "parallel": 0, "_images": 0,
    "schedule": 1, "_softmax": 1, "_layers": 1, "_moments": 1, "_sources": 1,
    "_screen": 1, "_order": 1, "_windows": 1, "theory": 1,
    "data": 2, "ode": 2, "denoisers": 2, "loss": 2,
    "train": 3, "checkpoint": 3, "metrics": 3, "solutions": 3, "plots": 3,
    "distill": 3, "descent": 3, "linear_metrics": 3, "agreement": 3, "jacobian": 3,
    "lesson": 4, "widgets": 4, "runs": 4, "report": 4, "case": 4,
    "evaluate": 5, "live": 5, "zoo": 6, "stations": 6, "comparisons": 6, "tour": 7, "cli": 8,
}  # fmt: skip
ONLY_IN = {
    "flax": {"_layers", "denoisers", "zoo", "live"},
    "typer": {"cli"},
    "PIL": {"_images"},
    "datasets": {"_sources"},
    "optax": {"train", "descent"},
    "matplotlib": {"plots"},
    "ipywidgets": {"widgets"},
    "IPython": {"lesson", "plots", "widgets"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"  # it only re-exports
}


def imported(source: str) -> Iterator[str]:
    """The absolute name of everything that source imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    """Each import of source that the table forbids to module, such as "denoisers.gaussian"."""
    top, found = module.split(".")[0], []
    for name in imported(source):
        package, _, rest = name.partition(".")
        if package == "diffgauss":
            target = rest.split(".")[0]
            if LAYERS.get(target, 99) >= LAYERS[top]:
                found.append(f"{module} (layer {LAYERS[top]}) imports {name}")
        elif top not in ONLY_IN.get(package, {top}):
            found.append(f"{module} imports {package}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_strictly_down(module):
    assert module.split(".")[0] in LAYERS, "a new module needs its place in the table"
    assert violations(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    "module, source",
    [
        ("_core", "from diffgauss.schedule import karras_sigmas"),
        ("schedule", "from diffgauss.data import load"),
        ("data", "from PIL import Image"),
        ("_images", "def f():\n    import datasets"),
        ("stations", "from diffgauss.comparisons import linear"),
        ("ode", "def f():\n    from diffgauss.metrics import nearest"),
        ("denoisers.gaussian", "from diffgauss.denoisers.empirical import EmpiricalDenoiser"),
        ("denoisers.gaussian", "from diffgauss.denoisers import empirical"),
        ("metrics", "import diffgauss"),
        ("metrics", "from diffgauss import load"),
        ("metrics", "import diffgauss.widgets as w"),
        ("metrics", "import matplotlib.pyplot as plt"),
        ("widgets", "from matplotlib.figure import Figure"),
        ("lesson", "import ipywidgets"),
        ("solutions", "from IPython.display import display"),
    ],
)
def test_a_violation_is_caught(module, source):
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short(module):
    assert len(MODULES[module].read_text().splitlines()) <= (250 if module == "plots" else 170)
