"""How far apart two denoisers are, and how new a sample is."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss import parallel
from diffgauss.blocks import in_blocks
from diffgauss.core import Denoiser, Sigma, apply, check_denoiser, check_event, check_points


def score_rmse(D1: Denoiser, D2: Denoiser, x: Float[Array, " b *event"], sigma: Sigma) -> Float[Array, ""]:
    """E √(‖D₁(x; σ) − D₂(x; σ)‖²/d) over the batch x of *noisy* points, in units of the data.

    The difference is of denoiser outputs, not divided by σ². Raises TypeError for a D that is no pytree.
    Li et al. (2024), Eq. 6.
    """
    check_denoiser(D1)
    check_denoiser(D2)
    return _score_rmse(D1, D2, x, sigma)


@jax.jit
def _score_rmse(D1, D2, x, sigma):
    difference = (D1(x, sigma) - D2(x, sigma)).reshape(len(x), -1)
    return jnp.sqrt((difference**2).mean(-1)).mean()


def noisy(
    images: ArrayLike, sigma: float | np.floating | Array, k: int = 256, *, key: Array
) -> Float[Array, " k *event"]:
    """x₀ + σε for k of the images drawn by chance: (k, *event). One key draws the same images and ε at every σ."""
    pick, noise = jax.random.split(key)
    x0 = jnp.asarray(images)[jax.random.randint(pick, (k,), 0, np.shape(images)[0])]
    return x0 + sigma * jax.random.normal(noise, x0.shape)


def rmse(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equation 6 for each level, and half of its 95 % interval over images: (levels, b, d) → (levels,) each."""
    each = np.sqrt(((a - b) ** 2).mean(-1))
    return each.mean(1), 1.96 * each.std(1) / each.shape[1] ** 0.5


def gap(
    D1: Denoiser, D2: Denoiser, images: ArrayLike, sigmas: ArrayLike, k: int = 256, *, key: Array
) -> tuple[float, float]:
    """The mean of equation 6 over the levels (equation 16), and half of its 95 % interval over k noisy images."""
    levels = [(s, noisy(images, s, k, key=key)) for s in np.asarray(sigmas)]
    each = [np.sqrt(((apply(D1, y, s) - apply(D2, y, s)) ** 2).reshape(k, -1).mean(-1)) for s, y in levels]
    g = np.mean(each, 0)
    return float(g.mean()), float(1.96 * g.std() / k**0.5)


class Nearest(NamedTuple):
    """distances: (b, k) Euclidean, smallest first; indices: (b, k) rows of the data."""

    distances: np.ndarray
    indices: np.ndarray


def nearest(
    samples: ArrayLike, data: ArrayLike, *, k: int = 1, block: int = 1024, mesh: Mesh | None = None
) -> Nearest:
    """argminᵢ ‖x − yᵢ‖₂, the k nearest rows of data for each sample, streamed: memory flat in both. For equation 9.

    samples: (b, *event); data: (N, *event). Neighbours are found in float32 and their distances then computed
    directly in float64, so a copy has distance exactly 0. mesh: search a part of the data on each device.
    Raises ValueError for other shapes, NaN, or k > N.
    """
    check_points(data, at_least=max(k, 1))
    check_points(samples, "samples", at_least=1)
    check_event(samples, np.shape(data)[1:], "samples")
    if k < 1:
        raise ValueError(f"k = {k}; needs k ≥ 1 neighbours")
    data, samples = np.asarray(data), np.asarray(samples)
    y, x = data.reshape(len(data), -1), samples.reshape(len(samples), -1)
    mean = y.mean(0, dtype=np.float64)
    queries, blocks = np.asarray(x - mean, jnp.zeros(()).dtype), in_blocks(y, block, mean, mesh)
    index = np.asarray(_nearest(queries, blocks, k=k, mesh=mesh))
    distance = np.stack([np.linalg.norm(x.astype(np.float64) - y[i], axis=-1) for i in index.T], -1)
    order = np.argsort(distance, -1, kind="stable")
    return Nearest(np.take_along_axis(distance, order, -1), np.take_along_axis(index, order, -1))


@partial(jax.jit, static_argnames=("k", "mesh"))
def _nearest(x, blocks, *, k, mesh):
    def best(blocks):
        def search(x):  # one query; lax.map runs 256 at a time
            def step(best, block):
                y, half_norm, row = block
                closeness = jnp.matmul(y, x, precision="highest") - half_norm
                return _top(k, (best[0], closeness), (best[1], row)), None

            none = jnp.full(k, -jnp.inf, x.dtype), jnp.full(k, -1, jnp.int32)
            return lax.scan(step, none, blocks)[0]

        return lax.map(search, x, batch_size=256)

    def best_of_all(blocks):
        value, row = (lax.all_gather(part, parallel.AXIS, axis=1, tiled=True) for part in best(blocks))
        return jax.vmap(lambda v, r: _top(k, (v,), (r,)))(value, row)

    return (best(blocks) if mesh is None else parallel.over(best_of_all, mesh)(blocks))[1]


def _top(k, values, rows):
    """The k largest of all values and their rows."""
    value, place = lax.top_k(jnp.concatenate(values), k)
    return value, jnp.concatenate(rows)[place]


class Generalization(NamedTuple):
    """GL: the generalization score, 0 for copies; memorized: the share of samples that are near-copies."""

    GL: float
    memorized: float


def generalization(samples: ArrayLike, data: ArrayLike, *, block: int = 1024) -> Generalization:
    """GL = (1/k) Σᵢ ‖xᵢ − NN(xᵢ)‖₂/‖xᵢ‖₂, and the share of samples with ‖x − NN₁(x)‖ < ‖x − NN₂(x)‖/3.

    samples: (k, *event); data: (N, *event), N ≥ 2, the training set. Calibrate GL by the value of held-out
    real images. Raises ValueError for other shapes, NaN, or a sample of norm 0.
    Li et al. (2024), Sec. 2 (the ratio of norms); the share: Bonnaire et al. (2025).
    """
    check_points(data, at_least=2)
    found = nearest(samples, data, k=2, block=block)
    norms = np.linalg.norm(np.asarray(samples, np.float64).reshape(len(found.indices), -1), axis=-1)
    if not norms.all():
        raise ValueError(f"samples[{int(np.argmin(norms))}] has norm 0; GL divides by ‖x‖ and needs it > 0")
    first, second = found.distances.T
    return Generalization(float((first / norms).mean()), float(((first < second / 3) | (first == 0)).mean()))
