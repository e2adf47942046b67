"""Training a denoiser by denoising score matching: many steps a device call, the same curve for the same seed."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from diffgauss import parallel
from diffgauss.core import Denoiser, Points, check_denoiser, check_points, expand, pytree
from diffgauss.interrupts import interrupts
from diffgauss.schedule import lognormal_sigmas


def weight(sigma: Array, sigma_data: float | Array) -> Array:
    """w(σ) = 1/c_out² = (σ² + σ_data²)/(σ σ_data)²: each level counts alike.  Karras et al. (2022), Table 1."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def dsm_loss(D: Denoiser, x0: Points, sigma: Float[Array, " b"], eps: Array, sigma_data: float) -> Float[Array, ""]:
    """E w(σ) ‖D(x₀ + σε; σ) − x₀‖²/d, w = ``weight``: 1 for D = c_skip x on centred data of variance σ_data².

    x0: (b, *event) clean; sigma: (b,); eps: standard normal, of x0's shape.  Li et al. (2024), Eq. 3.
    """
    level = expand(sigma, x0)
    error = (D(x0 + level * eps, sigma) - x0).reshape(len(x0), -1)
    return (weight(sigma, sigma_data) * (error**2).mean(-1)).mean()


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a run besides the network and its data; hashable, so that it is static under jit.

    steps: how many; batch: images a step; rate: Adam's, after a linear warmup over so many steps and until a linear
    cooldown to 0 over the last so many; clip: largest norm of the gradient; ema: largest decay of the averaged
    weights, which is (1 + t)/(10 + t) before; sigma_mean, sigma_std: of ln σ; sigma_data: standard deviation of the
    pixels, for the weighting; seed: of the batches, levels and noise. Raises ValueError for a number out of range.
    """

    steps: int
    batch: int = 32
    rate: float = 4e-3
    warmup: int = 100
    cooldown: int = 0
    clip: float = 1.0
    ema: float = 0.9999
    sigma_mean: float = 0.8
    sigma_std: float = 1.8
    sigma_data: float = 0.7
    seed: int = 0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            positive = field.name not in ("warmup", "cooldown", "ema", "sigma_mean", "sigma_std", "seed")
            if field.type in (int, "int") and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
                raise ValueError(f"{field.name} = {value}; needs a whole number")
            if not math.isfinite(value) or (positive and value <= 0) or (field.name != "sigma_mean" and value < 0):
                raise ValueError(f"{field.name} = {value}; needs a finite number {'> 0' if positive else '≥ 0'}")
        if not self.ema < 1:
            raise ValueError(f"ema = {self.ema}; needs 0 ≤ ema < 1")


@pytree
class TrainState:
    """model: D_θ in training; ema: its averaged weights; moments: Adam's; step, seed: () integers."""

    model: Any
    ema: Any
    moments: Any
    step: Array
    seed: Array

    @classmethod
    def start(cls, model: Denoiser, config: TrainConfig) -> "TrainState":
        """The state before the first step. Raises TypeError unless model is a callable pytree of arrays."""
        check_denoiser(model)
        copy = partial(jax.tree.map, jnp.copy)  # the state is donated to each call, so it owns its arrays
        moments = _optimizer(config).init(model)  # type: ignore[arg-type]
        return cls(copy(model), copy(model), moments, jnp.zeros((), jnp.int32), jnp.uint32(config.seed))


class Diverged(FloatingPointError):
    """The loss was not finite. state: the last good one; losses: up to there."""

    def __init__(self, message: str, state: TrainState, losses: np.ndarray):
        super().__init__(message)
        self.state, self.losses = state, losses


@partial(jax.jit, static_argnames=("config", "n", "mesh"), donate_argnames="state")
def train_steps(
    state: TrainState, data: Float[Array, " N *event"], *, config: TrainConfig, n: int, mesh: Mesh | None = None
) -> tuple[TrainState, Float[Array, " n"]]:
    """n steps of Adam on equation 3 in one call; the new state and the n losses. The old state is donated.

    Batch, levels and noise of step t come from fold_in(key(state.seed), t) alone, so a run can stop and go on. From
    the first loss that is not finite on the state stays as it was. mesh: spread each batch over its devices.
    """
    root, optimizer = jax.random.key(state.seed), _optimizer(config)

    def step(state, _):
        pick, level, noise = jax.random.split(jax.random.fold_in(root, state.step), 3)
        x0 = data[jax.random.randint(pick, (config.batch,), 0, len(data))]
        sigma = lognormal_sigmas(config.batch, key=level, mean=config.sigma_mean, std=config.sigma_std)
        eps, sigma = jax.random.normal(noise, x0.shape, x0.dtype), sigma.astype(x0.dtype)
        x0, sigma, eps = (parallel.batch(part, mesh) for part in (x0, sigma, eps))
        loss, gradient = jax.value_and_grad(dsm_loss)(state.model, x0, sigma, eps, config.sigma_data)
        updates, moments = optimizer.update(gradient, state.moments, state.model)
        model = optax.apply_updates(state.model, updates)
        decay = jnp.minimum(config.ema, (1 + state.step) / (10 + state.step))
        ema = optax.incremental_update(model, state.ema, 1 - decay)
        good = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        new = TrainState(model, ema, moments, state.step + 1, state.seed)
        return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, state), jnp.where(good, loss, jnp.nan)

    return lax.scan(step, state, length=n)


def fit(
    state: TrainState, data: ArrayLike, config: TrainConfig, *, until: int | None = None, every: int = 32,
    keep: Callable[[TrainState, np.ndarray], None] | None = None, progress: bool = True, mesh: Mesh | None = None
) -> tuple[TrainState, np.ndarray]:  # fmt: skip
    """Train from state.step to config.steps, or until an earlier one; the last state and the losses found here.

    data: (N, *event). Every so many steps keep(state, losses so far) is called, with a bar that shows loss and
    images/s. Ctrl-C or a notebook's stop button ends the training after the call that is under way: a warning says
    so, and the state is returned as ever; a second one interrupts at once. The given state is consumed. mesh: train
    on its devices, each with a copy of the data and a share of each batch. Raises ValueError for bad data, every
    < 1 or a batch the devices cannot share, and Diverged, with the last good state, where the loss is not finite.
    """
    check_points(data, at_least=1)
    if every < 1:
        raise ValueError(f"every = {every}; needs at least 1 step")
    if mesh is not None and config.batch % mesh.size:
        raise ValueError(f"batch = {config.batch}; needs a multiple of the {mesh.size} devices")
    start = int(state.step)
    state, images = parallel.replicate((state, jnp.asarray(data, jnp.float32)), mesh)
    last = config.steps if until is None else min(until, config.steps)
    compiled = replace(config, seed=0, steps=config.steps if config.cooldown else 1)  # what the steps depend on
    losses = np.zeros(0, np.float32)
    with tqdm(total=last, initial=start, unit="step", disable=not progress) as bar, interrupts() as stops:
        while (done := start + len(losses)) < last and not stops:
            n = min(every - done % every, last - done)
            state, new = train_steps(state, images, config=compiled, n=n, mesh=mesh)
            losses = np.concatenate([losses, np.asarray(new)])
            if not np.isfinite(losses).all():
                losses = losses[: int(np.argmin(np.isfinite(losses)))]
                at = f"the loss of step {start + len(losses)} is not finite"
                raise Diverged(f"{at}; needs a lower rate than {config.rate}", state, losses)
            rate = (bar.format_dict["rate"] or 0) * config.batch
            bar.set_postfix(loss=f"{losses[-every:].mean():.4f}", images_per_s=f"{rate:.0f}", refresh=False)
            bar.update(n)
            if keep is not None:
                keep(state, losses)
    if stops and done < last:
        warnings.warn(f"stopped at step {done} of {last}; the state returned goes on from there", stacklevel=2)
    return state, losses


def _optimizer(config: TrainConfig) -> optax.GradientTransformation:
    def rate(t):
        up = (t + 1) / (config.warmup + 1)
        down = (config.steps - t) / config.cooldown if config.cooldown else 1
        return config.rate * jnp.clip(jnp.minimum(up, down), 0, 1)

    return optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(rate))
