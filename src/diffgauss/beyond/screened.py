"""The empirical denoiser D_M without the images that cannot matter, and a certificate of what was left out."""

from functools import partial
from math import gcd

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.beyond import screen
from diffgauss.beyond.batches import in_threads
from diffgauss.blocks import FAR, in_blocks, of_points, softmax_mean
from diffgauss.core import Points, Sigma, check_event, check_points, checked, expand, pytree, static
from diffgauss.moments import principal_components

SHARE = 32  # queries at least for a core: a smaller batch is not worth a thread
SCANNED = 8  # blocks a step of a scan of all images: large products are the faster ones


@pytree
class ScreenedDenoiser:
    """D_M(x; σ) up to weights that sum to ≤ tol, from the few images near x.  Li et al. (2024), Eq. 4 (v5: 5).

    With P the projection on the leading principal components and Q = I − P, the distance of an image is bounded by
    ‖x − y‖² ≥ ‖P(x − y)‖² + (‖Qx‖ − ‖Qy‖)². Neighbouring images share a block; a few components bound the distance
    of all blocks, more components that of small groups in the blocks that are left, and groups are compared with x
    in full, the nearest first, until the next bound is beyond the least distance by σ² log(N/tol) in ‖·‖²/2. A
    query for which more than 1024 groups may be that near is compared with whole blocks; where too many blocks are
    left for the batch, all images are scanned as in ``EmpiricalDenoiser``.

    Rounding: half distances are taken to be off by at most δ = (d + 64) ε max‖y‖ max(‖x‖, max‖y‖), ε = 2⁻²³ in
    float32, over twice the worst case of a product of d terms, and the margin is 2δ wider. The certificate is of
    the images left out; weights of those kept are rounded, less than in ``EmpiricalDenoiser`` where they are few.
    Beside the images a call keeps a few numbers a block and 1024 groups for each query. It works on one core for
    the most part, so on several each takes a share of a batch of 64 or more, in a thread; each share decides for
    itself whether all images are scanned. Inside ``jax.jit`` there are no threads: there use ``jax.shard_map`` with
    ``check_vma=False``. Differentiate with ``jax.jvp``: open loops have no reverse.
    """

    mean: Float[Array, " d"]
    points: Float[Array, " n_blocks m d"]
    half_norms: Float[Array, " n_blocks m"]
    coarse: Float[Array, " n_blocks m f"]
    fine: Float[Array, " n_blocks m g"]
    basis: Float[Array, " d k"]
    longest: Float[Array, ""]
    tol: Float[Array, ""]
    dense: Float[Array, ""]
    event: tuple[int, ...] = static()

    @classmethod
    def from_data(
        cls,
        data: ArrayLike,
        *,
        ranks: tuple[int, int] = (32, 448),
        tol: float = 1e-6,
        block: int = 128,
        dense: float = 0.35,
    ) -> "ScreenedDenoiser":
        """data: (N, *event) floating with N ≥ 2; ranks: components for all blocks and for what is left, cut to d;
        tol: how much probability may be left out; block: images a block; dense: the share of pairs of a query and a
        block left by the first bound from which on everything is scanned (0: always).

        Raises ValueError for fewer points than two, NaN, integer pixels, ranks that are not 1 ≤ first ≤ second,
        block < 1, tol or dense outside [0, 1], tol = 0.
        """
        check_points(data, at_least=2)
        flat = np.asarray(data).reshape(len(np.asarray(data)), -1)
        if not 1 <= ranks[0] <= ranks[1] or block < 1:
            raise ValueError(f"ranks = {ranks} and block = {block}; need 1 ≤ first ≤ second and block ≥ 1")
        if not (0 < tol <= 1 and 0 <= dense <= 1):
            raise ValueError(f"tol = {tol} and dense = {dense}; need 0 < tol ≤ 1 and 0 ≤ dense ≤ 1")
        mean = flat.mean(0, dtype=np.float64)
        some = flat[:: -(-len(flat) // 8192)]  # the bound holds for any orthonormal basis
        basis = principal_components(some, mean)[0][:, : ranks[1]]
        order = screen.by_neighbourhood(flat @ basis[:, :64].astype(np.float32), block)
        together = 1 if len(flat) < block * SCANNED else SCANNED
        points, half_norms, _ = in_blocks(flat, block * together, mean, order=order)
        points, half_norms = _smaller((points, half_norms), size=min(block, points.shape[1]))
        basis = jnp.asarray(basis, points.dtype)
        coarse, fine = _features(points, basis[:, : ranks[0]]), _features(points, basis)
        longest = jnp.sqrt(2 * jnp.where(half_norms < FAR, half_norms, 0).max())
        numbers = (jnp.asarray(a, points.dtype) for a in (tol, dense))
        arrays = points, half_norms, coarse, fine, basis, longest, *numbers
        return cls(jnp.asarray(mean, points.dtype), *arrays, event=np.shape(data)[1:])

    @checked(jit=False)
    def __call__(self, x: Points, sigma: Sigma) -> Points:
        """D_M(x; σ) up to tol: x (b, *event), sigma () or (b,) > 0. Raises ValueError for another event shape."""
        return self.posterior(x, sigma)[0]

    @checked(jit=False)
    def posterior(self, x: Points, sigma: Sigma) -> tuple[Points, Float[Array, " b"]]:
        """The posterior mean, (b, *event), and a bound ≤ tol, (b,), on the probability of the images left out.

        The mean is off by at most that share of the largest distance of two images, and by rounding, which may lift
        the bound above tol where σ² log(N/tol) is hardly more. The bound is 0 where all images were scanned. Raises
        ValueError for another event shape.  Equation 4.
        """
        return in_threads(_posterior, self, x, sigma, SHARE)[:2]

    @checked(jit=False)
    def visited(self, x: Points, sigma: Sigma) -> Float[Array, " b"]:
        """The share of images whose weight is in the mean, (b,); 1 where all are scanned. Errors as above."""
        return in_threads(_posterior, self, x, sigma, SHARE)[2]

    def _posterior(self, x, sigma):
        check_event(x, self.event)
        z = x.reshape(len(x), -1) - self.mean[None]
        variance = jnp.broadcast_to(expand(sigma, z)[:, 0] ** 2, (len(z),))
        least, (nearest, best) = self._bound_blocks(z)
        length = jnp.maximum(jnp.linalg.norm(z, axis=-1), self.longest)
        slack = 2 * (z.shape[1] + 64) * jnp.finfo(z.dtype).eps * self.longest * length
        margin = variance * jnp.log(self.half_norms.size / self.tol) + slack
        need = least < (best + margin)[None]
        few = need.mean() < self.dense

        def weight(bounds, least):
            return jnp.exp(-(bounds - least[:, None]) / variance[:, None])

        def screened():
            blocks, f = (self.fine, self.half_norms), screen.features(z, self.basis)
            found = screen.near_groups(blocks, self._group, f, variance, least, need, best + margin, best + slack)
            bounds, which, others, lowest = found
            blocks, known = (self.points, self.half_norms), (nearest, best)
            end, h, mean = screen.mean_of_nearest(blocks, self._group, z, variance, bounds, which, known, margin)
            seen = bounds < end[:, None]
            left = self._group * jnp.where(seen, 0, weight(bounds, h + slack)).sum(1)
            left = left + others * jnp.exp((h - best) / variance)
            share, done = self._group * seen.sum(1, dtype=z.dtype) / self.half_norms.size, left <= self.tol

            def whole_blocks():
                more = (lowest < (h + margin)[None]) & ~done[None]
                others = screen.mean_of_blocks(blocks, z, variance, more)
                rest = jnp.where(more.T, 0, weight(lowest.T, h + slack)).sum(1) * self.half_norms.shape[1]
                chosen = jnp.where(done[:, None], mean, others), jnp.where(done, left, rest)
                return *chosen, jnp.where(done, share, more.mean(0, z.dtype))

            mean, *rest = lax.cond(done.all(), lambda: (mean, left, share), whole_blocks)
            return (mean + self.mean[None]).reshape(x.shape), *rest

        def everything():
            together = gcd(len(self.points), SCANNED)
            blocks = (a.reshape(-1, together * a.shape[1], *a.shape[2:]) for a in (self.points, self.half_norms))
            mean, _ = softmax_mean(*of_points(z), tuple(blocks), beta=1 / variance)
            return (mean + self.mean[None]).reshape(x.shape), jnp.zeros_like(best), jnp.ones_like(best)

        return lax.cond(few, screened, everything)

    def _bound_blocks(self, z):
        """Lower bounds of the half distances of blocks, (n_blocks, b); a near image, (b, d), and its own, (b,)."""
        f = screen.features(z, self.basis[:, : self.coarse.shape[-1] - 1])
        blocks = (self.coarse, self.half_norms)
        least = lax.map(lambda block: screen.half_distances(f, *block, images_first=True).min(0), blocks)
        near = least.argmin(0)
        guess = self.half_norms[near] - jnp.einsum("bmf,bf->bm", self.coarse[near], f, precision="highest")
        row = lax.top_k(-guess, min(4, guess.shape[1]))[1]
        y, half_norm = self.points[near[:, None], row], self.half_norms[near[:, None], row]
        half = half_norm - jnp.einsum("bkd,bd->bk", y, z, precision="highest")
        nearest = jnp.take_along_axis(y, half.argmin(1)[:, None, None], 1)[:, 0]
        return least, (nearest, half.min(1))

    @property
    def _group(self) -> int:
        """Images a group."""
        return gcd(self.points.shape[1], 8)


_posterior = jax.jit(ScreenedDenoiser._posterior)


@partial(jax.jit, static_argnames="size", donate_argnums=0)
def _smaller(blocks, *, size):
    return jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[2:]), blocks)


_features = jax.jit(lambda points, basis: lax.map(lambda z: screen.features(z, basis), points))
