"""Docstrings and signatures as the source has them."""

import ast
import inspect
import re
import textwrap


def plain(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are text with `code` and bullets; nothing else in them is markup."""
    markup = re.compile(r"``(.+?)``|`([^`]+)`|^( *\* )|([\\*|_`])")
    for i, line in enumerate(lines):
        lines[i] = markup.sub(lambda m: m[3] or (f"\\{m[4]}" if m[4] else f"``{m[1] or m[2]}``"), line)


def written(app, what, name, obj, options, signature, returns) -> tuple[str, str | None] | None:
    """A signature as the source has it, with the names of types in place of what they stand for."""
    function = vars(obj).get("__init__") if what == "class" else obj
    if not (getattr(function, "__module__", None) or "").startswith("diffgauss"):
        return None
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError):  # a dataclass, whose __init__ has no source; an attribute
        return signature and signature.replace("jaxlib._jax.", ""), returns
    if not isinstance(node, ast.FunctionDef):
        return None
    node.args.args = [a for a in node.args.args if a.arg not in ("self", "cls")]
    returned = ast.unparse(node.returns).strip("'") if node.returns and what != "class" else None
    return f"({ast.unparse(node.args)})", returned


def skip(app, what, name, obj, skipped, options) -> bool | None:
    """Leave out the fields of named tuples, whose only docstring is Python's."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app) -> None:
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-process-signature", written)
    app.connect("autodoc-skip-member", skip)
