"""Linear distillation as the paper does it, by gradient descent: to compare with the closed form."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss._core import Denoiser, check_denoiser, check_points


class Descent(NamedTuple):
    """W: (d, d); b: (*event); losses: (steps,), the mean squared error of each batch before its step."""

    W: Array
    b: Array
    losses: Array


def distill_sgd(
    D: Denoiser,
    data: ArrayLike,
    sigma: float | Float[Array, ""],
    *,
    key: Array,
    steps: int,
    rate: float,
    batch: int = 256,
) -> Descent:
    """min_{W,b} E‖W (x+ε) + b − D(x+ε; σ)‖² at one level by Adam from W = 0, b = 0, with fresh noise in each batch.

    data: (N, *event) images x. The descent runs in W√d, because the input is divided by √d; rate: Adam's first one,
    which falls to 0 along half a cosine, because with a fixed one the map hovers above the minimum. It has to be
    found by hand for each σ and d (the paper's at d = 12288: 5e-5 for σ ≥ 4, 5e-4 near 1, 5e-3 at .12, 5e-2 below).
    Raises ValueError for bad data, σ or numbers, TypeError for a D that is no pytree.
    Li et al. (2024), Eq. 5 and appendix.
    """
    check_denoiser(D)
    check_points(data, at_least=1)
    for name, value in {"sigma": sigma, "rate": rate}.items():
        if not 0 < float(value) < np.inf:
            raise ValueError(f"{name} = {value}; needs a finite number > 0")
    for name, value in {"steps": steps, "batch": batch}.items():
        if value < 1:
            raise ValueError(f"{name} = {value}; needs at least 1")
    return _descend(D, jnp.asarray(data, jnp.float32), sigma, key, rate, steps=steps, batch=batch)


@partial(jax.jit, static_argnames=("steps", "batch"))
def _descend(D, data, sigma, key, rate, *, steps, batch):
    d, event = data[0].size, data.shape[1:]
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def loss(parameters, y, target):
        W, b = parameters
        error = jnp.matmul(y / jnp.sqrt(d), W.T, precision="highest") + b[None] - target
        return (error**2).mean()

    def step(carry, t):
        parameters, moments = carry
        pick, noise = jax.random.split(jax.random.fold_in(key, t))
        x0 = data[jax.random.randint(pick, (batch,), 0, len(data))]
        y = x0 + sigma * jax.random.normal(noise, x0.shape)
        flat = y.reshape(batch, d)
        value, gradient = jax.value_and_grad(loss)(parameters, flat, D(y, sigma).reshape(batch, d))
        updates, moments = optimizer.update(gradient, moments)
        return (jax.tree.map(jnp.add, parameters, updates), moments), value

    start = jnp.zeros((d, d)), jnp.zeros(d)
    ((W, b), _), losses = lax.scan(step, (start, optimizer.init(start)), jnp.arange(steps))
    return Descent(W / jnp.sqrt(d), b.reshape(event), losses)
