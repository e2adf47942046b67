"""What ours is measured against in the project's own environment: bare arithmetic, and dense float64 answers."""

import jax
import jax.numpy as jnp
import numpy as np


@jax.jit
def products(x, y):
    """The two matrix products of D_M at once: (b, N) in memory."""
    return jnp.matmul(jnp.matmul(x, y.T, precision="highest"), y, precision="highest")


@jax.jit
def products_in_blocks(x, blocks):
    """The same arithmetic, block by block: blocks (n_blocks, m, d)."""
    total, _ = jax.lax.scan(lambda total, y: (total + products(x, y), None), jnp.zeros_like(x), blocks)
    return total


def empirical64(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """D_M at σ = 1 in float64, one image at a time."""
    y, out = points.reshape(len(points), -1), []
    for one in x.reshape(len(x), -1).astype(np.float64):
        logits = -((y - one) ** 2).sum(1) / 2
        weights = np.exp(logits - logits.max())
        out.append(weights @ y / weights.sum())
    return np.stack(out)


@jax.jit
def solve(covariance, mean, x, sigma):
    """D_G at one level by a Cholesky factorisation: u + z − σ² (Σ + σ²I)⁻¹ z with z = x − u."""
    z = (x - mean[None]).reshape(len(x), -1).T
    factor = jax.scipy.linalg.cho_factor(covariance + sigma**2 * jnp.eye(len(covariance)))
    return (mean.ravel()[:, None] + z - sigma**2 * jax.scipy.linalg.cho_solve(factor, z)).T


def solve64(covariance: np.ndarray, mean: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """The same in float64, by numpy."""
    z = (x - mean).reshape(len(x), -1).T.astype(np.float64)
    return (mean.ravel()[:, None] + z - sigma**2 * np.linalg.solve(covariance + sigma**2 * np.eye(len(z)), z)).T
