"""What training minimises."""

from jaxtyping import Array, Float

from diffgauss._core import Denoiser, expand


def weight(sigma: Array, sigma_data: float | Array) -> Array:
    """w(σ) = 1/c_out² = (σ² + σ_data²)/(σ σ_data)²: each level counts alike.  Karras et al. (2022), Table 1."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def dsm_loss(
    D: Denoiser, x0: Float[Array, " b *event"], sigma: Float[Array, " b"], eps: Array, sigma_data: float
) -> Float[Array, ""]:
    """E w(σ) ‖D(x₀ + σε; σ) − x₀‖²/d.

    It is 1 for D = c_skip x on centred data of variance σ_data². x0: (b, *event) clean; sigma: (b,); eps:
    standard normal, of x0's shape.  Li et al. (2024), Eq. 3; the weights are those of ``weight``.
    """
    level = expand(sigma, x0)
    error = (D(x0 + level * eps, sigma) - x0).reshape(len(x0), -1)
    return (weight(sigma, sigma_data) * (error**2).mean(-1)).mean()
