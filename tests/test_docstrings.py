import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import diffgauss

ROOT = Path(diffgauss.__file__).parent
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))
}
ROOMS = ("denoisers/", "measures/", "beyond/")
KERNELS = [f for f in TREES if "/" not in f or f.startswith(ROOMS)]
FORMULA = re.compile(r" = |argmin|min_|[Σ‖∇⟨]|E ")
"""What the first line of a docstring has where a formula is computed: then the docstring names its source."""
SOURCE = re.compile(r"\(\d{4}\w?\)|[Ee]quations? \d|\bOurs\b")

Node = ast.FunctionDef | ast.ClassDef


def public(body: list[ast.stmt]) -> Iterator[Node]:
    """Functions, classes and methods whose names do not start with an underscore, and __call__."""
    for node in body:
        if isinstance(node, Node) and (not node.name.startswith("_") or node.name == "__call__"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def raises(node: ast.FunctionDef) -> bool:
    """Whether the body raises a ValueError or TypeError, or calls a check of core that does."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Raise) and inner.exc and re.match("(Value|Type)Error", ast.unparse(inner.exc)):
            return True
        if isinstance(inner, ast.Call) and re.match(r"(self\._|core\.)?check_\w+$", ast.unparse(inner.func)):
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


def unsourced(tree: ast.Module) -> list[str]:
    """The public functions and classes that state a formula and not where it is from."""
    top = [node for node in tree.body if isinstance(node, Node) and not node.name.startswith("_")]
    said = {node.name: ast.get_docstring(node) or "" for node in top}
    return [name for name, text in said.items() if FORMULA.search(text.split("\n")[0]) and not SOURCE.search(text)]


@pytest.mark.parametrize("file", KERNELS)
def test_formulas_name_their_source(file):
    assert unsourced(TREES[file]) == []


def test_the_rules_catch_what_they_should():
    tree = ast.parse(
        'def f(x):\n    raise ValueError("no")\nclass A:\n    def g(self): check_points(1)\n    def _h(self): ...'
    )
    nodes = {node.name: node for node in public(tree.body)}
    assert set(nodes) == {"f", "A", "g"}
    assert all(isinstance(nodes[n], ast.FunctionDef) and raises(nodes[n]) for n in "fg")  # type: ignore[arg-type]
    told = '"""x = y.  Karras et al. (2022)."""'
    kinds = {
        "f": '"""x = y."""',
        "g": told,
        "h": '"""Fast."""',
        "i": '"""x = y, by equation 11."""',
        "_j": '"""x = y."""',
    }
    source = "\n".join(f"def {name}():\n    {text}" for name, text in kinds.items())
    assert unsourced(ast.parse(source)) == ["f"]
    assert not ast.get_docstring(ast.parse("x = 1")) and ast.get_docstring(ast.parse('"""Words."""'))


def without_encoding(tree: ast.AST) -> list[str]:
    """Text that is read or written in whatever encoding the machine has: calls that do not name one."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not any(k.arg in ("encoding", None) for k in node.keywords):
            method = isinstance(node.func, ast.Attribute) and node.func.attr in ("read_text", "write_text")
            modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
            opened = ast.unparse(node.func) == "open" and not any("b" in ast.unparse(mode) for mode in modes)
            found += [ast.unparse(node)] * ((method and not positional(node)) or opened)
    return found


def positional(node: ast.Call) -> bool:
    """Whether read_text is that of a distribution, which takes a file's name, or gets the encoding by place."""
    return isinstance(node.func, ast.Attribute) and node.func.attr == "read_text" and bool(node.args)


def test_text_has_its_encoding():
    top = ROOT.parents[1]
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=top, capture_output=True, text=True, check=True).stdout
    trees = {p: ast.parse((top / p).read_text(encoding="utf-8")) for p in listed.split() if (top / p).is_file()}
    assert len(trees) > 100 and not {p: found for p, tree in trees.items() if (found := without_encoding(tree))}
    planted = ast.parse("p.read_text(); p.write_text('x'); open(p); open(p, 'rb'); open(p, encoding='utf-8')")
    assert len(without_encoding(planted)) == 3
