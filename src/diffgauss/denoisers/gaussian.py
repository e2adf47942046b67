"""The Gaussian denoiser D_G: optimal if the data were normal with the training set's mean and covariance."""

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss import parallel
from diffgauss.core import Points, Sigma, check_event, check_points, checked, expand, pytree
from diffgauss.moments import principal_components


@pytree
class GaussianDenoiser:
    """D_G(x; σ) = u + U Λ(Λ + σ²I)⁻¹ Uᵀ(x − u): a Wiener filter.  Li et al. (2024), Eq. 7 (v5: 6).

    u = (1/N) Σᵢ yᵢ and Σ = UΛUᵀ = (1/N) Σᵢ (yᵢ − u)(yᵢ − u)ᵀ; directions outside U have variance 0.
    """

    mean: Float[Array, " *event"]
    U: Float[Array, " d r"]
    lam: Float[Array, " r"]

    @classmethod
    def from_data(cls, data: ArrayLike, *, rank: int | None = None, mesh: Mesh | None = None) -> "GaussianDenoiser":
        """data: (N, *event) floating with N ≥ 2; rank: keep only so many leading principal components.

        Moments are summed and diagonalised in float64 on the host. With a mesh, each of its devices sums a part of
        the covariance, and all processes give the same data. N ≤ d points have N − 1 components, found without a
        d×d matrix. Raises ValueError for fewer than two points, NaN, integer pixels or rank < 1.
        """
        check_points(data, at_least=2)
        data = np.asarray(data)
        y = data.reshape(len(data), -1)
        mean = y.mean(0, dtype=np.float64)
        n, d = y.shape
        full = min(n - 1, d)
        if rank is not None and not 1 <= rank <= full:
            raise ValueError(f"rank = {rank}; {n} points in {d} dimensions need 1 ≤ rank ≤ {full}")
        U, lam = principal_components(y, mean, mesh)
        keep = full if rank is None else rank
        arrays = (mean.reshape(data.shape[1:]), U[:, :keep], lam[:keep])
        return cls(*parallel.replicate(arrays, mesh))

    @checked
    def __call__(self, x: Points, sigma: Sigma) -> Points:
        """D_G(x; σ): x (b, *event), sigma () or (b,) > 0. Raises ValueError for another event shape."""
        z = self._centred(x)
        shrink = self.lam[None] / (self.lam[None] + expand(sigma, z) ** 2)
        return self.mean[None] + self._along(z, shrink).reshape(x.shape)

    @checked
    def flow(self, x: Points, sigma: Sigma, sigma_next: Sigma) -> Points:
        """The exact probability-flow ODE from σ > 0 to σ' ≥ 0: each mode of x − u times √((λ + σ'²)/(λ + σ²)).

        x: (b, *event); sigma and sigma_next: () or (b,).  Equation 11; Wang & Vastola (2024).
        """
        z = self._centred(x)
        before, after = expand(sigma, z), expand(sigma_next, z)
        outside = after / before
        inside = jnp.sqrt((self.lam[None] + after**2) / (self.lam[None] + before**2))
        return self.mean[None] + (outside * z + self._along(z, inside - outside)).reshape(x.shape)

    def _centred(self, x):
        check_event(x, self.mean.shape)
        return (x - self.mean[None]).reshape(len(x), -1)

    def _along(self, z, gain):
        """U (gain ⊙ Uᵀz): z (b, d), gain (b, r) or (1, r)."""
        coefficients = jnp.matmul(z, self.U, precision="highest")
        return jnp.matmul(gain * coefficients, self.U.T, precision="highest")
