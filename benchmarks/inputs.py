"""What every candidate is run on, ours and the peers'."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import diffgauss as dg


@dataclass(frozen=True)
class Settings:
    """Sizes of the inputs; distilled: levels, of so many pairs each; rounds: how often a candidate has its turn."""

    points: int = 60_000
    batch: int = 256
    sampler_batch: int = 64
    levels: int = 18
    sizes: tuple[int, ...] = (1_000, 4_000, 16_000, 60_000)
    distilled: int = 10
    pairs: int = 16_384
    rounds: int = 7


QUICK = Settings(points=4_000, batch=64, sampler_batch=16, sizes=(1_000, 4_000), distilled=1, pairs=2_048, rounds=3)


@dataclass(frozen=True)
class Inputs:
    """points (N, 28, 28, 1); x: test images with noise at σ = 1; noise: at the first level of the grid."""

    points: np.ndarray
    x: jax.Array
    noise: jax.Array
    sigmas: jax.Array
    D_M: dg.EmpiricalDenoiser
    D_G: dg.GaussianDenoiser
    folder: Path

    def write(self) -> None:
        """Into the folder, for the other processes."""
        arrays = {"points": self.points, "x": self.x, "noise": self.noise, "sigmas": self.sigmas}
        arrays |= {name: getattr(self.D_G, name) for name in ("mean", "U", "lam")}
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", np.asarray(array))


def inputs(s: Settings, folder: Path) -> Inputs:
    points, fresh = dg.subset(dg.load(), s.points, seed=0), dg.load(split="test")[: s.batch]
    eps = np.random.default_rng(0).normal(size=fresh.shape).astype(np.float32)
    sigmas = dg.karras_sigmas(s.levels)
    return Inputs(
        points=points,
        x=jnp.asarray(fresh + eps),
        noise=sigmas[0] * jnp.asarray(eps),
        sigmas=sigmas,
        D_M=dg.EmpiricalDenoiser.from_data(points),
        D_G=dg.GaussianDenoiser.from_data(points),
        folder=folder,
    )
