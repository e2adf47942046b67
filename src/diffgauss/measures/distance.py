"""How far apart two denoisers are, and how new a sample is."""

import hashlib
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
from diffgauss.core import Denoiser, Points, Sigma, apply, check_event, check_points, checked


@checked
def score_rmse(D1: Denoiser, D2: Denoiser, x: Points, sigma: Sigma) -> Float[Array, ""]:
    """E √(‖D₁(x; σ) − D₂(x; σ)‖²/d) over the batch x of *noisy* points, in units of the data.

    Outputs are compared, not divided by σ². Raises TypeError for no pytree.  Li et al. (2024), Eq. 6 (v5: 10).
    """
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


ROWS = 4096  #: images on the device at a time


class Nearest(NamedTuple):
    """distances: (b, k) Euclidean, smallest first; indices: (b, k) rows of the data."""

    distances: np.ndarray
    indices: np.ndarray


def nearest(
    samples: ArrayLike, data: ArrayLike, *, k: int = 1, block: int = 1024, mesh: Mesh | None = None
) -> Nearest:
    """argminᵢ ‖x − yᵢ‖₂, the k nearest rows of data for each sample, streamed: memory is flat in N. For equation 9.

    samples: (b, *event); data: (N, *event). Neighbours are found in float32, their distances in float64: a copy's
    is exactly 0. mesh: search a part of data on each device. Raises ValueError for other shapes, NaN or k > N.
    """
    if k < 1:
        raise ValueError(f"k = {k}; needs k ≥ 1 neighbours")
    check_points(data, at_least=k)
    check_points(samples, "samples", at_least=1)
    check_event(samples, np.shape(data)[1:], "samples")
    y, x = (np.asarray(part).reshape(len(part), -1) for part in (data, samples))  # type: ignore[arg-type]
    mean = y.mean(0, dtype=np.float64)
    queries = np.asarray(x - mean, jnp.zeros(()).dtype)
    best, index = np.full((len(x), k), -np.inf, queries.dtype), np.full((len(x), k), -1)
    for rows in np.array_split(np.arange(len(y)), max(1, len(y) // ROWS)):
        blocks = in_blocks(y[rows[0] : rows[-1] + 1], block, mean, mesh)
        value, row = map(np.asarray, _nearest(queries, blocks, k=min(k, len(rows)), mesh=mesh))
        value, row = np.append(best, value, 1), np.append(index, rows[row], 1)
        order = np.argsort(-value, 1, kind="stable")[:, :k]
        best, index = np.take_along_axis(value, order, 1), np.take_along_axis(row, order, 1)
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

    return best(blocks) if mesh is None else parallel.over(best_of_all, mesh)(blocks)


def _top(k, values, rows):
    """The k largest of all values and their rows."""
    value, place = lax.top_k(jnp.concatenate(values), k)
    return value, jnp.concatenate(rows)[place]


def digests(images: ArrayLike) -> list[bytes]:
    """One of each image, the same for exact copies and for them alone."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in np.asarray(images)]


class Generalization(NamedTuple):
    """GL: the generalization score, 0 for copies; memorized: the share of samples that are near-copies."""

    GL: float
    memorized: float


def generalization(samples: ArrayLike, data: ArrayLike, *, block: int = 1024) -> Generalization:
    """GL = (1/k) Σᵢ ‖xᵢ − NN(xᵢ)‖₂/‖xᵢ‖₂, and the share of samples with ‖x − NN₁(x)‖ < ‖x − NN₂(x)‖/3.

    samples: (k, *event); data: (N, *event), the training set, of which two images differ; NN₂ is the nearest image
    that is no copy of NN₁. Calibrate GL by the value of held-out real images. Raises ValueError for other shapes,
    NaN, a sample of norm 0, copies of one image.  Li et al. (2024), Eq. 9 (v5: 14); share: Bonnaire et al. (2025).
    """
    check_points(data, at_least=2)
    data, first = np.asarray(data), np.unique(digests(data), return_index=True)[1]
    if len(first) < 2:
        raise ValueError(f"data holds {len(data)} copies of one image; needs at least two that differ")
    found = nearest(samples, data if len(first) == len(data) else data[np.sort(first)], k=2, block=block)
    norms = np.linalg.norm(np.asarray(samples, np.float64).reshape(len(found.indices), -1), axis=-1)
    if not norms.all():
        raise ValueError(f"samples[{int(np.argmin(norms))}] has norm 0; GL divides by ‖x‖ and needs it > 0")
    first, second = found.distances.T
    return Generalization(float((first / norms).mean()), float(((first < second / 3) | (first == 0)).mean()))
