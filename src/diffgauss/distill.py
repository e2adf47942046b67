"""The linear denoiser closest to a given one: in closed form, and by gradient descent to compare."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.core import Denoiser, apply, check_denoiser, check_points, check_sigmas
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.denoisers.linear import LinearDenoiser, affine
from diffgauss.moments import Moments, choose_ridge, fit


def distill(
    D: Denoiser, data: ArrayLike, sigmas: ArrayLike, *, key: Array, samples: int = 16384,
    base: GaussianDenoiser | None = None, rank: int | None = None, ridge: float | None = None, batch: int = 256
) -> LinearDenoiser:  # fmt: skip
    """min_{W,b} E‖W y + b − D(y; σ)‖² with y = x + σε at each level: W = W_G + C_{(D−D_G)y} (C_yy + τI)⁻¹.

    data: (N, *event) images x, each used about equally often; samples: pairs (x, ε) a level, whose moments are
    taken in float64 in one pass; batch: pairs a call of D; base: D_G, by default of data itself. ridge: τ; 0 is
    plain least squares, whatever the base; by default each level takes the τ that is best on a fifth of the pairs,
    then all pairs. rank: W − W_G acts on so many leading principal components only, without any d×d matrix, in the
    low-rank form, which rounds and interpolates finer. Raises ValueError for bad data, levels or numbers, too few
    samples, NaN in D's answers or another shape; TypeError for no pytree.  Li et al. (2024), Eq. 5 (v5: 9).
    """
    check_denoiser(D)
    check_points(data, at_least=2)
    check_sigmas(sigmas)
    data = np.asarray(data, np.float32)
    base = GaussianDenoiser.from_data(data) if base is None else base
    event, n = data.shape[1:], len(data)
    if base.mean.shape != event:
        raise ValueError(f"base has events of shape {base.mean.shape}; needs {event}, as data")
    if rank is not None and not 1 <= rank <= len(base.lam):
        raise ValueError(f"rank = {rank}; needs 1 ≤ rank ≤ {len(base.lam)}, the components of base")
    if batch < 1:
        raise ValueError(f"batch = {batch}; needs at least 1")
    if ridge is not None and not 0 <= ridge:
        raise ValueError(f"ridge = {ridge}; needs ridge ≥ 0, or None for the best")
    unknowns = data[0].size if rank is None else rank
    if samples < (need := unknowns + 2 if ridge == 0 else 10):
        raise ValueError(f"samples = {samples}; needs at least {need} for {unknowns} components and ridge {ridge}")
    V = None if rank is None else base.U[:, :rank]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    rows = np.concatenate([rng.permutation(n) for _ in range(-(-samples // n))])[:samples]
    parts = [rows] if ridge is not None else np.split(rows, [samples - samples // 5])
    grid, maps = jnp.asarray(sigmas, jnp.float32), []
    for level, sigma in enumerate(grid):
        own, streams = jax.random.fold_in(key, level), []
        for number, part in enumerate(parts):
            streams.append(moments(D, base, V, data, part, sigma, jax.random.fold_in(own, number), batch))
        both, tau = Moments.sum(streams), ridge
        if tau is None:
            tau = choose_ridge(*streams) * float(streams[0].n / both.n)
        maps.append(_whole(*fit(both, tau), base, V, sigma))
    W, b = (jnp.asarray(np.stack(parts)) for parts in zip(*maps, strict=True))
    return LinearDenoiser(grid, W, b.reshape(-1, *event), V, None if V is None else base)


def moments(
    D, base: GaussianDenoiser, V: Array | None, data: np.ndarray, rows: np.ndarray, sigma: Array, key: Array,
    batch: int,
) -> Moments:  # fmt: skip
    """Those of (z, r) of ``pairs`` for these rows of data, the device one block ahead of the host.

    V: (d, k) or None; data: (N, *event); rows: (n,); sigma: (); batch: of pairs. Raises ValueError for NaN in r.
    """

    def begin(start):
        block = np.resize(rows[start : start + batch], batch)  # the last one is filled up: one shape, one trace
        return pairs(D, base, V, data[block], sigma, jax.random.fold_in(key, start))

    def sums():
        ahead = begin(0)
        for start in range(0, len(rows), batch):
            (z, r), n = ahead, len(rows[start : start + batch])
            if start + batch < len(rows):
                ahead = begin(start + batch)
            z, r = np.asarray(z)[:n], np.asarray(r)[:n]
            if not np.isfinite(r).all():
                raise ValueError(f"D gives NaN or infinite values at sigma = {sigma}; needs finite ones")
            yield Moments.of(z, r)

    return Moments.sum(sums())


@jax.jit
def pairs(D, base, V, x0, sigma, key):
    """z = Vᵀ(y − u) and r = D(y; σ) − D_G(y; σ) at y = x₀ + σε: what equation 5 fits, less D_G."""
    y = x0 + sigma * jax.random.normal(key, x0.shape, x0.dtype)
    z = (y - base.mean[None]).reshape(len(y), -1)
    r = (apply(D, y, sigma) - base(y, sigma)).reshape(z.shape)
    return z if V is None else jnp.matmul(z, V, precision="highest"), r


def _whole(A: np.ndarray, a: np.ndarray, base: GaussianDenoiser, V: Array | None, sigma: Array) -> tuple:
    """W and b as ``LinearDenoiser`` keeps them, from D(y) ≈ D_G(y) + A Vᵀ(y − u) + a."""
    u = np.asarray(base.mean, np.float64).ravel()
    if V is not None:
        return A.astype(np.float32), (a - A @ (np.asarray(V, np.float64).T @ u)).astype(np.float32)
    W = (np.asarray(affine(base, base.mean.shape, sigma)[0]) + A).astype(np.float32)
    return W, (u + a - W @ u).astype(np.float32)


class Descent(NamedTuple):
    """W: (d, d); b: (*event); losses: (steps,), the mean squared error of each batch before its step."""

    W: Array
    b: Array
    losses: Array


def distill_sgd(
    D: Denoiser, data: ArrayLike, sigma: float | Float[Array, ""], *, key: Array, steps: int, rate: float,
    batch: int = 256,
) -> Descent:  # fmt: skip
    """min_{W,b} E‖W (x+ε) + b − D(x+ε; σ)‖² at one level by Adam from W = 0, b = 0, with fresh noise in each batch.

    data: (N, *event) images x. The descent runs in W√d, because the input is divided by √d; rate: Adam's first one,
    which falls to 0 along half a cosine, because with a fixed one the map hovers above the minimum. Find it by hand
    for each σ and d (the paper's at d = 12288: 5e-5 for σ ≥ 4, 5e-4 near 1, 5e-3 at .12, 5e-2 below).
    Raises ValueError for bad data or numbers, TypeError for no pytree.  Li et al. (2024), Eq. 5 (v5: 9), appendix.
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
