"""A mixture of Gaussian denoisers, one a class: what knows the mean and the covariance of each class."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.beyond.batches import in_batches
from diffgauss.core import Points, Sigma, check_event, check_points, checked, expand, pytree
from diffgauss.moments import principal_components

BATCH = 1024  #: members of a batch at a time: each takes a row of numbers for each class


@pytree
class MixtureDenoiser:
    """D(x; σ) = Σ_c r_c(x; σ) D_{G,c}(x; σ), r_c ∝ π_c N(x; u_c, Σ_c + σ²I).  Li et al. (2024), Eq. 7 (v5: 6).

    π_c, u_c and Σ_c = U_c Λ_c U_cᵀ are the share, the mean and the covariance of class c: the posterior mean if the
    data were drawn from Σ_c π_c N(u_c, Σ_c). Columns of U_c beyond the rank of a class are 0. Build it by
    ``from_data``.
    """

    log_pi: Float[Array, " classes"]
    mean: Float[Array, " classes *event"]
    U: Float[Array, " classes d r"]
    lam: Float[Array, " classes r"]

    @classmethod
    def from_data(cls, data: ArrayLike, labels: ArrayLike, *, rank: int | None = None) -> "MixtureDenoiser":
        """data: (N, *event) floating; labels: (N,) integers; rank: keep so many principal components of each class.

        Moments are taken, and diagonalised, in float64 on the host. Raises ValueError for labels of another shape
        or dtype, a class of fewer than two points, NaN, integer pixels or a rank no class can fill.
        """
        check_points(data, at_least=2)
        data, labels = np.asarray(data), np.asarray(labels)
        if labels.shape != data.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(f"labels are {labels.dtype} {labels.shape}; needs integers ({len(data)},)")
        classes, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2:
            raise ValueError(f"class {classes[counts.argmin()]} has {counts.min()} point; needs at least 2 of each")
        y = data.reshape(len(data), -1)
        full = int(min(counts.max() - 1, y.shape[1]))
        if rank is not None and not 1 <= rank <= full:
            raise ValueError(f"rank = {rank}; the largest class needs 1 ≤ rank ≤ {full}")
        keep = full if rank is None else rank
        mean = np.zeros((len(classes), y.shape[1]))
        U, lam = np.zeros((*mean.shape, keep)), np.zeros((len(classes), keep))
        for k, c in enumerate(classes):
            own = y[labels == c].astype(np.float64)
            mean[k] = own.mean(0)
            vectors, values = principal_components(own, mean[k])
            r = min(keep, len(own) - 1, y.shape[1])
            U[k, :, :r], lam[k, :r] = vectors[:, :r], values[:r]
        arrays = (np.log(counts / len(y)), mean.reshape(-1, *data.shape[1:]), U, lam)
        return cls(*(jnp.asarray(a, jnp.zeros(()).dtype) for a in arrays))

    @checked
    def __call__(self, x: Points, sigma: Sigma) -> Points:
        """D(x; σ): x (b, *event), sigma () or (b,) > 0. Raises ValueError for another event shape."""
        check_event(x, self.mean.shape[1:])
        return in_batches(self._mean, x, sigma, BATCH)

    def _mean(self, x, sigma):
        logits, coefficients, variance = self._parts(x, sigma)
        shrunk = coefficients * (self.lam[:, None] / (self.lam[:, None] + variance[None]))
        weights = jax.nn.softmax(logits, 0)[..., None]
        mean = self.mean.reshape(len(self.lam), 1, -1)
        each = mean + jnp.matmul(shrunk, self.U.mT, precision="highest")
        return (weights * each).sum(0).reshape(x.shape)

    @checked
    def responsibilities(self, x: Points, sigma: Sigma) -> Float[Array, " b classes"]:
        """r_c(x; σ) = π_c N(x; u_c, Σ_c + σ²I) / Σ_c′ π_c′ N(x; u_c′, Σ_c′ + σ²I): (b, classes). Errors as D."""
        return jax.nn.softmax(self._parts(x, sigma)[0], 0).T

    @checked
    def log_density(self, x: Points, sigma: Sigma) -> Float[Array, " b"]:
        """log p(x; σ) = log Σ_c π_c N(x; u_c, Σ_c + σ²I), (b,); its gradient is (D(x; σ) − x)/σ². Errors as D."""
        return jax.nn.logsumexp(self._parts(x, sigma)[0], 0)

    def _parts(self, x, sigma):
        """log π_c N(x; u_c, Σ_c + σ²I), (classes, b), the coordinates U_cᵀ(x − u_c), (classes, b, r), and σ².

        (x − u)ᵀ(Σ + σ²I)⁻¹(x − u) is summed from terms ≥ 0, along U and outside it, and so loses no digits.
        """
        check_event(x, self.mean.shape[1:])
        z = x.reshape(1, len(x), -1) - self.mean.reshape(len(self.lam), 1, -1)
        variance = expand(sigma, z[0]) ** 2
        coefficients = jnp.matmul(z, self.U, precision="highest")
        outside = z - jnp.matmul(coefficients, self.U.mT, precision="highest")
        along = (coefficients**2 / (self.lam[:, None] + variance[None])).sum(-1)
        across = (outside**2).sum(-1) / variance[None, :, 0]
        log_det = jnp.log1p(self.lam[:, None] / variance[None]).sum(-1)
        constant = z.shape[-1] * jnp.log(2 * np.pi * variance)[None, :, 0]
        return self.log_pi[:, None] - (along + across + log_det + constant) / 2, coefficients, variance
