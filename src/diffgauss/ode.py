"""The probability-flow ODE and its solvers. A step rule is a function value: ``step=dg.heun``."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from diffgauss.core import Denoiser, Points, Sigma, checked, expand

Step = Callable[[Denoiser, Array, Array, Array], Array]


@checked(jit=False)
def velocity(D: Denoiser, x: Points, sigma: Sigma) -> Points:
    """dx/dσ = (x − D(x; σ))/σ = −σ ∇ log p(x; σ).  Li et al. (2024), Eq. 1-2."""
    return (x - D(x, sigma)) / expand(sigma, x)


@checked(jit=False)
def euler(D: Denoiser, x: Points, sigma: Sigma, sigma_next: Sigma) -> Points:
    """x' = x + (σ' − σ) dx/dσ: order 1, one call of D.  Karras et al. (2022), Algorithm 1 uncorrected."""
    return x + expand(sigma_next - sigma, x) * velocity(D, x, sigma)


@checked(jit=False)
def heun(D: Denoiser, x: Points, sigma: Sigma, sigma_next: Sigma) -> Points:
    """x' = x + h (v + v')/2 with h = σ' − σ and v' at the Euler step's end: order 2, two calls of D.

    σ' must be > 0.  Karras et al. (2022), Algorithm 1.
    """
    h, v = expand(sigma_next - sigma, x), velocity(D, x, sigma)
    return x + h * (v + velocity(D, x + h * v, sigma_next)) / 2


@checked(static=("step",))
def sample(D: Denoiser, x: Points, sigmas: Float[Array, " n"], *, step: Step = heun) -> Points:
    """Carry x ~ N(0, σ_0² I) down the grid, then denoise once: an Euler step from σ to 0 *is* D(x; σ).

    x: (b, *event), already scaled to sigmas[0]·noise; sigmas: (n,) > 0, decreasing. Heun costs 2n − 1 calls
    of D, Euler n. Raises TypeError for a D that is no pytree, ValueError for a grid that is not decreasing
    and positive.  Li et al. (2024), Eq. 1; Karras et al. (2022), Algorithm 1.
    """
    grid = jnp.asarray(sigmas, x.dtype)
    x, _ = lax.scan(lambda x, s: (step(D, x, *s).astype(x.dtype), None), x, (grid[:-1], grid[1:]))
    return D(x, grid[-1]).astype(x.dtype)


@checked(static=("step",))
def trajectory(
    D: Denoiser, x: Points, sigmas: Float[Array, " n"], *, step: Step = heun
) -> Float[Array, " n b *event"]:
    """The states x(σ_0), …, x(σ_{n−1}) of the probability-flow ODE: (n, b, *event), the first is x itself.

    The last state is still at noise level σ_{n−1}; ``D(states[-1], sigmas[-1])`` is what ``sample`` returns.
    Same arguments and errors as ``sample``.  Li et al. (2024), Eq. 1.
    """
    grid = jnp.asarray(sigmas, x.dtype)

    def advance(x, s):
        x = step(D, x, *s).astype(x.dtype)
        return x, x

    _, states = lax.scan(advance, x, (grid[:-1], grid[1:]))
    return jnp.concatenate([x[None], states])
