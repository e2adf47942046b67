"""The networks that a reader trained: kept beside the notebooks, and taken along from one to the next."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from diffgauss.denoisers.network import EDMDenoiser
from diffgauss.zoo import checkpoint, collection
from diffgauss.zoo.runs import run

FOLDER = Path("my_networks")
"""In the folder where the notebook runs."""

INSTEAD = {"many": "sneaker-n3000", "few": "sneaker-n16"}
"""The zoo's networks of the same images, for readers who have not trained their own."""


class Own(NamedTuple):
    """D: the denoiser; whose: "yours", or which run of the zoo it is."""

    D: EDMDenoiser
    whose: str


def keep(name: str, weights: Any, **facts: Any) -> Path:
    """Write a network of a reader to my_networks/, for ``own``; the file.

    name: "many" or "few"; weights: a pytree with the leaves of ``UNet.tiny`` on 28×28×1, in its order; facts: what
    is to be remembered of it. Raises ValueError for another name or other weights.
    """
    like = _like(name)
    found, wanted = ([leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (weights, like))
    if found != wanted:
        numbers = [sum(int(np.prod(shape)) for shape in shapes) for shapes in (found, wanted)]
        raise ValueError(f"got {numbers[0]} weights; needs the {numbers[1]} of UNet.tiny, each of its shape")
    path = FOLDER / f"{name}.safetensors"
    checkpoint.save(path, jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(weights)), **facts)
    return path


def own(name: str) -> Own:
    """The network that ``keep`` wrote here, or else the zoo's of the same images.

    name: "many", of 3000 sneakers, or "few", of 16. Raises ValueError for another name or a damaged file.
    """
    like, path = _like(name), FOLDER / f"{name}.safetensors"
    if not path.exists():
        return Own(collection.load(INSTEAD[name]), f"the zoo's {INSTEAD[name]}")
    return Own(checkpoint.load(path, like), "yours")


def _like(name: str) -> EDMDenoiser:
    if name not in INSTEAD:
        raise ValueError(f"got {name!r}; needs one of {', '.join(INSTEAD)}")
    return collection.untrained(run(INSTEAD[name]))
