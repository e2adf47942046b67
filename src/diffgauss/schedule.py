"""Noise levels: the sampler's grid, the training law, and EDM's preconditioning."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgauss.core import Sigma, checked


def karras_sigmas(
    n: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Float[Array, " n"]:
    """σ_i = (σ_max^{1/ρ} + i/(n−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ for i = 0 … n−1.

    Decreasing, with no 0, because the last Euler step to 0 *is* D(x, σ_min). ρ = 1 is even in σ, ρ = ∞ in log σ. In
    float64 on the host. Raises ValueError unless n ≥ 1, 0 < σ_min < σ_max and ρ > 0.  Karras et al. (2022), Eq. 5.
    """
    if n < 1:
        raise ValueError(f"n = {n}; a grid needs n ≥ 1 levels")
    if not 0 < sigma_min < sigma_max < np.inf:
        raise ValueError(f"sigma_min = {sigma_min}, sigma_max = {sigma_max}; needs 0 < sigma_min < sigma_max")
    if not rho > 0:
        raise ValueError(f"rho = {rho}; needs rho > 0")
    if np.isinf(rho):
        return jnp.asarray(np.geomspace(sigma_max, sigma_min, n), float)
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return jnp.asarray(np.linspace(top, bottom, n) ** rho, float)


def lognormal_sigmas(n: int, *, key: Array, mean: float = -1.2, std: float = 1.2) -> Float[Array, " n"]:
    """ln σ ~ N(mean, std²). Raises ValueError unless std ≥ 0.  Karras et al. (2022), Table 1 (P_mean, P_std)."""
    if not std >= 0:
        raise ValueError(f"std = {std}; needs std ≥ 0")
    return jnp.exp(mean + std * jax.random.normal(key, (n,)))


@checked(jit=False)
def edm_scalings(sigma: Sigma, sigma_data: float) -> tuple[Array, Array, Array, Array]:
    """D = c_skip x + c_out F(c_in x; c_noise), with Σ² = σ² + σ_data²:

    c_skip = σ_data²/Σ², c_out = σ σ_data/Σ, c_in = 1/Σ, c_noise = ln(σ)/4, of sigma's shape. F's input and target
    have variance 1. Raises ValueError unless σ, if known, and σ_data are > 0. Karras et al. (2022), Table 1, Eq. 7.
    """
    if not sigma_data > 0:
        raise ValueError(f"sigma_data = {sigma_data}; needs sigma_data > 0")
    sigma = jnp.asarray(sigma)
    total = jnp.sqrt(sigma**2 + sigma_data**2)
    return (sigma_data / total) ** 2, sigma * sigma_data / total, 1 / total, jnp.log(sigma) / 4
