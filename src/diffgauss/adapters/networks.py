"""A network that predicts the image, the noise or v, at the times of its own process, as a denoiser D(x, σ)."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.core import Points, Sigma, check_denoiser, check_points, checked, expand, pytree, static

Kind = Literal["edm", "x0", "eps", "v"]


@pytree
class NoiseSchedule:
    """The times t of a process and their levels σ(t), increasing: what a network wants to be told instead of σ.

    sigmas, times: (T,) each; preserving: x_t = (x₀ + σε)/√(1 + σ²) as in variance-preserving processes, instead of
    x_t = x₀ + σε. Between the levels t is linear in log σ; beyond them it stays at the end. ``vp`` and ``ve`` make
    one. Raises ValueError for levels that are not > 0 or do not increase, or for other numbers of times.
    Song et al. (2021); Karras et al. (2022), Table 1.
    """

    sigmas: Float[Array, " T"]
    times: Float[Array, " T"]
    preserving: bool = static()

    def __post_init__(self):
        sigmas, times = np.asarray(self.sigmas), np.asarray(self.times)
        if sigmas.ndim != 1 or sigmas.shape != times.shape or not len(sigmas):
            raise ValueError(f"sigmas and times have shapes {sigmas.shape} and {times.shape}; needs (T,) twice")
        if not (np.isfinite(sigmas).all() and sigmas[0] > 0 and (np.diff(sigmas) > 0).all()):
            raise ValueError("the levels of a schedule need to be finite, > 0 and to increase with time")

    @classmethod
    def vp(cls, alphas_cumprod: ArrayLike, times: ArrayLike | None = None) -> "NoiseSchedule":
        """σ_t = √((1 − ᾱ_t)/ᾱ_t) from ᾱ (T,), which falls; times: 0 … T − 1 by default.

        A last ᾱ_t of 0, pure noise, is left out. Raises ValueError for values outside (0, 1).
        """
        kept = np.asarray(alphas_cumprod, np.float64)
        steps = np.arange(len(kept)) if times is None else np.asarray(times)
        if len(kept) and kept[-1] == 0:
            kept, steps = kept[:-1], steps[:-1]
        if kept.ndim != 1 or not ((0 < kept) & (kept < 1)).all():
            raise ValueError("alphas_cumprod needs shape (T,) and values between 0 and 1")
        return cls(jnp.asarray(np.sqrt((1 - kept) / kept), float), jnp.asarray(steps, float), True)

    @classmethod
    def ve(cls, sigmas: ArrayLike, times: ArrayLike | None = None) -> "NoiseSchedule":
        """Levels σ_t (T,), in either order; times: 0 … T − 1 by default, in the same order."""
        levels = np.asarray(sigmas, np.float64)
        steps = np.arange(len(levels)) if times is None else np.asarray(times)
        turn = slice(None, None, -1) if len(levels) > 1 and levels[0] > levels[-1] else slice(None)
        return cls(jnp.asarray(levels[turn], float), jnp.asarray(steps[turn], float), False)

    def time(self, sigma: Array) -> Array:
        """t at σ, of its shape."""
        return jnp.interp(jnp.log(sigma), jnp.log(self.sigmas), self.times).astype(sigma.dtype)


@pytree
class NetworkDenoiser:
    """D(x; σ) of a network F. With c = 1/√(1 + σ²), or c = 1 where the variance explodes, and F at (c x, t(σ)):

    eps: D = x − σF; v: D = c²x − cσF; x0: D = F. edm: F is a denoiser already, D = F(x, σ).
    Ho et al. (2020); Salimans & Ho (2022); Karras et al. (2022), Table 1. ``from_network`` makes one.
    """

    net: Any
    schedule: NoiseSchedule | None
    kind: Kind = static()

    @checked
    def __call__(self, x: Points, sigma: Sigma) -> Points:
        """D(x; σ): x (b, *event), sigma () or (b,) > 0. Raises ValueError for b = 0, and as F does."""
        if not len(x):
            raise ValueError(f"x has shape {x.shape}; needs b ≥ 1 points")
        levels = jnp.broadcast_to(jnp.asarray(sigma, x.dtype), x.shape[:1])
        if self.schedule is None:
            return self.net(x, levels)
        s = expand(levels, x)
        c = jax.lax.rsqrt(1 + s**2) if self.schedule.preserving else jnp.ones_like(s)
        F = self.net(c * x, self.schedule.time(levels)).astype(x.dtype)
        return {"x0": lambda: F, "eps": lambda: x - s * F, "v": lambda: c * (c * x - s * F)}[self.kind]()


def from_network(
    net: Callable, kind: Kind = "edm", schedule: NoiseSchedule | None = None, *, images: ArrayLike | None = None
) -> NetworkDenoiser:
    """The denoiser D(x, σ) of a network F(x_t, t) in JAX: a callable pytree, as those of equinox and flax.nnx are.

    kind: what F predicts: "x0" the image, "eps" the noise, "v" = √ᾱ ε − √(1 − ᾱ) x₀; "edm": F(x, σ) is a denoiser.
    schedule: of the process that F was trained on, none for "edm". F gets x (b, *event) and t (b,). images: some
    clean ones (n, *event), on which kind and schedule are tried. Raises ValueError for what does not go together
    or does not fit the images, TypeError for a net that is no pytree.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind = {kind!r}; needs one of {', '.join(map(repr, get_args(Kind)))}")
    if (schedule is None) != (kind == "edm"):
        given = "a schedule" if schedule is not None else "no schedule"
        wanted = "none, since F(x, σ) takes σ itself" if kind == "edm" else "one: dg.NoiseSchedule.vp or .ve"
        raise ValueError(f"kind = {kind!r} with {given}; needs {wanted}")
    if kind == "v" and schedule is not None and not schedule.preserving:
        raise ValueError("kind = 'v' with a schedule whose variance explodes; needs NoiseSchedule.vp")
    check_denoiser(net)
    D = NetworkDenoiser(net, schedule, kind)
    if images is not None:
        try_on(D, images)
    return D


WORSE, BETTER = 2.0, 0.8
"""An error above WORSE times that of the better trivial denoiser is refused, and a schedule where another time
brings the error below BETTER times its own."""

HIGH = 5.0
"""The high level of ``try_on``: of a noise prediction higher ones multiply small errors by σ."""


def try_on(D: NetworkDenoiser, images: ArrayLike) -> None:
    """Raise ValueError where D's kind or schedule cannot be right: E‖D(x₀ + σε; σ) − x₀‖² is tried on images.

    At a high level D must approach the mean, at a low one x itself: the error may be at most twice that of the
    better of these two. Near σ = 1 no other level that D is told instead of σ may fit much better. It finds wrong
    kinds and schedules, not badly trained networks. images: clean ones (n, *event).
    """
    check_points(images, "images", at_least=2)
    x0 = jnp.asarray(np.asarray(images, np.float32)[:64])
    low, high = (0.05, HIGH) if D.schedule is None else (float(s) for s in D.schedule.sigmas[jnp.array([0, -1])])
    spread = float(((x0 - x0.mean(0)[None]) ** 2).mean())
    levels = sorted({max(low, 0.05), min(max(1.0, low), high), min(high, HIGH)})
    bad = {s: e for s in levels if not (e := error(D, x0, s)) <= WORSE * min(s**2, spread)}
    if bad:
        s, found = max(bad.items())
        said = f"kind = {D.kind!r}: at σ = {s:.3g} the mean squared error is {found:.3g}"
        said += f", where a constant has {spread:.3g} and x itself {s**2:.3g}"
        fit = [] if D.schedule is None else [k for k in get_args(Kind)[1:] if _fits(D, k, x0, levels, spread)]
        raise ValueError(
            f"{said}; {f'kind = {fit[0]!r} fits' if fit else 'needs another kind or schedule, or more training'}"
        )
    if D.schedule is not None:
        s = levels[len(levels) // 2]
        told = {k: error(_told(D, k), x0, s) for k in (0.25, 0.5, 1.0, 2.0, 4.0)}
        best = min(told, key=lambda k: told[k])
        if told[best] < BETTER * told[1.0]:
            raise ValueError(
                f"schedule: at σ = {s:.3g} the mean squared error is {told[1.0]:.3g}, and {told[best]:.3g} if the "
                f"network is told {best:g} σ; needs the schedule that it was trained with"
            )


def error(D: NetworkDenoiser, x0: Array, sigma: float) -> float:
    """E (D(x₀ + σε; σ) − x₀)², the mean over pixels, with the same ε for the same images."""
    eps = jax.random.normal(jax.random.key(0), x0.shape)
    return float(((D(x0 + jnp.float32(sigma) * eps, sigma) - x0) ** 2).mean())


def _fits(D: NetworkDenoiser, kind: Kind, x0: Array, levels: list[float], spread: float) -> bool:
    other = NetworkDenoiser(D.net, D.schedule, kind)
    return all(error(other, x0, s) <= WORSE * min(s**2, spread) for s in levels)


def _told(D: NetworkDenoiser, factor: float) -> NetworkDenoiser:
    """D, with its network told another level's time at the same x."""
    assert D.schedule is not None
    moved = NoiseSchedule(D.schedule.sigmas / factor, D.schedule.times, D.schedule.preserving)
    return NetworkDenoiser(D.net, moved, D.kind)
