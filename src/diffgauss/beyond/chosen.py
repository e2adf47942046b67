"""Of several denoisers the one that is best at each noise level."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from diffgauss.core import (
    Denoiser,
    Points,
    Sigma,
    check_denoiser,
    check_points,
    check_sigmas,
    checked,
    expand,
    pytree,
)


@pytree
class ChosenDenoiser:
    """D(x; σ) = D_{k(σ)}(x; σ), k chosen at the level nearest to σ in log σ.

    One member is computed for one σ; for σ of shape (b,) members of the batch are taken one by one.  Ours.
    """

    members: tuple[Any, ...]
    sigmas: Float[Array, " n"]
    choice: Int[Array, " n"]

    @classmethod
    def by_error(
        cls,
        members: Sequence[Denoiser],
        x0: Points,
        sigmas: ArrayLike,
        *,
        key: Array,
        like: Denoiser | None = None,
    ) -> "ChosenDenoiser":
        """k(σ) = argmin_k E‖D_k(x₀ + σε; σ) − x₀‖² over images x₀ held out, the same noise for all.

        No network is asked, unless one is given to be like: then its answer to x₀ + σε takes the place of x₀.
        Raises ValueError for no members, a bad grid or bad images, and where no member's error is finite; TypeError
        for a member that is no pytree.
        """
        check_sigmas(sigmas)
        check_points(x0, "x0")
        if not members:
            raise ValueError("got no members; needs at least one denoiser")
        noise, grid = jax.random.normal(key, x0.shape), np.asarray(sigmas, np.float64)
        goals = [x0 if like is None else like(x0 + s * noise, s) for s in map(float, grid)]
        errors = np.empty((len(members), len(grid)))
        for k, D in enumerate(members):
            check_denoiser(D)
            for i, sigma in enumerate(map(float, grid)):
                errors[k, i] = ((D(x0 + sigma * noise, sigma) - goals[i]) ** 2).mean()
        if (bad := ~np.isfinite(errors).any(0)).any():
            raise ValueError(f"no member has a finite error at σ = {grid[bad]}; needs one at each level")
        errors[~np.isfinite(errors)] = np.inf
        return cls(tuple(members), jnp.asarray(grid, jnp.zeros(()).dtype), jnp.asarray(errors.argmin(0)))

    @checked
    def __call__(self, x: Points, sigma: Sigma) -> Points:
        """D(x; σ): x (b, *event), sigma () or (b,) > 0. Errors are those of the members."""
        level = expand(sigma, x).ravel()  # one, or b
        k = self.choice[jnp.abs(jnp.log(level)[:, None] - jnp.log(self.sigmas)[None]).argmin(1)]

        def call(k, x, level):
            return lax.switch(k, [lambda x, s, D=D: D(x, s) for D in self.members], x, level)

        if level.shape == (1,):
            return call(k[0], x, level[0])
        return lax.map(lambda one: call(one[0], one[1][None], one[2])[0], (k, x, level))
