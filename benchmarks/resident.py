"""`python resident.py FOLDER N`: megabytes of resident memory that D_M over N images takes beyond its own arrays.

A fresh process for each N: memory that an earlier call gave back would hide what this one takes.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from timing import resident_growth

import diffgauss as dg

if __name__ == "__main__":
    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    D = dg.EmpiricalDenoiser.from_data(np.load(folder / "points.npy")[:n])
    x, sigma = jnp.asarray(np.load(folder / "x.npy")), jnp.float32(1)
    compiled = jax.jit(lambda D, x, sigma: D(x, sigma)).lower(D, x, sigma).compile()
    jax.block_until_ready((D, x, sigma))
    print(resident_growth(lambda: jax.block_until_ready(compiled(D, x, sigma))))
