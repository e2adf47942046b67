import numpy as np
import pytest
from hypothesis import given, strategies as st

from diffgauss.beyond import theory

LAM = 1 / np.arange(1, 257)
LAM /= LAM.mean()


def test_effective_noise_is_the_published_number():
    """Wang, Zavatone-Veth & Pehlevan (2026): λ ∝ 1/j of mean 1, d = 256, N = 80, σ² = .05."""
    assert theory.effective_noise(LAM, 0.05**0.5, 80) == pytest.approx(1.12195, abs=5e-6)


@given(st.integers(0, 1000), st.sampled_from([3, 40, 500]), st.sampled_from([0.0, 1e-3, 0.3, 80.0]))
def test_effective_noise_solves_its_equation(seed, n, sigma):
    lam = np.random.default_rng(seed).exponential(size=30) ** 2
    kappa = np.asarray(theory.effective_noise(lam, [sigma, sigma], n))
    np.testing.assert_array_equal(kappa[0], kappa[1])
    np.testing.assert_allclose(kappa - sigma**2, kappa / n * (lam / (lam + kappa[:1])).sum(), rtol=1e-9, atol=1e-12)
    assert kappa[0] >= sigma**2
    if sigma == 0:  # more unknowns than points: a floor of noise; fewer: none
        assert (kappa[0] > 1e-3) == (n == 3) or n == 40


def test_many_images_need_no_correction():
    for sigma in (0.1, 1.0, 10.0):
        assert theory.effective_noise(LAM, sigma, 10**9) == pytest.approx(sigma**2, rel=1e-5)
    assert theory.gaussian_agreement(LAM, 10**9) == pytest.approx(1, abs=1e-4)


FEW = LAM[:64]


def drawn(n, rng):
    """Covariance and mean of n normal points with covariance diag(FEW)."""
    y = rng.standard_normal((n, 64)) * np.sqrt(FEW)
    return np.cov(y.T, bias=True), y.mean(0)


@pytest.mark.parametrize("n", [16, 200])
def test_shrinkage_and_agreement_are_those_of_drawn_points(n):
    """Monte Carlo: the mean diagonal of S(S + σ²I)⁻¹, and the cosine of û + S^{1/2}ε for two disjoint sets."""
    rng, sigma, gains, product, square = np.random.default_rng(0), 0.7, 0.0, 0.0, 0.0
    for _ in range(12):
        roots, means = [], []
        for _ in range(2):
            S, mean = drawn(n, rng)
            lam, U = np.linalg.eigh(S)
            lam = np.maximum(lam, 0)
            gains = gains + ((U * (lam / (lam + sigma**2))) * U).sum(1) / 24
            roots.append((U * np.sqrt(lam)) @ U.T)
            means.append(mean)
        product += (roots[0] * roots[1]).sum() + means[0] @ means[1]
        square += sum((r**2).sum() + m @ m for r, m in zip(roots, means, strict=True)) / 2
    want = theory.shrinkage(FEW, sigma, n - 1)
    assert np.abs(gains - want)[:5].max() < 0.1 and abs((gains - want).mean()) < 0.005
    naive = FEW / (FEW + sigma**2)
    assert (gains - want).mean() ** 2 < (gains - naive).mean() ** 2 / 9
    assert theory.gaussian_agreement(FEW, n) == pytest.approx(product / square, abs=0.03)


def test_half_way_is_where_the_curve_crosses():
    steps = np.array([1.0, 10.0, 100.0, 1000.0])
    gains = np.array([[0.0, 1.0, 2.0], [0.25, 1.0, 1.0], [0.75, 0.4, 2.0], [1.0, 0.0, 2.0]])
    np.testing.assert_allclose(theory.half_way(steps, gains)[:2], [10**1.5, 10 ** (1 + 5 / 6)], rtol=1e-12)
    assert np.isnan(theory.half_way(steps, gains)[2])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: theory.effective_noise(LAM[None], 1.0, 5), r"lam has shape \(1, 256\); needs"),
        (lambda: theory.effective_noise([1.0, -1.0], 1.0, 5), "needs .* finite numbers ≥ 0"),
        (lambda: theory.effective_noise([0.0], 1.0, 5), "not all 0"),
        (lambda: theory.effective_noise(LAM, -1.0, 5), "sigma = -1.0; needs finite numbers ≥ 0"),
        (lambda: theory.effective_noise(LAM, 1.0, 0), "n = 0; needs at least 1"),
        (lambda: theory.gaussian_agreement(LAM, 1), "n = 1; needs at least 2"),
        (lambda: theory.half_way([2.0, 1.0], np.zeros((2, 3))), "needs .* increasing"),
        (lambda: theory.half_way([0.0, 1.0], np.zeros((2, 3))), "needs .* > 0 increasing"),
        (lambda: theory.half_way([1.0, 2.0], np.full((2, 3), np.nan)), "gains hold NaN"),
        (lambda: theory.half_way([1.0, 2.0], np.zeros(2)), r"and gains \(2,\); needs"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
