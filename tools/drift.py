"""What Colab ships now against what the tests take for it: python tools/drift.py FREEZE

FREEZE: the output of `pip freeze` in Colab, in a file. Prints each package of tests/colab/requirements.txt that has
another version there and counts for these notebooks; ends with status 1 where there is one.
"""

import re
import sys
from pathlib import Path

import colab

COUNT = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "matplotlib",
    "ipywidgets",
    "ipython",
    "ipykernel",
    "pillow",
    "traitlets",
)
"""What a notebook imports or is shown by."""


def drifted(freeze: str) -> dict[str, tuple[str, str]]:
    """Name to (our pin, Colab's version) where they differ; raises ValueError for a text that is no pip freeze."""
    there = {colab.canonical(n): v for n, v in re.findall(r"(?m)^([\w.-]+)==(\S+)$", freeze)}
    if not there:
        raise ValueError("got no line NAME==VERSION; needs the output of pip freeze")
    pins = {name: version for name, version in colab.pins().items() if name in COUNT}
    return {n: (v, there.get(n, "missing")) for n, v in pins.items() if there.get(n, "missing").split("+")[0] != v}


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = drifted(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name, (ours, theirs) in found.items():
        print(f"{name}: tests/colab/requirements.txt has {ours}, Colab {theirs}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
