import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import diffgauss

ROOT = Path(diffgauss.__file__).parent
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
KERNELS = {
    "ode.py",
    "loss.py",
    "schedule.py",
    "metrics.py",
    "linear_metrics.py",
    "jacobian.py",
    "distill.py",
    "descent.py",
    "denoisers/empirical.py",
    "denoisers/gaussian.py",
    "denoisers/linear.py",
    "denoisers/local.py",
    "denoisers/mixture.py",
    "denoisers/screened.py",
    "_softmax.py",
}
SOURCE = re.compile(r"\(\d{4}\)|[Ee]quations? \d")
NO_SOURCE = {"nearest", "Nearest", "Generalization", "Interval", "Descent", "in_blocks"}  # search, results, storage

Node = ast.FunctionDef | ast.ClassDef


def public(body: list[ast.stmt]) -> Iterator[Node]:
    """Functions, classes and methods whose names do not start with an underscore, and __call__."""
    for node in body:
        if isinstance(node, Node) and (not node.name.startswith("_") or node.name == "__call__"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def raises(node: ast.FunctionDef) -> bool:
    """Whether the body raises a ValueError or TypeError, or calls a check of _core that does."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Raise) and inner.exc and re.match("(Value|Type)Error", ast.unparse(inner.exc)):
            return True
        if isinstance(inner, ast.Call) and re.match(r"(self\._|_core\.)?check_\w+$", ast.unparse(inner.func)):
            return True
    return False


NODES = {f"{file}:{node.name}:{node.lineno}": node for file, tree in TREES.items() for node in public(tree.body)}


def is_protocol_method(node: Node) -> bool:
    return isinstance(node.body[0], ast.Expr) and ast.unparse(node.body[0]) == "..."


@pytest.mark.parametrize("file", TREES)
def test_modules_have_a_docstring(file):
    assert ast.get_docstring(TREES[file])


@pytest.mark.parametrize("name", NODES)
def test_public_names_have_a_docstring(name):
    assert ast.get_docstring(NODES[name]) or is_protocol_method(NODES[name])


@pytest.mark.parametrize(
    "name", [n for n, node in NODES.items() if isinstance(node, ast.FunctionDef) and raises(node)]
)
def test_docstrings_say_what_is_raised(name):
    assert re.search(r"Raises? (Value|Type)Error|errors|Errors", ast.get_docstring(NODES[name]) or "")


@pytest.mark.parametrize("file", sorted(KERNELS))
def test_kernels_name_their_source(file):
    top = [node for node in TREES[file].body if isinstance(node, Node) and not node.name.startswith("_")]
    assert top
    without = [node.name for node in top if not SOURCE.search(ast.get_docstring(node) or "")]
    assert set(without) <= NO_SOURCE


def test_the_rules_catch_what_they_should():
    tree = ast.parse(
        'def f(x):\n    raise ValueError("no")\nclass A:\n    def g(self): check_points(1)\n    def _h(self): ...'
    )
    nodes = {node.name: node for node in public(tree.body)}
    assert set(nodes) == {"f", "A", "g"}
    assert all(isinstance(nodes[n], ast.FunctionDef) and raises(nodes[n]) for n in "fg")  # type: ignore[arg-type]
    assert (
        SOURCE.search("Karras et al. (2022), Eq. 5") and SOURCE.search("Equation 11") and not SOURCE.search("fast")
    )
