"""What ``diffgauss tour`` measures on: images, held-out ones, and four denoisers at ten levels."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from diffgauss.core import Denoiser
from diffgauss.denoisers.empirical import EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.measures.distance import digests
from diffgauss.train import TrainConfig

LEVELS = 10
"""As many noise levels as in Li et al. (2024)."""

PAIRS, SAMPLES = 200, 100
"""Noisy images for each number, and samples of each denoiser."""

DISTILLED, RANK, EACH = 4096, 256, 10
"""Noisy images a level that D_L is fitted to, the most components it has, and held-out images for each of these."""


def components(D_G: GaussianDenoiser, test: np.ndarray) -> int:
    """Along how many principal components D_L may differ from D_G: with more of them it would fit a few images."""
    return max(1, min(RANK, len(D_G.lam), len(test) // EACH))


def copies(train: np.ndarray, test: np.ndarray) -> tuple[int, int]:
    """How many training images are exact copies of others, and how many held-out ones of training images."""
    seen = set(digests(train))
    return len(train) - len(seen), sum(digest in seen for digest in digests(test))


@dataclass(frozen=True)
class Case:
    """train, test: shuffled images (N, s, s, c); D_θ: the network, with config and losses; D_L: its linear map.

    D_G and D_M are the Gaussian and the empirical denoiser of train; key: of all noise; sigmas: the noise levels.
    """

    train: np.ndarray
    test: np.ndarray
    D_θ: Denoiser
    D_L: Denoiser
    D_G: GaussianDenoiser
    D_M: EmpiricalDenoiser
    config: TrainConfig
    losses: np.ndarray
    key: jax.Array
    sigmas: jax.Array

    @property
    def all(self) -> dict[str, Denoiser]:
        """The denoisers by the names that figures and tables give them."""
        return {"D_θ": self.D_θ, "D_L": self.D_L, "D_G": self.D_G, "D_M": self.D_M}

    @property
    def noise(self) -> jax.Array:
        """Where all samples start: (SAMPLES, s, s, c), noise of the first level."""
        shape = SAMPLES, *self.train.shape[1:]
        return self.sigmas[0] * jax.random.normal(jax.random.fold_in(self.key, 100), shape)

    def noisy(self, images: np.ndarray, level: int) -> tuple[jax.Array, jax.Array]:
        """PAIRS images, repeated where there are fewer, and the same with noise of sigmas[level]."""
        x0 = jnp.asarray(images[np.arange(PAIRS) % len(images)])
        return x0, x0 + self.sigmas[level] * jax.random.normal(jax.random.fold_in(self.key, level), x0.shape)

    def over_levels(self, measure: Callable, images: np.ndarray) -> np.ndarray:
        """measure(x0, x, σ) of clean and noisy images at each of the ten levels: (10,)."""
        return np.array([float(measure(*self.noisy(images, i), self.sigmas[i])) for i in range(LEVELS)])
