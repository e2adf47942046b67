"""Write the beginning of a notebook: the order of cells and the tags of those written anew, with an example.

python tools/new.py notebooks/10_my_topic.ipynb "Find out what sneakers have in common"

Each cell says what belongs there. `python tools/execute.py` runs it, and tests/notebooks holds it to the template.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from execute import ROOT, write
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CHECK = ["nbval-check-output", "hide-input"]
PLOT = ["hide-input"]
SOLUTION = ["solution", "nbval-check-output"]

CARD = """**read** 3 min · **run on 2 cores** 0.1 min (measured) · **run on a GPU** not measured · **data** – · \
**before this** which notebooks, or the one formula of them that is needed · \
**in the papers** authors (year), section or figure · **last verified** never"""

FIRST = """import jax
import jax.numpy as jnp
import numpy as np

from diffgauss import plots

key = jax.random.key(0)  # each section folds in its own number, so cells may run in any order
sneakers = jnp.asarray(dg.zoo.data("sneaker-n64"))
held_out = jnp.asarray(dg.zoo.held_out("sneaker-n64"))  # sneakers that nothing here has seen"""

FRONT = """fig, ax = plots.figure(size=(7.2, 1.2))
plots.images([sneakers[:8]], ax=ax)
plots.show(fig, "What the picture shows, in a sentence or two: here, eight sneakers in a row.")"""

OBJECTIVES = """**After this notebook you can**

1. say what a picture of the finding shows;
2. write the algorithm that it rests on;
3. break it, and say what broke."""

WORDS = r"""## Words and letters

| letter | meaning |
|---|---|
| $x$ | a noisy image |
| $\sigma$ | the noise level |
| $y_1,\dots,y_N$ | the training images |
| $D_M$ | the empirical optimal denoiser |
| $d$ | the number of pixels |

More words are in the [glossary](../docs/glossary.md)."""

THEORY = r"""Theory in at most 150 words, with one displayed equation and its number:

$$\mathrm{GL}=\frac1k\sum_{i=1}^k\frac{\|x_i-\mathrm{NN}(x_i)\|}{\|x_i\|}.\tag{9}$$

Then the reader writes it."""

WRITE = '''def GL(x, y):
    """Equation 9, for samples x (k, 28, 28, 1) and training images y (N, 28, 28, 1)."""
    # BEGIN SOLUTION
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    nearest = jnp.sqrt(((x[:, None] - y[None]) ** 2).sum(-1)).min(1)
    return (nearest / jnp.sqrt((x**2).sum(1))).mean()
    # END SOLUTION

GL = dg.lesson.written(GL)'''

MEASURE = """def noisy(sigma):
    return sneakers + sigma * jax.random.normal(jax.random.fold_in(key, 1), sneakers.shape)

distance = {sigma: float(GL(noisy(sigma), sneakers)) for sigma in (0.01, 0.1, 1.0)}
dg.lesson.predicted(guess, distance[1.0], "GL of images with noise of level 1")"""

FIGURE = """fig, ax = plots.figure(size=(5.0, 3.0))
plots.curves(list(distance), {"training images + noise": list(distance.values())}, ax=ax)
ax.set(xscale="log", xlabel="noise level σ", ylabel="GL")
plots.show(fig, "What the figure shows: here, GL rises with the noise level.")"""


def cells(title: str, number: int, setup: NotebookNode) -> list[NotebookNode]:
    """All cells, in order."""

    def text(source: str, *tags: str) -> NotebookNode:
        return new_markdown_cell(source, metadata={"tags": list(tags)} if tags else {})

    def code(source: str, tags: list[str] | None = None) -> NotebookNode:
        return new_code_cell(source, metadata={"tags": tags} if tags else {})

    head = f"# {title}\n\nNotebook {number} of *diffgauss*. Previous: … Next: …\n\n<!-- badges --><!-- /badges -->"
    exercise = f"**{number}a, change the experiment (5 min).** Another N, width, data set or σ: what changes?"
    return [
        text(head),
        setup,
        code(FIRST),
        code(FRONT, PLOT),
        text("What the picture shows, and **the question that it raises**."),
        text(CARD, "card"),
        text(OBJECTIVES),
        text(WORDS),
        text("## 1. A section\n\n**Predict.** A question that is answered by a number, a choice or a slider."),
        code("guess = None  # a number"),
        text(THEORY),
        code(WRITE, SOLUTION),
        code(MEASURE),
        code('dg.lesson.check(1, distance[1.0], 1, tol=0.3, text="GL of images with noise of level 1")', CHECK),
        code(FIGURE, PLOT),
        text("**What you should see.** The result, and what it means: here about **1** at $\\sigma=1$."),
        text("## 2. Try to break it\n\n**Predict.** A control that must fail: (a) it fails, (b) it passes."),
        code('guess = None  # "a" or "b"'),
        code('control = distance[0.01]\ndg.lesson.predicted(guess, "a", "what the control does")'),
        code('dg.lesson.check(2, control, below=0.1, text="the control: nearly no noise")', CHECK),
        text(f"## 3. Exercises\n\n{exercise}\n\n**Open question.** One that you cannot answer either."),
        text("## Claims\n\nA short table by `dg.lesson.ledger`, or why there is none."),
        code('dg.lesson.check(3, 3, 3, tol=0, text="sentences in the summary")', CHECK),
        text("## Summary\n\n1. One.\n2. Two.\n3. Three.\n\n**Quiz.** …\n\n**References.** …"),
        code("dg.lesson.summary()", CHECK),
    ]


def made(path: Path, title: str) -> NotebookNode:
    """The notebook for a path NN_name.ipynb. Raises ValueError for another name and for an empty title."""
    number = re.fullmatch(r"(\d\d)_\w+\.ipynb", path.name)
    if number is None or not title.strip():
        raise ValueError(f"got {path.name!r} and title {title!r}; needs NN_name.ipynb and a title with a verb")
    first = nbformat.read(min((ROOT / "notebooks").glob("[0-9]*.ipynb")), as_version=4)
    (setup,) = [cell for cell in first.cells if "setup" in cell.metadata.get("tags", [])]
    return new_notebook(cells=cells(title.strip(), int(number[1]), setup), metadata=first.metadata)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("title")
    options = parser.parse_args()
    try:
        if options.path.exists():
            raise ValueError(f"{options.path} exists; needs the name of a new notebook")
        write(made(options.path, options.title), options.path)
    except ValueError as error:
        print(f"new.py: {error}", file=sys.stderr)
        return 1
    print(f"{options.path}; next: python tools/execute.py {options.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
