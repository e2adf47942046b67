"""The linear denoiser D_L: one matrix and one offset a noise level, such as a network is distilled into."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from diffgauss.core import Denoiser, Points, Sigma, check_event, check_sigmas, checked, expand, pytree


@pytree
class LinearDenoiser:
    """D_L(x; σ) = W(σ) x + b(σ).  Li et al. (2024), Eq. 5 (v5: 9).

    sigmas: (n,) > 0, decreasing; W: (n, d, d); b: (n, *event) with d numbers an event. At a level of the grid D_L
    is that level's map exactly. In between, W and b are interpolated linearly in log σ, which is coarse where
    levels are a factor of 2 apart; beyond the ends the end level is used, since a traced σ can raise no error.

    For large d: D_L(x; σ) = base(x; σ) + W(σ) Vᵀ x + b(σ), with W: (n, d, r), V: (d, r), and base an affine
    denoiser such as D_G, exact at every σ. Raises ValueError for a grid or for shapes that do not fit together.
    """

    sigmas: Float[Array, " n"]
    W: Float[Array, " n d r"]
    b: Float[Array, " n *event"]
    V: Float[Array, " d r"] | None = None
    base: Any = None

    def __post_init__(self):
        check_sigmas(self.sigmas)
        n, shapes = len(self.sigmas), (np.shape(self.W), np.shape(self.b))
        d = int(np.prod(shapes[1][1:]))
        if len(shapes[0]) != 3 or len(shapes[1]) < 2 or shapes[0][:2] != (n, d) or shapes[1][0] != n:
            raise ValueError(f"W and b have shapes {shapes}; {n} levels need (n, d, ·) and (n, *event), d an event")
        r = shapes[0][2]
        if self.V is None and r != d:
            raise ValueError(f"W has shape {shapes[0]}; needs ({n}, {d}, {d}), or V beside it")
        if self.V is not None and np.shape(self.V) != (d, r):
            raise ValueError(f"V has shape {np.shape(self.V)}; needs ({d}, {r})")

    @checked
    def __call__(self, x: Points, sigma: Sigma) -> Points:
        """D_L(x; σ): x (b, *event), sigma () or (b,) > 0. Raises ValueError for another event shape."""
        check_event(x, self.b.shape[1:])
        z, n = x.reshape(len(x), -1), len(self.W)
        place = self._place(expand(sigma, z))
        right = z if self.V is None else jnp.matmul(z, self.V, precision="highest")
        # One σ for all costs the products of two levels, a σ for each member those of all n levels.
        levels = jnp.arange(n) if len(place) > 1 else jnp.floor(place[0, 0]).astype(int) + jnp.arange(min(n, 2))

        def add(total, k):
            W, b = self.W[k], self.b[k].ravel()
            weight = jnp.maximum(0, 1 - abs(place - k))
            return total + weight * (jnp.matmul(right, W.T, precision="highest") + b[None]), None

        start = jnp.zeros(z.shape, jnp.result_type(right, self.W))
        total = lax.scan(add, start, levels)[0].reshape(x.shape).astype(x.dtype)
        return total if self.base is None else self.base(x, sigma) + total

    def _place(self, sigma):
        """k at sigmas[k], linear in log σ in between, within [0, n − 1]: of sigma's shape (1, 1) or (b, 1)."""
        grid = self.sigmas.astype(sigma.dtype)
        last = len(grid) - 1
        k = jnp.clip((grid[None] >= sigma).sum(-1, keepdims=True) - 1, 0, last)
        above, below = grid[k], grid[jnp.minimum(k + 1, last)]
        step = jnp.where(k < last, jnp.log(above / below), 1)
        return jnp.clip(k + jnp.log(above / sigma) / step, 0, last)


@checked(static=("event",))
def affine(
    D: Denoiser, event: tuple[int, ...], sigma: float | Float[Array, ""]
) -> tuple[Float[Array, " d d"], Float[Array, " *event"]]:
    """W and b of an affine denoiser D(x; σ) = W x + b: the gradient of each pixel, and the value at 0.

    event: the shape of one x. For a D that is not affine W is the Jacobian at 0. Raises TypeError for a D that is
    no pytree.  The W and b of Li et al. (2024), Eq. 5; for D_G, W = UΛ(Λ + σ²I)⁻¹Uᵀ as in Eq. 7.
    """
    zero = jnp.zeros((1, *event))
    value, pull = jax.vjp(lambda x: D(x, sigma), zero)

    def row(i):
        return pull(jax.nn.one_hot(i, zero.size).reshape(zero.shape))[0].ravel()

    return lax.map(row, jnp.arange(zero.size), batch_size=256), value[0]
