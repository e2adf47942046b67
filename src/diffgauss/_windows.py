"""Windows around the places of an image: which places each holds, and which windows are cut alike."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def band(n: int, size: int) -> np.ndarray:
    """1 where two of n places are less than half a size apart: (n, n)."""
    place = np.arange(n)
    return abs(place[:, None] - place[None]) <= size // 2


def alike(bands: Float[Array, " b n n"], size: Float[Array, " b"], shift: Int[Array, ""]) -> Bool[Array, " b n"]:
    """Where the window and the one a shift further are cut in the same way: not at all, or the shift is none."""
    whole = bands.sum(2) == size[:, None]
    return (shift == 0) | (whole & jnp.roll(whole, -shift, 1))


def shifts(h: int, w: int, size: int) -> np.ndarray:
    """All moves, modulo h and w, that take a whole window inside an image to another, no move first: (s, 2)."""
    steps = [_steps(n, max(n - size, 0)) for n in (h, w)]
    return np.stack([m.ravel() for m in np.meshgrid(*steps, indexing="ij")], 1).astype(np.int32)


def _steps(n: int, most: int) -> np.ndarray:
    return np.arange(n) if most >= n // 2 else np.r_[0 : most + 1, -most:0]
