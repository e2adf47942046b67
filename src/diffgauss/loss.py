"""What training minimises."""

from jaxtyping import Array, Float

from diffgauss._core import Denoiser, expand


def dsm_loss(
    D: Denoiser, x0: Float[Array, " b *event"], sigma: Float[Array, " b"], eps: Array, sigma_data: float
) -> Float[Array, ""]:
    """E w(σ) ‖D(x₀ + σε; σ) − x₀‖²/d with w = (σ² + σ_data²)/(σ σ_data)².

    It is 1 for D = c_skip x on centred data of variance σ_data². x0: (b, *event) clean; sigma: (b,); eps:
    standard normal, of x0's shape.  Li et al. (2024), Eq. 3; weighting: Karras et al. (2022), Table 1.
    """
    level = expand(sigma, x0)
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    error = (D(x0 + level * eps, sigma) - x0).reshape(len(x0), -1)
    return (weight * (error**2).mean(-1)).mean()
