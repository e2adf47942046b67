"""D_θ: the denoiser that a network parametrizes, with the scalings of EDM around it."""

import jax
import jax.numpy as jnp
from flax import nnx

from diffgauss.core import Points, Sigma, checked, expand
from diffgauss.schedule import edm_scalings


class EDMDenoiser(nnx.Module):
    """D_θ(x; σ) = c_skip x + c_out F_θ(c_in x; c_noise).  Karras et al. (2022), Eq. 7.

    net: any module F(x, c_noise); sigma_data: standard deviation of the pixels, > 0. At initialisation F = 0.
    """

    def __init__(self, net: nnx.Module, sigma_data: float):
        edm_scalings(1.0, sigma_data)  # raises where sigma_data ≤ 0
        self.net, self.sigma_data = net, float(sigma_data)

    @checked
    def __call__(self, x: Points, sigma: Sigma) -> Points:
        """D_θ(x; σ): x (b, size, size, channels), sigma () or (b,) > 0. Raises ValueError for other levels."""
        levels = jnp.broadcast_to(jnp.asarray(sigma, x.dtype), x.shape[:1])
        skip, out, into, noise = edm_scalings(levels, self.sigma_data)
        kind = jnp.result_type(*jax.tree.leaves(nnx.state(self.net, nnx.Param)) or [x])  # the weights'
        answer = self.net((expand(into, x) * x).astype(kind), noise.astype(kind)).astype(x.dtype)
        return expand(skip, x) * x + expand(out, x) * answer
