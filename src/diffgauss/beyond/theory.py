"""What random matrices say of N images: the effective noise of their covariance, and how far two sets agree."""

import numpy as np
from numpy.typing import ArrayLike


def effective_noise(lam: ArrayLike, sigma: ArrayLike | float, n: int) -> np.ndarray | np.float64:
    """κ(σ²) with κ − σ² = (κ/N) Σⱼ λⱼ/(λⱼ + κ): E S(S + σ²I)⁻¹ ≈ Σ(Σ + κI)⁻¹ for S from N points.

    lam: (r,), the eigenvalues of the true covariance Σ; sigma: σ ≥ 0, any shape, and so is the result: κ ≥ σ²,
    equal as N → ∞. Few images shrink like more noise. n counts independent points about a known mean: N − 1 for
    N points about their own. Raises ValueError for other shapes, negative numbers or n < 1.
    Wang, Zavatone-Veth & Pehlevan (2026).
    """
    lam, sigma = _eigenvalues(lam), np.asarray(sigma, np.float64)
    if not (np.isfinite(sigma) & (sigma >= 0)).all():
        raise ValueError(f"sigma = {sigma}; needs finite numbers ≥ 0")
    if n < 1:
        raise ValueError(f"n = {n}; needs at least 1")
    low, high = sigma**2, sigma**2 + lam.sum() / n
    for _ in range(100):  # κ − σ² − (κ/N) Σ λ/(λ + κ) is ≤ 0 at its lower end, ≥ 0 at its upper, and crosses once
        kappa = (low + high) / 2
        degrees = (lam / np.maximum(lam + kappa[..., None], 1e-300)).sum(-1)
        small = kappa - sigma**2 < kappa * degrees / n
        low, high = np.where(small, kappa, low), np.where(small, high, kappa)
    return (low + high)[()] / 2


def shrinkage(lam: ArrayLike, sigma: ArrayLike | float, n: int) -> np.ndarray:
    """λ/(λ + κ(σ²)) ≈ E uᵀS(S + σ²I)⁻¹u: the mean gain of N images' D_G along a true component: (…, r).

    Arguments and errors as ``effective_noise``.  Wang, Zavatone-Veth & Pehlevan (2026).
    """
    lam = _eigenvalues(lam)
    return lam / (lam + np.asarray(effective_noise(lam, sigma, n))[..., None])


def gaussian_agreement(lam: ArrayLike, n: int) -> float:
    """(1 − 1/N) Σⱼ mⱼ² / Σⱼ λⱼ ≈ the cosine about u of samples of the D_G's of two disjoint sets, from one noise.

    From σ_max → ∞ the flow takes noise ε to û + S^{1/2} ε, and S^{1/2} = (2/π) ∫₀^∞ S(S + t²I)⁻¹ dt, so that
    mⱼ = (2/π) ∫₀^∞ λⱼ/(λⱼ + κ(t²)) dt is its mean. lam: (r,), of Σ; n: N ≥ 2 points in each set, about their own
    mean. Raises ValueError as ``effective_noise``.  Ours, after Wang, Zavatone-Veth & Pehlevan (2026).
    """
    if n < 2:
        raise ValueError(f"n = {n}; needs at least 2")
    lam = _eigenvalues(lam)
    log_t = np.linspace(-16, 16, 641)  # the integrand falls off like e^{−|log t|} on both sides
    t = np.exp(log_t) * np.sqrt(lam.max())
    m = 2 / np.pi * (log_t[1] - log_t[0]) * (t[:, None] * shrinkage(lam, t, n - 1)).sum(0)
    return float((1 - 1 / n) * (m**2).sum() / lam.sum())


def half_way(steps: ArrayLike, gains: ArrayLike) -> np.ndarray:
    """The step at which a curve first is half-way from its first value to its last, linear in log step: (r,).

    steps: (t,), increasing, > 0; gains: (t, r). NaN where a curve ends where it started. Raises ValueError for
    other shapes or steps, and for gains that are not finite.
    """
    steps, gains = np.asarray(steps, np.float64), np.asarray(gains, np.float64)
    if (
        gains.ndim != 2
        or steps.shape != gains.shape[:1]
        or not (np.diff(steps, prepend=0) > 0).all()
        or len(steps) < 2
    ):
        raise ValueError(
            f"steps {steps.shape} and gains {gains.shape}; needs (t,) > 0 increasing and (t, r), t ≥ 2"
        )
    if not np.isfinite(gains).all():
        raise ValueError("gains hold NaN or infinite values; needs finite ones")
    log = np.log(steps)
    out = np.full(gains.shape[1], np.nan)
    for j, curve in enumerate(gains.T):
        if curve[-1] != curve[0]:
            part = (curve - curve[0]) / (curve[-1] - curve[0])
            k = int(np.argmax(part >= 0.5))
            out[j] = np.exp(np.interp(0.5, part[k - 1 : k + 1], log[k - 1 : k + 1]))
    return out


def _eigenvalues(lam: ArrayLike) -> np.ndarray:
    lam = np.asarray(lam, np.float64)
    if lam.ndim != 1 or not (np.isfinite(lam) & (lam >= 0)).all() or not lam.any():
        raise ValueError(f"lam has shape {lam.shape}; needs (r,) finite numbers ≥ 0, not all 0")
    return lam
