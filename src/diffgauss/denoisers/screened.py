"""The empirical denoiser D_M without the images that cannot matter, and a certificate of what was left out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss._core import Sigma, check_event, check_points, expand, pytree, static
from diffgauss._screen import by_neighbourhood, directions, features, visit
from diffgauss._softmax import in_blocks, softmax_mean


@pytree
class ScreenedDenoiser:
    """D_M(x; σ) up to weights that sum to ≤ tol, from the few images near x.  Li et al. (2024), Eq. 4.

    With z = x − u, w = y − u and orthonormal v₁, v₂, …, an image is at least as far as the leading coordinates and
    the lengths of the rest say: z·w ≤ Σ_{j≤k} (v_j·z)(v_j·w) + Σ_B ‖z_B‖ ‖w_B‖ for bands B of the further v.
    Neighbouring images share a block, bounded by the least such distance in it. Blocks beyond the least distance by
    more than σ² log(N/tol) in ‖·‖²/2 are dropped, first by this bound and then by their exact least distance. Where
    many blocks are left, all are scanned as in ``EmpiricalDenoiser``.

    Rounding: half distances are taken to be off by at most δ = (d + 64) ε max‖w‖ max(‖z‖, max‖w‖), ε = 2⁻²³ in
    float32, over twice the worst case of a product of d terms, and the margin is 2δ wider. The certificate is of
    the images left out; weights of those kept are rounded as in ``EmpiricalDenoiser``. Differentiate with
    ``jax.jvp``: loops of open length have no reverse.
    """

    mean: Float[Array, " d"]
    points: Float[Array, " n_blocks m d"]
    half_norms: Float[Array, " n_blocks m"]
    features: Float[Array, " n_blocks m f"]
    basis: Float[Array, " d k"]
    longest: Float[Array, ""]
    tol: Float[Array, ""]
    dense: Float[Array, ""]
    event: tuple[int, ...] = static()
    rank: int = static()

    @classmethod
    def from_data(
        cls, data: ArrayLike, *, rank: int = 64, tol: float = 1e-6, block: int = 256, dense: float = 0.3
    ) -> "ScreenedDenoiser":
        """data: (N, *event) floating with N ≥ 2; rank: principal components compared one by one, at most d;
        tol: how much probability may be left out; block: images a block; dense: the share of pairs of a query and a
        block from which on everything is scanned (1: never, 0: always).

        Raises ValueError for fewer points than two, NaN, integer pixels, rank < 1, block < 1, tol or dense outside
        [0, 1], tol = 0.
        """
        check_points(data, at_least=2)
        data = np.asarray(data)
        flat = data.reshape(len(data), -1)
        if rank < 1 or block < 1:
            raise ValueError(f"rank = {rank} and block = {block}; need at least 1")
        if not (0 < tol <= 1 and 0 <= dense <= 1):
            raise ValueError(f"tol = {tol} and dense = {dense}; need 0 < tol ≤ 1 and 0 ≤ dense ≤ 1")
        mean = flat.mean(0, dtype=np.float64)
        some = flat[:: -(-len(flat) // 8192)] - mean  # the bound holds for any orthonormal basis
        basis = directions(some)[:, : 4 * rank]
        rank = min(rank, basis.shape[1])
        order = by_neighbourhood(flat @ basis[:, :rank].astype(flat.dtype), block)
        points, half_norms, _ = in_blocks(flat[order], block, mean)
        basis = jnp.asarray(basis, points.dtype)
        f = _features(points, basis, rank)
        longest = jnp.sqrt((points**2).sum(-1).max())
        numbers = (jnp.asarray(a, points.dtype) for a in (tol, dense))
        arrays = (jnp.asarray(mean, points.dtype), points, half_norms, f, basis, longest, *numbers)
        return cls(*arrays, data.shape[1:], rank)

    @jax.jit
    def __call__(self, x: Float[Array, " b *event"], sigma: Sigma) -> Float[Array, " b *event"]:
        """D_M(x; σ) up to tol: x (b, *event), sigma () or (b,) > 0. Raises ValueError for another event shape."""
        return self.posterior(x, sigma)[0]

    @jax.jit
    def posterior(
        self, x: Float[Array, " b *event"], sigma: Sigma
    ) -> tuple[Float[Array, " b *event"], Float[Array, " b"]]:
        """The posterior mean, (b, *event), and a bound ≤ tol, (b,), on the probability of the images left out.

        The mean is off by at most that share of the distance between two images, beside rounding; the bound is 0
        where all images were scanned. Raises ValueError for another event shape.  Equation 4.
        """
        return self._posterior(x, sigma)[:2]

    @jax.jit
    def visited(self, x: Float[Array, " b *event"], sigma: Sigma) -> Float[Array, " b"]:
        """The share of blocks whose images are compared with x in full, (b,); 1 where all are. Errors as above."""
        return self._posterior(x, sigma)[2]

    def _posterior(self, x, sigma):
        check_event(x, self.event)
        z = x.reshape(len(x), -1) - self.mean[None]
        variance = jnp.broadcast_to(expand(sigma, z)[:, 0] ** 2, (len(z),))
        least, best = self._screen(z)
        length = jnp.maximum(jnp.linalg.norm(z, axis=-1), self.longest)
        slack = 2 * (z.shape[1] + 64) * jnp.finfo(z.dtype).eps * self.longest * length
        margin = variance * jnp.log(self.half_norms.size / self.tol) + slack
        need = least < (best + margin)[None]
        share = need.mean(0)

        def screened():
            exact = self._refine(z, least, need)
            best = exact.min(0)
            keep = exact < (best + margin)[None]
            mean = self._mix(z, variance, best, keep)
            left = jnp.where(keep, 0, jnp.exp(-(exact - (best + slack)[None]) / variance[None])).sum(0)
            return mean, self.points.shape[1] * left, share

        def everything():
            def score(block):
                return -self._half_distances(z, *block) / variance[:, None]

            def mix(weights, block):
                return jnp.matmul(weights, block[0], precision="highest")

            mean, _ = softmax_mean(score, mix, (self.points, self.half_norms))
            return mean, jnp.zeros_like(share), jnp.ones_like(share)

        mean, bound, share = lax.cond(share.mean() < self.dense, screened, everything)
        return (mean + self.mean[None]).reshape(x.shape), bound, share

    def _half_distances(self, z, y, half_norm):
        """(‖z − yᵢ‖² − ‖z‖²)/2 for a block: (b, m)."""
        return half_norm[None] - jnp.matmul(z, y.T, precision="highest")

    def _screen(self, z):
        """A lower bound on the half distances of each block, (n_blocks, b), and some image's own, (b,)."""
        f = features(z, self.basis, self.rank)
        blocks = (self.features, self.half_norms)
        least = lax.map(lambda block: self._half_distances(f, *block).min(1), blocks)
        near = least.argmin(0)
        guess = self.half_norms[near] - jnp.einsum("bmf,bf->bm", self.features[near], f, precision="highest")
        row = lax.top_k(-guess, min(4, guess.shape[1]))[1]
        y, half_norm = self.points[near[:, None], row], self.half_norms[near[:, None], row]
        return least, (half_norm - jnp.einsum("bkd,bd->bk", y, z, precision="highest")).min(1)

    def _refine(self, z, least, need):
        """The exact least half distance of each block and query that is needed in place of its bound."""

        def step(least, k, rows):
            exact = self._half_distances(z[rows], self.points[k], self.half_norms[k]).min(1)
            return least.at[k, rows].set(exact)

        return visit(need, least, step)

    def _mix(self, z, variance, best, keep):
        """Σ e^{−(s − best)/σ²} y / Σ e^{−(s − best)/σ²} over the blocks kept."""

        def step(carry, k, rows):
            total, mean = carry
            s = self._half_distances(z[rows], self.points[k], self.half_norms[k])
            w = jnp.exp(-(s - best[rows, None]) / variance[rows, None])
            w = w * keep[k, rows][:, None]
            mixed = jnp.matmul(w, self.points[k], precision="highest")
            return total.at[rows].add(w.sum(1)), mean.at[rows].add(mixed)

        total, mean = visit(keep, (jnp.zeros_like(best), jnp.zeros_like(z)), step)
        return mean / total[:, None]


@partial(jax.jit, static_argnames="rank")
def _features(points, basis, rank):
    return lax.map(lambda z: features(z, basis, rank), points)
