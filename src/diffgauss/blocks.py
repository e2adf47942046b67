"""A softmax average over more points than fit in memory: one pass, block by block."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from diffgauss import parallel

FAR = 1e15  #: half norm of padding, far above that of points: weight 0 for σ from 1e-10 to 1e6, and finite


def softmax_mean(
    score: Callable[[Any], Float[Array, " b m"]],
    mix: Callable[[Float[Array, " b m"], Any], Float[Array, " b *out"]],
    blocks: Any,
    mesh: Mesh | None = None,
    *,
    beta: Float[Array, " b"] | float = 1.0,
) -> tuple[Float[Array, " b *out"], Float[Array, " b"]]:
    """Σᵢ e^{βsᵢ} vᵢ / Z with Z = Σᵢ e^{βsᵢ}, and log Z, for any number of blocks in the memory of one.

    blocks: a pytree with a leading axis of blocks; score(block): the scores sᵢ of its m members for each of b
    queries; mix(w, block): Σ w v over the block; mesh: split the blocks over its devices. The running maximum is
    subtracted before β multiplies, so no exponent is above 0.  Milakov & Gimelshein (2018), Algorithm 3.
    """
    if mesh is not None:
        return parallel.over(lambda part: parallel.merge(*softmax_mean(score, mix, part, beta=beta)), mesh)(blocks)

    def step(carry, block):
        top, total, mean = carry
        scores = score(block)
        new_top = jnp.maximum(top, scores.max(-1))
        weights = jnp.exp(scale[:, None] * (scores - new_top[:, None]))
        shrink = jnp.exp(scale * jnp.where(jnp.isinf(top), 0, top - new_top))  # nothing is there to shrink at first
        part = mix(weights, block)
        mean = mean * shrink.reshape(shrink.shape + (1,) * (part.ndim - 1)) + part
        return (new_top, total * shrink + weights.sum(-1), mean), None

    first = jax.tree.map(lambda leaf: leaf[0], blocks)
    scores = jax.eval_shape(score, first)
    out = jax.eval_shape(mix, scores, first)
    scale = jnp.broadcast_to(jnp.asarray(beta, scores.dtype), scores.shape[:1])
    start = jnp.full_like(scale, -jnp.inf), jnp.zeros_like(scale), jnp.zeros(out.shape, out.dtype)
    (top, total, mean), _ = lax.scan(step, start, blocks)
    return mean / total.reshape(total.shape + (1,) * (mean.ndim - 1)), scale * top + jnp.log(total)


def of_points(z: Float[Array, " b d"]) -> tuple[Callable, Callable]:
    """score and mix for blocks (y, ‖y‖²/2): scores −‖z − y‖²/2 + ‖z‖²/2, values y.  Equation 4 with β = 1/σ²."""

    def score(block):
        y, half_norm = block
        return jnp.matmul(z, y.T, precision="highest") - half_norm[None]

    def mix(weights, block):
        return jnp.matmul(weights, block[0], precision="highest")

    return score, mix


def in_blocks(
    points: np.ndarray, block: int, center: np.ndarray, mesh: Mesh | None = None, *, order: np.ndarray | None = None
) -> tuple[Float[Array, " n_blocks m d"], Float[Array, " n_blocks m"], Int[Array, " n_blocks m"]]:
    """yᵢ − c in blocks of m ≤ block rows, ‖yᵢ − c‖²/2, and the row numbers i; mesh: an equal share on each device.

    points: (N, d); center: c, (d,) float64, by whose subtraction ‖x‖²/2 − x·y + ‖y‖²/2 is accurate in float32;
    order: of the rows, by default as they are. Padding is rows at c with number −1 and half norm ``FAR``: weight 0.
    It comes last on each device: no device sees a maximum that is padding's, whose rounding exp would blow up.
    Raises ValueError unless block ≥ 1 and there is a point for each device.  For equation 4.
    """
    n, shares = len(points), 1 if mesh is None else mesh.size
    if block < 1:
        raise ValueError(f"block = {block}; needs block ≥ 1 points")
    if n < shares:
        raise ValueError(f"got {n} points; needs at least one for each of {shares} devices")
    share = -(-n // shares)
    m = min(block, share)
    rows = np.full((shares, -(-share // m) * m), -1)
    for row, part in zip(rows, np.array_split(np.arange(n) if order is None else order, shares), strict=True):
        row[: len(part)] = part
    rows = rows.reshape(-1, m).astype(np.int32)
    dtype = jnp.zeros(()).dtype

    def centred(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y − c of these rows, and their half norms."""
        y, half_norm = np.zeros((m, points.shape[1]), dtype), np.full(m, FAR, dtype)
        z = points[block[block >= 0]] - center
        y[: len(z)], half_norm[: len(z)] = z, np.einsum("ij,ij->i", z, z) / 2
        return y, half_norm

    if mesh is None:
        y, half_norms = jnp.zeros((*rows.shape, points.shape[1]), dtype), jnp.zeros(rows.shape, dtype)
        for i, block_rows in enumerate(rows):  # one by one, so that no second copy of all is made
            y, half_norms = _put((y, half_norms), centred(block_rows), i)
    else:
        parts = zip(*map(centred, rows), strict=True)
        y, half_norms = (parallel.split(np.stack(part), mesh) for part in parts)
    return y, half_norms, parallel.split(rows, mesh)


@partial(jax.jit, donate_argnums=0)
def _put(whole, part, i):
    return jax.tree.map(lambda a, b: lax.dynamic_update_index_in_dim(a, b, i, 0), whole, part)
