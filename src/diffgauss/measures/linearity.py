"""How linear a denoiser is, and how Gaussian its linear part."""

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.core import Denoiser, Points, Sigma, check_event, checked

HALF = 2**-0.5  #: α = β = 1/√2, the mixture that equation 8 is reported for


def linearity(
    D: Denoiser, x1: Points, x2: Points, sigma: Sigma, *, alpha: float | Float[Array, ""] = HALF,
    mean: Float[Array, " *event"] | None = None,
) -> Float[Array, ""]:  # fmt: skip
    """LS = E cos∠( D(αx₁ + βx₂; σ), αD(x₁; σ) + βD(x₂; σ) ) with α² + β² = 1, over pairs of points noisy at σ.

    It is 1 for a linear D. An affine one has less, and offsets in common inflate cosines; so give the mean u of the
    training set to score D(z + u) − u at z = x − u: every D_G then has 1. x1, x2: (b, *event); mean: (*event).
    Raises ValueError for other shapes, α not in [0, 1]; TypeError for no pytree.  Li et al. (2024), Eq. 8 (v5: 11).
    """
    whole, parts = _both(D, x1, x2, sigma, _share(alpha), mean)
    return ((whole * parts).sum(-1) / (jnp.linalg.norm(whole, axis=-1) * jnp.linalg.norm(parts, axis=-1))).mean()


def linearity_deviation(
    D: Denoiser, x1: Points, x2: Points, sigma: Sigma, *, alpha: float | Float[Array, ""] = HALF,
    mean: Float[Array, " *event"] | None = None,
) -> Float[Array, ""]:  # fmt: skip
    """E ‖D(αx₁ + βx₂) − (αD(x₁) + βD(x₂))‖ / ‖D(αx₁ + βx₂)‖, norms not squared: 0 for a linear D.

    Arguments and errors as ``linearity``.  Li et al. (2024), after Eq. 8 (ours: 8b; v5: 12).
    """
    whole, parts = _both(D, x1, x2, sigma, _share(alpha), mean)
    return (jnp.linalg.norm(whole - parts, axis=-1) / jnp.linalg.norm(whole, axis=-1)).mean()


def _share(alpha):
    if not isinstance(alpha, jax.core.Tracer) and not 0 <= float(alpha) <= 1:
        raise ValueError(f"alpha = {alpha}; needs 0 ≤ alpha ≤ 1, so that alpha² + beta² = 1")
    return alpha


@checked
def _both(D, x1, x2, sigma, alpha, mean):
    """D of the mixture and the mixture of D, each (b, d), about the mean where there is one."""
    check_event(x2, x1.shape[1:], "x2")
    if len(x2) != len(x1):
        raise ValueError(f"x1 and x2 hold {len(x1)} and {len(x2)} points; needs pairs")
    if mean is not None and mean.shape != x1.shape[1:]:
        raise ValueError(f"mean has shape {mean.shape}; needs {x1.shape[1:]}")
    u = jnp.zeros_like(x1[:1]) if mean is None else mean[None]
    beta = jnp.sqrt(1 - jnp.square(alpha))

    def mix(a, b):
        return alpha * (a - u) + beta * (b - u)

    whole = D(u + mix(x1, x2), sigma) - u
    return whole.reshape(len(x1), -1), mix(D(x1, sigma), D(x2, sigma)).reshape(len(x1), -1)


def weight_nmse(W: ArrayLike, W_G: ArrayLike) -> np.ndarray | np.float64:
    """‖W − W_G‖²_F / ‖W_G‖²_F with W_G = UΛ(Λ + σ²I)⁻¹Uᵀ: (…, d, d) each, the result (…), in float64.

    ``affine(D_G, event, sigma)`` gives W_G. Raises ValueError for other shapes.  Li et al. (2024), Eq. 10.
    """
    W, W_G = np.asarray(W, np.float64), np.asarray(W_G, np.float64)
    if W.shape != W_G.shape or W.ndim < 2:
        raise ValueError(f"W and W_G have shapes {W.shape} and {W_G.shape}; needs the same, (…, d, d)")
    return ((W - W_G) ** 2).sum((-2, -1)) / (W_G**2).sum((-2, -1))


def pc_similarity(W: ArrayLike, U: ArrayLike, *, k: int = 100) -> np.ndarray:
    """|⟨uᵢ, vⱼ⟩|, the correlations of the first k components with the first k left singular vectors of W: (k, k).

    W: (d, d), transposed for its right ones; U: (d, ·), components in columns. The diagonal is 1 where W has the
    components of the data in their order. Raises ValueError for other shapes or k.  Li et al. (2024), after Eq. 10.
    """
    W, U = np.asarray(W, np.float64), np.asarray(U, np.float64)
    if W.ndim != 2 or U.ndim != 2 or len(W) != len(U) or not 1 <= k <= min(*W.shape, U.shape[1]):
        raise ValueError(f"W {W.shape}, U {U.shape}, k = {k}; needs (d, d), (d, m) and 1 ≤ k ≤ m")
    return abs(U[:, :k].T @ np.linalg.svd(W)[0][:, :k])
