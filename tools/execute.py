"""Execute the notebooks in order: in place (normalised and stamped), or into a folder with HTML pages.

In place, before a commit:      python tools/execute.py [NOTEBOOK ...]
Executed copies and HTML pages: python tools/execute.py --out build [NOTEBOOK ...]

Ends with the sum of all checks; exits 1 if a check failed or a notebook stopped.
"""

import argparse
import ast
import base64
import datetime
import importlib.metadata
import os
import platform
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from diffgauss import files, zoo
from diffgauss.data import store
from diffgauss.zoo.mine import INSTEAD

ROOT = Path(__file__).resolve().parents[1]
CHECKS = re.compile(r"^(\d+) of (\d+) checks passed$", re.MULTILINE)
WIDGET = "application/vnd.jupyter.widget-view+json"
LONG = "long"
"""The tag of a cell that took more than five seconds when it was last executed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/, in order")
    parser.add_argument("--out", type=Path, help="write executed copies and HTML here; leave the sources alone")
    args = parser.parse_args()
    paths = args.notebooks or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    passed = total = stopped = 0
    for path in paths:
        print(f"{path.stem:<28}", end="", flush=True)
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        error, memory = run(notebook, path.parent)
        seconds = time.perf_counter() - start
        good, of = checks(notebook)
        passed, total, stopped = passed + good, total + of, stopped + (error is not None)
        said = f"{seconds:6.0f} s {memory / 1e9:5.1f} GB   {good} of {of} checks passed"
        print(said + (f"   STOPPED\n{error}" if error else ""))
        normalise(notebook)
        if args.out:
            write(notebook, args.out / "notebooks" / path.name)
            body, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
            body = re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', body)
            files.write(args.out / "html" / f"{path.stem}.html", body)
        elif error is None:
            stamp(notebook, path, seconds)
            write(notebook, path)
    if args.out:
        print(f"open {args.out / 'html' / paths[0].stem}.html")
    print(f"{passed} of {total} checks passed" + (f", {stopped} notebook(s) stopped" if stopped else ""))
    return int(passed != total or total == 0 or stopped > 0)


def run(notebook: NotebookNode, folder: Path) -> tuple[str | None, int]:
    """Execute all cells in the notebook's folder; the message of the cell that raised, and the kernel's peak.

    The peak of its memory is in bytes, 0 where the system does not tell.
    """
    where, quiet = {"metadata": {"path": str(folder)}}, ["--IPKernelApp.log_level=40"]
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where, extra_arguments=quiet)
    peaks = [0]

    def look(**_) -> None:
        status = Path(f"/proc/{client.km.provisioner.pid}/status")  # type: ignore[union-attr]
        if status.exists():
            peaks.append(1024 * int(re.findall(r"VmHWM:\s*(\d+)", status.read_text(encoding="utf-8"))[0]))

    client.on_cell_executed = look
    try:
        client.execute()
    except CellExecutionError as error:
        return str(error), max(peaks)
    return None, max(peaks)


def checks(notebook: NotebookNode) -> tuple[int, int]:
    """The n and m of the last ``n of m checks passed``; (0, 1) where a notebook never got there."""
    streams = [o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream"]
    found = CHECKS.findall("\n".join(streams))
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)


def normalise(notebook: NotebookNode) -> None:
    """Drop all that differs from run to run without meaning: times, widget state, editors' metadata."""
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    })  # fmt: skip
    for cell in notebook.cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if tag != LONG]
        if duration(cell) > 5:
            tags.append(LONG)
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "hide-input" in tags:  # folded on the site by the tag, in JupyterLab and in Colab by these
            cell.metadata |= nbformat.from_dict({"jupyter": {"source_hidden": True}, "cellView": "form"})
        merged = []  # one stream output, however often the kernel flushed
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
                merged[-1].text += output.text
                continue
            merged.append(output)
            if output.get("data", {}).pop(WIDGET, None):
                if "text/html" not in output.data:  # a progress bar, which says nothing afterwards
                    merged.pop()
                else:  # the page of the same frames needs no kernel
                    output.data["text/plain"] = "Sliders over pictures that were drawn beforehand."
        if cell.cell_type == "code":
            cell.outputs = merged


def duration(cell: NotebookNode) -> float:
    """Seconds that a cell took when it was just executed, 0 where nobody looked."""
    times = cell.metadata.get("execution", {})
    begin, end = (times.get(name) for name in ("iopub.execute_input", "shell.execute_reply"))
    if not begin or not end:
        return 0.0
    return (datetime.datetime.fromisoformat(end) - datetime.datetime.fromisoformat(begin)).total_seconds()


def stamp(notebook: NotebookNode, path: Path, seconds: float) -> None:
    """Write into the card minutes, versions, day and MB, and into README minutes and the tagged figures."""
    packages = ("jax", "numpy", "matplotlib", "ipywidgets")
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    verified = f"{datetime.date.today().isoformat()}: Python {platform.python_version()}, {versions}"
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "card" in tags:
            minutes = f"{seconds / 60:.1f}"
            cell.source = row(cell.source, f"run on {os.cpu_count()} cores", f"{minutes} min (measured)")
            cell.source = row(cell.source, "last verified", verified)
            cell.source = row(cell.source, "data", size(needs(notebook)))
            read = re.findall(r"\*\*read\*\* (\d+) min", cell.source)[0]
            readme = ROOT / "README.md"
            line = re.compile(rf"(?m)^(\|[^|]*notebooks/{path.name}[^|]*\|[^|]*\|)[^|]*\|")
            files.write(readme, line.sub(rf"\g<1> {read} + {minutes} |", readme.read_text(encoding="utf-8")))
        if "readme" in tags:
            (data,) = [o.data for o in cell.outputs if {"image/png", "text/html"} & o.get("data", {}).keys()]
            name = "readme.png" if "image/png" in data else "readme.gif"
            figure = data.get("image/png") or data["text/html"].split("base64,")[1].split('"')[0]
            files.write(ROOT / "docs" / name, base64.b64decode(figure))


def needs(notebook: NotebookNode) -> set[str]:
    """The store's paths of what the code loads: splits and labels of Fashion-MNIST, and runs.

    A run is named in a cell that loads one or hands on to it: written out, or by an f-string such as f"n{n}" that
    gives its name with constants of such cells.
    """
    cells = [ast.parse(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    nodes = [node for cell in loading(cells) for node in ast.walk(cell)]
    read = [n for node in nodes if isinstance(node, ast.Subscript) for n in ast.walk(node.slice)]  # in a record
    nodes = [node for node in nodes if node not in read]
    values = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    shelf = zoo.entries().keys() & store.names().keys()
    nets = shelf & values
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else "(.+)" for p in node.values]
            matches = {name: re.fullmatch("".join(parts), name) for name in shelf}
            nets |= {name for name, m in matches.items() if m and m.groups() and values.issuperset(m.groups())}
    images, folders = set(), set()
    for call in (node for cell in cells for node in ast.walk(cell) if isinstance(node, ast.Call)):
        options = {k.arg: ast.unparse(k.value) for k in call.keywords}
        match ast.unparse(call.func):
            case "dg.load":
                split = "t10k" if options.get("split") == "'test'" else "train"
                images |= {f"{split}-images-idx3"} | ({f"{split}-labels-idx1"} if "classes" in options else set())
            case "dg.zoo.data" | "dg.zoo.held_out" as of:
                asked = {str(n.value) for n in ast.walk(call) if isinstance(n, ast.Constant)} | nets
                classes = any(zoo.run(name).classes for name in asked & zoo.entries().keys())
                splits = ("train", "t10k") if of == "dg.zoo.held_out" else ("train",)
                kinds = ("images-idx3", "labels-idx1") if classes else ("images-idx3",)
                images |= {f"{split}-{kind}" for split in splits for kind in kinds}
            case "dg.zoo.own":
                nets |= {INSTEAD[str(ast.literal_eval(call.args[0]))]}
            case "store.tree":
                folders |= {str(ast.literal_eval(call.args[0]))}
            case "data.labels":
                images |= {"train-labels-idx1"}
    files = {path for path in store.registry() if path.startswith(tuple(f"{name}/" for name in folders))}
    files |= {f"fashion-mnist/{name}-ubyte.gz" for name in images}
    return files | {f"zoo/{name}.safetensors" for name in nets}


def loading(cells: list[ast.Module]) -> list[ast.Module]:
    """The cells that load a run, also by a function of an earlier one, and those that bind names which they use."""

    def loads(node: ast.AST) -> bool:
        called = re.search(r"zoo\.(load|record|losses)\b", ast.unparse(node))
        return called is not None or not functions.isdisjoint(names(node, ast.Load))

    def bound(cell: ast.AST) -> set[str]:  # for good, not inside a comprehension
        assigned = [t for node in ast.walk(cell) if isinstance(node, ast.Assign) for t in node.targets]
        looped = [node.target for node in ast.walk(cell) if isinstance(node, ast.For)]
        return set().union(*(names(target, ast.Store) for target in assigned + looped))

    functions: set[str] = set()
    for node in (node for cell in cells for node in ast.walk(cell)):
        if isinstance(node, ast.FunctionDef) and loads(node):
            functions.add(node.name)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda) and loads(node.value):
            functions |= names(node, ast.Store)
    found = [cell for cell in cells if loads(cell)]
    for cell in found:  # which grows meanwhile
        free = names(cell, ast.Load) - names(cell, ast.Store)
        found += [other for other in cells if other not in found and bound(other) & free]
    return found


def names(node: ast.AST, context: type) -> set[str]:
    """The variables that some code reads (ast.Load) or binds (ast.Store)."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def size(paths: set[str]) -> str:
    """What the files of the store weigh, in a card's words."""
    weighs = {path: store.registry()[path][1] / 1e6 for path in paths}
    images = sum(weight for path, weight in weighs.items() if path.startswith("fashion-mnist"))
    nets, count = sum(weighs.values()) - images, sum(path.endswith(".safetensors") for path in paths)
    parts = [f"{images:.1f} MB of images"] if images else []
    parts += [f"{nets:.1f} MB of {count} network{'s' * (count > 1)}"] if count else []
    return " and ".join(parts) + ", downloaded once unless you work in a clone of the repository"


def row(card: str, name: str, value: str) -> str:
    """The card, a line of ``**name** value`` with dots between, with another value for a name."""
    return re.sub(rf"(?<=\*\*{name}\*\* )[^·]*?(?= ·|$)", lambda _: value, card)


def write(notebook: NotebookNode, path: Path) -> None:
    nbformat.validate(notebook)
    files.write(path, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    sys.exit(main())
