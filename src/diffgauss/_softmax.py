"""A softmax average over more points than fit in memory: one pass, block by block."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

FAR = 1e15
"""Half norm of padding: weight 0 for every σ from 1e-10 to 1e6, and finite, so that gradients are too."""


def softmax_mean(
    score: Callable[[Any], Float[Array, " b m"]],
    mix: Callable[[Float[Array, " b m"], Any], Float[Array, " b *out"]],
    blocks: Any,
) -> tuple[Float[Array, " b *out"], Float[Array, " b"]]:
    """Σᵢ e^{sᵢ} vᵢ / Z with Z = Σᵢ e^{sᵢ}, and log Z, for any number of blocks in the memory of one.

    blocks: a pytree with a leading axis of blocks. score(block) gives the logits sᵢ of its m members for each
    of b queries; mix(w, block) gives Σ w v over the block. Two parts of a set merge by their log Z.
    The running maximum keeps every exponent ≤ 0.  Milakov & Gimelshein (2018), Algorithm 3.
    """

    def step(carry, block):
        top, total, mean = carry
        logits = score(block)
        new_top = jnp.maximum(top, logits.max(-1))
        weights = jnp.exp(logits - new_top[:, None])
        shrink = jnp.exp(top - new_top)
        part = mix(weights, block)
        mean = mean * shrink.reshape(shrink.shape + (1,) * (part.ndim - 1)) + part
        return (new_top, total * shrink + weights.sum(-1), mean), None

    first = jax.tree.map(lambda leaf: leaf[0], blocks)
    logits = jax.eval_shape(score, first)
    out = jax.eval_shape(mix, logits, first)
    start = (
        jnp.full(logits.shape[:1], -jnp.inf, logits.dtype),
        jnp.zeros(logits.shape[:1], logits.dtype),
        jnp.zeros(out.shape, out.dtype),
    )
    (top, total, mean), _ = jax.lax.scan(step, start, blocks)
    return mean / total.reshape(total.shape + (1,) * (mean.ndim - 1)), top + jnp.log(total)


def in_blocks(
    points: np.ndarray, block: int, center: np.ndarray
) -> tuple[Float[Array, " n_blocks m d"], Float[Array, " n_blocks m"]]:
    """yᵢ − c in blocks of m = min(block, N) rows, and ‖yᵢ − c‖²/2; the last block is padded with rows at c
    whose half norm is ``FAR``, so that their weight exp(−FAR/σ²) is 0.

    points: (N, d); center: (d,) float64. Subtracting the mean keeps the distances ‖x‖²/2 − x·y + ‖y‖²/2
    accurate in float32. Raises ValueError unless block ≥ 1.
    """
    if block < 1:
        raise ValueError(f"block = {block}; needs block ≥ 1 points")
    n, d = points.shape
    m = min(block, n)
    count = -(-n // m)
    centred = np.zeros((count * m, d), jnp.zeros(()).dtype)
    half_norms = np.full(count * m, FAR, centred.dtype)
    for start in range(0, n, m):
        part = slice(start, min(start + m, n))
        rows = points[part] - center
        centred[part], half_norms[part] = rows, np.einsum("ij,ij->i", rows, rows) / 2
    return jnp.asarray(centred.reshape(count, m, d)), jnp.asarray(half_norms.reshape(count, m))
