"""The Gaussian denoiser D_G: optimal if the data were normal with the training set's mean and covariance."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss import parallel
from diffgauss._core import Sigma, check_event, check_points, expand, pytree


@pytree
class GaussianDenoiser:
    """D_G(x; σ) = u + U Λ(Λ + σ²I)⁻¹ Uᵀ(x − u): a Wiener filter.  Li et al. (2024), Eq. 7.

    u = (1/N) Σᵢ yᵢ and Σ = UΛUᵀ = (1/N) Σᵢ (yᵢ − u)(yᵢ − u)ᵀ; directions outside U have variance 0.
    """

    mean: Float[Array, " *event"]
    U: Float[Array, " d r"]
    lam: Float[Array, " r"]

    @classmethod
    def from_data(cls, data: ArrayLike, *, rank: int | None = None, mesh: Mesh | None = None) -> "GaussianDenoiser":
        """data: (N, *event) floating with N ≥ 2; rank: keep only so many leading principal components.

        Mean and covariance are streamed, and diagonalised, in float64 on the host; with a mesh, each of its devices
        streams a part of the covariance (in float64 too, all processes giving the same data). With N ≤ d points the
        thin singular value decomposition of the data gives the N − 1 components there are, and no d×d matrix
        is made. Raises ValueError for fewer than two points, NaN, integer pixels or rank < 1.
        """
        check_points(data, at_least=2)
        data = np.asarray(data)
        y = data.reshape(len(data), -1)
        mean = y.mean(0, dtype=np.float64)
        n, d = y.shape
        full = min(n - 1, d)
        if rank is not None and not 1 <= rank <= full:
            raise ValueError(f"rank = {rank}; {n} points in {d} dimensions need 1 ≤ rank ≤ {full}")
        U, lam = _principal_components(y, mean, mesh)
        keep = full if rank is None else rank
        arrays = (mean.reshape(data.shape[1:]), U[:, :keep], np.maximum(lam[:keep], 0))
        return cls(*parallel.replicate(arrays, mesh))

    @jax.jit
    def __call__(self, x: Float[Array, " b *event"], sigma: Sigma) -> Float[Array, " b *event"]:
        """D_G(x; σ): x (b, *event), sigma () or (b,) > 0. Raises ValueError for another event shape."""
        z = self._centred(x)
        shrink = self.lam[None] / (self.lam[None] + expand(sigma, z) ** 2)
        return self.mean[None] + self._along(z, shrink).reshape(x.shape)

    @jax.jit
    def flow(self, x: Float[Array, " b *event"], sigma: Sigma, sigma_next: Sigma) -> Float[Array, " b *event"]:
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


def _principal_components(y: np.ndarray, mean: np.ndarray, mesh: Mesh | None) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors (d, ·) and eigenvalues, largest first, of (1/N) Σᵢ (yᵢ − u)(yᵢ − u)ᵀ in float64."""
    n, d = y.shape
    if n <= d:
        _, s, Vt = np.linalg.svd(y - mean, full_matrices=False)
        return Vt.T, s**2 / n
    lam, U = np.linalg.eigh((_scatter(y, mean) if mesh is None else _scatter_over(y, mean, mesh)) / n)
    return U[:, ::-1], lam[::-1]


def _scatter(y: np.ndarray, mean: np.ndarray, chunk: int = 4096) -> np.ndarray:
    """Σᵢ (yᵢ − u)(yᵢ − u)ᵀ on the host."""
    total = np.zeros((y.shape[1], y.shape[1]))
    for start in range(0, len(y), chunk):
        z = y[start : start + chunk] - mean
        total += z.T @ z
    return total


def _scatter_over(y: np.ndarray, mean: np.ndarray, mesh: Mesh, chunk: int = 1024) -> np.ndarray:
    """The same sum, each device adding its own rows; NaN marks padding."""
    d = y.shape[1]
    padding = np.full((-len(y) % chunk, d), np.nan, y.dtype)

    def part(blocks):
        def add(total, rows):
            z = jnp.where(jnp.isnan(rows), 0, rows - mean[None])
            return total + jnp.matmul(z.T, z, precision="highest"), None

        return lax.psum(lax.scan(add, jnp.zeros((d, d)), blocks)[0], parallel.AXIS)

    with parallel.float64():
        blocks = parallel.split(np.concatenate([y, padding]).reshape(-1, chunk, d), mesh, np.nan)
        return np.asarray(jax.jit(parallel.over(part, mesh))(blocks))
