"""The Jacobian of a denoiser through products with a few directions: no d×d matrix."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.core import Denoiser, Points, Sigma, checked


def subspace_alignment(U: ArrayLike, V: ArrayLike) -> np.ndarray | np.float64:
    """‖UᵀV‖²_F/k ∈ [0, 1] for orthonormal U (d, k) and V (…, d, k): the mean squared cosine of the angles between.

    1 where both span the same, k/d on average where V is random. Raises ValueError for other shapes.
    Björck & Golub (1973); the alignment of Jacobians: Li et al. (2024), appendix.
    """
    U, V = np.asarray(U, np.float64), np.asarray(V, np.float64)
    if U.ndim != 2 or V.shape[-2:] != U.shape:
        raise ValueError(f"U and V have shapes {U.shape} and {V.shape}; needs (d, k) and (…, d, k)")
    return ((U.T @ V) ** 2).sum((-2, -1)) / U.shape[1]


@checked
def jacobian_gains(D: Denoiser, x: Points, sigma: Sigma, U: Float[Array, " d k"]) -> Float[Array, " b k"]:
    """uⱼᵀ J(x) uⱼ with J = ∂D/∂x at each x: (b, k). For D_G it is λⱼ/(λⱼ + σ²) at every x.

    x: (b, *event) noisy at σ; U: (d, k) directions in columns. One product uᵀJ a direction, no d×d matrix.
    Raises ValueError unless U has d rows, TypeError for a D that is no pytree.  Li et al. (2024), appendix.
    """
    _check_rows(x, len(U))
    value, pull = jax.vjp(lambda x: D(x, sigma), x)

    def gain(u):
        along = pull(jnp.broadcast_to(u.reshape(1, *x.shape[1:]), x.shape).astype(value.dtype))[0]
        return jnp.matmul(along.reshape(len(x), -1), u, precision="highest")

    return lax.map(gain, U.T).T


@checked(static=("k", "steps"))
def jacobian_svd(
    D: Denoiser, x: Points, sigma: float | Float[Array, ""], k: int, *, key: Array, steps: int = 8
) -> tuple[Float[Array, " b k"], Float[Array, " b d k"]]:
    """The k largest singular values s (b, k) of J = ∂D/∂x at each x, and its right singular vectors V (b, d, k).

    Each step of subspace iteration, V ← qr(Jᵀ J V), shrinks what is left of other directions by (s_{k+1}/s_k)², and
    makes no d×d matrix. Raises ValueError for k outside 1 … d or steps < 1, TypeError for a D that is no pytree.
    Halko, Martinsson & Tropp (2011), Algorithm 4.4; Li et al. (2024), appendix.
    """
    _check_rows(x, x[0].size, k)
    if steps < 1:
        raise ValueError(f"steps = {steps}; needs at least 1")

    def one(point):
        def f(flat):
            return D(flat.reshape(1, *point.shape), sigma).ravel().astype(flat.dtype)

        flat = point.ravel()
        pull = jax.vjp(f, flat)[1]
        push = jax.linear_transpose(pull, flat)  # the convolution of nets.layers has no forward derivative
        backward = jax.vmap(lambda w: pull(w)[0], 1, 1)
        forward = jax.vmap(lambda v: push((v,))[0], 1, 1)

        def iterate(V, _):
            return jnp.linalg.qr(backward(forward(V)))[0], None

        start = jnp.linalg.qr(jax.random.normal(key, (flat.size, k), flat.dtype))[0]
        V = lax.scan(iterate, start, length=steps)[0]
        _, s, rotation = jnp.linalg.svd(forward(V), full_matrices=False)
        return s, jnp.matmul(V, rotation.T, precision="highest")

    return lax.map(one, x)


def _check_rows(x, rows, k=1):
    d = x[0].size
    if rows != d or not 1 <= k <= d:
        raise ValueError(f"got {rows} rows and k = {k} for x of shape {x.shape}; needs {d} rows and 1 ≤ k ≤ {d}")
