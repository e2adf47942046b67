"""Arguments drawn by chance, on which a reader's function and its kernel are compared."""

import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial


def clusters(rng: np.random.Generator) -> tuple:
    """Points in the plane, a level, three centres with shares, and their width."""
    x, centres = rng.normal(0, 2, (5, 2)).astype("f4"), rng.normal(0, 1, (3, 2)).astype("f4")
    return x, np.float32(rng.uniform(0.5, 2)), centres, rng.dirichlet(np.ones(3)).astype("f4"), np.float32(0.2)


def bend(x, sigma):
    """A denoiser that is not linear."""
    return jnp.tanh(x) / (1 + sigma)


def step(rng: np.random.Generator) -> tuple:
    """A denoiser, noisy images, and two levels."""
    return (
        Partial(bend),
        images(rng, 3),
        np.float32(rng.uniform(2, 3)),
        np.float32(rng.uniform(1, 2)),
    )


def differences(rng: np.random.Generator, k: int) -> tuple[np.ndarray, ...]:
    """k differences from D_G at the same noisy images, related as those of networks of the same images are."""
    g = rng.standard_normal((7, 5))
    return tuple((rng.uniform(0.4, 0.9) * g + 0.2 * rng.standard_normal((7, 5))).astype("f4") for _ in range(k))


def kinds(rng: np.random.Generator) -> tuple:
    """Noisy points of five numbers, a level, and three Gaussians."""
    U = np.linalg.qr(rng.standard_normal((3, 5, 5)))[0].astype("f4")
    x, u = (rng.standard_normal((k, 5)).astype("f4") for k in (4, 3))
    lam, pi = rng.uniform(0.1, 2, (3, 5)).astype("f4"), rng.dirichlet(np.ones(3)).astype("f4")
    return x, np.float32(rng.uniform(0.5, 1.5)), pi, u, U, lam


def window(rng: np.random.Generator) -> tuple:
    """An image, a level, six stored images, a place, and half of a window."""
    x, y = rng.uniform(-1, 1, (9, 9)).astype("f4"), rng.uniform(-1, 1, (6, 9, 9)).astype("f4")
    return x, np.float32(rng.uniform(0.5, 1.5)), y, *map(int, rng.integers(2, 7, 2)), int(rng.integers(1, 3))


def answers(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Answers of two denoisers, (levels, images, d)."""
    return tuple(rng.standard_normal((3, 6, 8)).astype("f4") for _ in range(2))


def images(rng: np.random.Generator, k: int) -> np.ndarray:
    """Small images in [-1, 1]."""
    return rng.uniform(-1, 1, (k, 4, 4, 1)).astype(np.float32)


def moments(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mean, components and variances."""
    z = rng.standard_normal((16, 16))
    return images(rng, 1)[0], np.linalg.qr(z)[0].astype("f4"), np.sort(rng.uniform(0.1, 9, 16))[::-1].astype("f4")


def regression(rng: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and answers that depend on them through a matrix, an offset and a bend."""
    x = rng.normal(1, 2, (n, 6)).astype("f4")
    return x, (x @ rng.normal(0, 1, (6, 6)) + rng.normal(0, 1, 6) + np.tanh(x)).astype("f4")


def pairs(rng: np.random.Generator) -> tuple:
    """A denoiser that is not linear, noisy images in pairs, a level, and a mean."""
    sigma = np.float32(rng.uniform(0.3, 1))
    return Partial(bend), images(rng, 4), images(rng, 4), sigma, 0.3 * images(rng, 1)[0]


def scaled(a, x, sigma):
    """A denoiser of one number for each pixel."""
    return a[None] * x / (1 + sigma[:, None, None, None])


def batch(rng: np.random.Generator) -> tuple:
    """A denoiser of one trained number for each pixel, clean images, levels and noise."""
    D = Partial(scaled, rng.uniform(0.1, 0.9, (4, 4, 1)).astype("f4"))
    return D, images(rng, 5), rng.uniform(0.2, 3, 5).astype("f4"), rng.standard_normal((5, 4, 4, 1)).astype("f4")


def training(rng: np.random.Generator) -> tuple:
    """A network, the state of its optimizer, a batch, and a rate."""
    D, x0, sigma, eps = batch(rng)
    moments = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.0)).init(D)  # type: ignore[arg-type]
    return D, moments, x0, sigma, eps, np.float32(rng.uniform(0.01, 0.1))


def copies(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, the first three nearly equal to stored ones, and the stored ones."""
    y = images(rng, 6)
    return np.concatenate([y[:3] + 0.01 * images(rng, 3), images(rng, int(rng.integers(2, 6)))]), y


def loss(rng: np.random.Generator) -> tuple:
    """A batch, and the standard deviation of the data."""
    return *batch(rng), rng.uniform(0.2, 2)


def predicted(rng: np.random.Generator) -> tuple:
    """Noisy images, their level, and what a network answered."""
    return 2 * images(rng, 3), np.float32(rng.uniform(0.3, 3)), images(rng, 3)


def schedule(rng: np.random.Generator) -> tuple:
    """Levels in between those of a schedule, and its levels and times."""
    sigmas = np.cumsum(rng.uniform(0.5, 2, 12)).astype("f4")
    return rng.uniform(sigmas[0], sigmas[-1], 5).astype("f4"), sigmas, np.arange(12).astype("f4")


def two_networks(rng: np.random.Generator) -> tuple:
    """Two networks, and a decay."""
    return batch(rng)[0], batch(rng)[0], rng.uniform()


def mixture(rng: np.random.Generator) -> tuple:
    """Noisy images in pairs, a weight, and a mean."""
    return images(rng, 3), images(rng, 3), np.float32(rng.uniform(0.2, 0.9)), images(rng, 1)[0]
