"""Is a denoiser more Gaussian than its data ask? Ratios of products of differences, and an unbiased distance.

At x = x₀ + σε let v = D(x; σ) − D_G(x; σ), g = x₀ − D_G(x; σ) and m = D_M(x; σ) − D_G(x; σ). The mean of g at given
x is D* − D_G, with D* the posterior mean, so the means of ⟨v, g⟩ and ‖v‖² over images agree where D is D*.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.core import Denoiser, apply, check_denoiser, check_level, check_points
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.denoisers.linear import affine
from diffgauss.distill import moments
from diffgauss.estimate import Estimate, bootstrap
from diffgauss.moments import Moments, fit

BLOCK = 256  #: images a call of the denoisers


def skill(D: Denoiser, D_G: Denoiser, x0: ArrayLike, sigma: float | Array, *, key: Array) -> Estimate:
    """q = 1 − E‖D(x; σ) − x₀‖² / E‖D_G(x; σ) − x₀‖²: the share of D_G's error that D removes. Equation 32.

    x0: (b, *event) clean images, b ≥ 2, each with one noise: x = x₀ + σ·jax.random.normal(key, x0.shape). 0 is D_G,
    1 a denoiser without error, below 0 one that is worse than D_G. The interval is a bootstrap over images. Raises
    ValueError for bad images or level, denoisers that are not finite or change the shape, and D_G without error;
    TypeError for one that is no pytree. The explained share of Wang & Vastola (2024), about D_G and in terms of x₀.
    """
    return skill_of(*_differences([D], D_G, x0, sigma, key))


def excess(D: Denoiser, D_G: Denoiser, x0: ArrayLike, sigma: float | Array, *, key: Array) -> Estimate:
    """c* = argmin_c E‖D_G + c (D − D_G) − x₀‖² = E⟨D − D_G, x₀ − D_G⟩ / E‖D − D_G‖². Equation 33.

    How far to go from D_G through D for the least error: 1 for the posterior mean, above 1 where D stays too near
    D_G. Errors of D that have nothing to do with x₀ lower it, so c* ≤ 1 does not exclude a pull towards D_G.
    Arguments, interval and errors as ``skill``; also ValueError where D is D_G.  Ours.
    """
    return excess_of(*_differences([D], D_G, x0, sigma, key))


def pull(D1: Denoiser, D2: Denoiser, D_G: Denoiser, x0: ArrayLike, sigma: float | Array, *, key: Array) -> Estimate:
    """a = E⟨D₁ − D_G, D₂ − D_G⟩ / E⟨x₀ − D_G, (D₁ + D₂)/2 − D_G⟩, of two networks of the same images. Equation 34.

    For Dᵢ = D_G + a (D* − D_G) + eᵢ with errors that are independent of each other and of x it is that a, however
    large they are (the harmonic mean of two different a): 1 for no bias, below 1 for a pull towards D_G. Errors
    that both share raise it. Arguments, interval and errors as ``skill``; also ValueError where both are D_G.
    Ours.
    """
    return pull_of(*_differences([D1, D2], D_G, x0, sigma, key))


class Position(Estimate):
    """p with the ends of its interval; off: the share of E‖D − D_G‖² off the line from D_G to D_M.  Equation 35."""

    off: float


def position(D: Denoiser, D_G: Denoiser, D_M: Denoiser, x: ArrayLike, sigma: float | Array) -> Position:
    """p = E⟨D − D_G, D_M − D_G⟩ / E‖D_M − D_G‖² over *noisy* points x: 0 is D_G, 1 is D_M. Equation 35.

    x: (b, *event), b ≥ 2, noisy at sigma; of training images to tell how near D is to memory. At high σ, where D_M
    and D_G coincide, p means little. off = 1 − p² E‖D_M − D_G‖²/E‖D − D_G‖², from 0 to 1, is 1 for a step at right
    angles to the line, 0 for 0/0. Interval, errors as ``skill``; also ValueError where D_M is D_G.  Ours.
    """
    return position_of(*_differences([D, D_M], D_G, x, sigma)[:2])


def skill_of(v: np.ndarray, g: np.ndarray) -> Estimate:
    """Equation 32 of saved differences v = D − D_G and g = x₀ − D_G, (b, d) each. ValueError where g is 0."""
    return _ratio(2 * _dot(v, g) - _dot(v, v), _dot(g, g), "D_G makes no error")


def excess_of(v: np.ndarray, g: np.ndarray) -> Estimate:
    """Equation 33 of saved differences v = D − D_G and g = x₀ − D_G, (b, d) each. ValueError where v is 0."""
    return _ratio(_dot(v, g), _dot(v, v), "D equals D_G")


def pull_of(v1: np.ndarray, v2: np.ndarray, g: np.ndarray) -> Estimate:
    """Equation 34 of saved vᵢ = Dᵢ − D_G and g = x₀ − D_G, (b, d) each. Raises ValueError where both v are 0."""
    return _ratio(_dot(v1, v2), (_dot(v1, g) + _dot(v2, g)) / 2, "D1 and D2 equal D_G")


def position_of(v: np.ndarray, m: np.ndarray) -> Position:
    """Equation 35 of saved v = D − D_G and m = D_M − D_G, (b, d) each. Raises ValueError where m is 0."""
    found, whole = Position(*_ratio(_dot(v, m), _dot(m, m), "D_M equals D_G")), _dot(v, v).sum()
    found.off = float(1 - found.value**2 * _dot(m, m).sum() / whole) if whole else 0.0
    return found


class LinearDistance(Estimate):
    """The mean square distance with the ends of its interval; nmse: the weights', over those of D_G."""

    nmse: float


def linear_distance(
    D: Denoiser, D_G: GaussianDenoiser, x0: ArrayLike, sigma: float | Array, *, key: Array, samples: int = 16384,
    groups: int = 8
) -> LinearDistance:  # fmt: skip
    """E‖D_L(x; σ) − D_G(x; σ)‖²/d, unbiased: the mean of ⟨L₁, L₂⟩/d of two independent fits. Equation 36.

    L₁ and L₂ are plain least squares (equation 5, no ridge) of D − D_G on x, each from two fifths of the images x0
    (b, *event); x is of the last fifth; samples: noisy points for each of the three. The errors of the two fits are
    independent and cancel in the mean of the product, which may be below 0. nmse is the same of the weights, over
    those of D_G (equation 10). The interval is ± 2 standard errors of a jackknife that leaves out one of so many
    groups of images at a time, wide unless a fold has thousands of images. Raises ValueError for fewer than
    5·groups images, samples < d + 2 or groups < 2, and as ``skill``.  Ours; after Li et al. (2024), Eq. 5 (v5: 9).
    """
    _check([D, D_G], x0, sigma, at_least=5 * max(groups, 1))
    images = np.asarray(x0, np.float32)
    d = images[0].size
    if groups < 2 or samples < d + 2:
        raise ValueError(f"groups = {groups}, samples = {samples}; needs at least 2 and {d + 2}")
    order = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel()).permutation(len(images))
    level, cuts, folds = jnp.float32(sigma), [2 * len(images) // 5, 4 * len(images) // 5], []
    for i, fold in enumerate(np.split(order, cuts)):
        parts = []
        for j, group in enumerate(np.array_split(fold, groups)):
            rows, own = np.resize(group, -(-samples // groups)), jax.random.fold_in(key, groups * i + j)
            parts.append(moments(D, D_G, None, images, rows, level, own, BLOCK))
        folds.append(parts)
    square = float((np.asarray(affine(D_G, images.shape[1:], level)[0], np.float64) ** 2).sum())
    fits, fresh = [fit(Moments.sum(parts), 0.0) for parts in folds[:2]], Moments.sum(folds[2])
    value, spread = _product(fits[0], fits[1], fresh), 0.0
    for i, parts in enumerate(folds):
        left = []
        for j in range(groups):
            rest = Moments.sum(parts[:j] + parts[j + 1 :])
            changed = [*fits, fresh]
            changed[i] = rest if i == 2 else fit(rest, 0.0)
            left.append(_product(*changed))  # type: ignore[arg-type]
        spread += (groups - 1) * float(np.var(left))
    found = LinearDistance(value, value - 2 * spread**0.5, value + 2 * spread**0.5)
    found.nmse = float((fits[0][0] * fits[1][0]).sum() / square)
    return found


def _product(one: tuple[np.ndarray, np.ndarray], two: tuple[np.ndarray, np.ndarray], fresh: Moments) -> float:
    """E⟨A₁z + a₁, A₂z + a₂⟩/d over the fresh z."""
    (A, a), (B, b), z = one, two, fresh.z / fresh.n
    return float(((A @ (fresh.zz / fresh.n) * B).sum() + (A @ z) @ b + (B @ z) @ a + a @ b) / len(a))


def _check(denoisers: list[Denoiser], x0: ArrayLike, sigma: float | Array, at_least: int) -> None:
    for D in denoisers:
        check_denoiser(D)
    check_points(x0, "x0", at_least=at_least)
    if np.ndim(sigma) != 0:
        raise ValueError(f"sigma has shape {np.shape(sigma)}; needs one level")
    check_level(sigma)


def _differences(denoisers, D_G, x0, sigma, key=None) -> list[Float[np.ndarray, " b d"]]:
    """D(x; σ) − D_G(x; σ) of each, and x₀ − D_G(x; σ), in blocks: (b, d), float64. x = x₀ + σε, x₀ for no key."""
    _check([*denoisers, D_G], x0, sigma, at_least=2)
    noisy = clean = np.asarray(x0, jnp.zeros(()).dtype)
    if key is not None:
        noisy = clean + clean.dtype.type(sigma) * np.asarray(jax.random.normal(key, clean.shape, clean.dtype))
    level, n, found = jnp.asarray(sigma, clean.dtype), len(clean), []
    for start in range(0, n, BLOCK):
        rows = np.arange(start, start + min(BLOCK, n)) % n  # the last block is filled up: one shape, one trace
        answers = (apply(D, jnp.asarray(noisy[rows]), level) for D in (D_G, *denoisers))
        base, *others = (np.asarray(answer, np.float64) for answer in answers)
        parts = [part - base for part in (*others, clean[rows])]
        found.append([part.reshape(len(rows), -1)[: n - start] for part in parts])
    whole = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    if not all(np.isfinite(part).all() for part in whole):
        raise ValueError(f"a denoiser gives NaN or infinite values at sigma = {sigma}; needs finite ones")
    return whole


def _dot(a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, " b"]:
    return np.einsum("nd,nd->n", a, b)


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: str) -> Estimate:
    """Σ above / Σ below over images, with its interval."""
    if not below.any():
        raise ValueError(f"{otherwise} on all images; needs a difference")
    return bootstrap(lambda rows: above[rows].sum(-1) / below[rows].sum(-1), len(above))
