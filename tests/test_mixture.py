import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64
from hypothesis import given, strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import diffgauss as dg
from diffgauss import data


def classes(seed, n=60, d=4, c=3):
    """Points of c classes with their own means and covariances: (n, d) and (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.repeat(np.arange(c), 2), rng.integers(0, c, n - 2 * c)]
    shape, centre = rng.standard_normal((c, d, d)), 2 * rng.standard_normal((c, d))
    return np.einsum("nij,nj->ni", shape[labels], rng.standard_normal((n, d))) + centre[labels], labels, rng


def dense(x, y, labels, sigma):
    """log π_c N(x; u_c, Σ_c + σ²I) by scipy, and each class's Wiener filter by a dense solve: (b, c), (b, c, d)."""
    logs, means = [], []
    for c in np.unique(labels):
        u, noisy = y[labels == c].mean(0), np.cov(y[labels == c].T, bias=True) + sigma**2 * np.eye(y.shape[1])
        logs.append(np.log((labels == c).mean()) + multivariate_normal(u, noisy).logpdf(x))
        means.append(x - sigma**2 * np.linalg.solve(noisy, (x - u).T).T)
    return np.stack(logs, 1), np.stack(means, 1)


@given(st.integers(0, 1000), st.sampled_from([0.05, 0.5, 5.0, 80.0]))
def test_mixture_is_the_dense_one_and_tweedie_holds(seed, sigma):
    """r_c and log p against scipy, D = Σ r_c D_c, and D(x; σ) = x + σ² ∇ log p(x; σ) by autodiff."""
    y, labels, rng = classes(seed)
    x = y[:5] + sigma * rng.standard_normal((5, 4))
    logs, means = dense(x, y, labels, sigma)
    r = np.exp(logs - logsumexp(logs, 1, keepdims=True))
    want = np.einsum("bc,bcd->bd", r, means)
    with float64():
        D, z = dg.MixtureDenoiser.from_data(y, labels), jnp.asarray(x)
        np.testing.assert_allclose(D.responsibilities(z, sigma), r, atol=1e-9)
        np.testing.assert_allclose(D.log_density(z, sigma), np.asarray(logsumexp(logs, 1)), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(D(z, sigma), want, rtol=1e-7, atol=1e-8)
        score = jax.grad(lambda z: D.log_density(z, sigma).sum())(z)
        np.testing.assert_allclose(z + sigma**2 * score, want, rtol=1e-7, atol=1e-8)
    D, z = dg.MixtureDenoiser.from_data(y, labels), jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(D.responsibilities(z, sigma), r, atol=2e-3)


@pytest.mark.parametrize("n", [60, 4])
def test_one_class_is_D_G(n):
    y, _, rng = classes(0, n=n, c=1)
    x = jnp.asarray(y[:4] + rng.standard_normal((4, 4)), jnp.float32)
    D, D_G = dg.MixtureDenoiser.from_data(y, np.zeros(n, int)), dg.GaussianDenoiser.from_data(y)
    for sigma in (0.002, 0.5, 80.0):
        np.testing.assert_allclose(D(x, sigma), D_G(x, sigma), atol=1e-5)
        np.testing.assert_array_equal(D.responsibilities(x, sigma), 1)


def test_responsibilities_stay_finite_at_the_lowest_level():
    """Far classes at σ = 0.002, log densities of −10⁷: float32 holds, and the near class takes all."""
    y, labels, _ = classes(1, n=12, d=40)
    r = dg.MixtureDenoiser.from_data(y, labels).responsibilities(jnp.asarray(y, jnp.float32), 0.002)
    np.testing.assert_allclose(r, np.eye(3)[labels], atol=1e-6)


def test_rank_keeps_the_leading_components_of_each_class():
    y, labels, rng = classes(2)
    x = y[:3] + rng.standard_normal((3, 4))
    D = dg.MixtureDenoiser.from_data(y, labels, rank=2)
    assert D.U.shape == (3, 4, 2) and D.lam.shape == (3, 2)
    for c in range(3):
        lam = np.linalg.eigvalsh(np.cov(y[labels == c].T, bias=True))[::-1]
        got = np.zeros(2)
        got[: min(2, (labels == c).sum() - 1)] = lam[:2][: (labels == c).sum() - 1]
        np.testing.assert_allclose(D.lam[c], got, rtol=1e-4, atol=1e-6)
    assert np.isfinite(D(jnp.asarray(x, jnp.float32), 0.1)).all()


@pytest.mark.slow
def test_members_have_their_own_levels_and_the_sampler_runs():
    y, labels, rng = classes(3)
    D = dg.MixtureDenoiser.from_data(y.reshape(-1, 2, 2), labels)
    x, sigmas = jnp.asarray(rng.standard_normal((3, 2, 2)), jnp.float32), jnp.array([0.1, 1.0, 9.0])
    for i in range(3):
        np.testing.assert_allclose(D(x, sigmas)[i], D(x[i : i + 1], sigmas[i])[0], atol=1e-5)
    assert np.isfinite(dg.sample(D, 80 * x, dg.karras_sigmas(6))).all()


def test_no_retrace_for_another_training_set():
    D1, D2 = (dg.MixtureDenoiser.from_data(*classes(seed)[:2], rank=3) for seed in (0, 1))
    x = jnp.ones((2, 4))
    jax.block_until_ready(D1(x, 1.0))
    with jax.no_tracing(True):
        jax.block_until_ready(D2(x, 2.0))


POINTS = np.random.default_rng(0).standard_normal((4, 2, 2))


@pytest.mark.parametrize(
    "points, labels, rank, message",
    [
        (POINTS, [0, 0, 1], None, r"labels are int64 \(3,\); needs integers \(4,\)"),
        (POINTS, [0.0, 0.0, 1.0, 1.0], None, r"labels are float64 \(4,\); needs integers"),
        (POINTS, [0, 0, 0, 7], None, "class 7 has 1 point; needs at least 2"),
        (POINTS, [0, 0, 1, 1], 2, "rank = 2; the largest class needs 1 ≤ rank ≤ 1"),
        (POINTS.astype(int), [0, 0, 1, 1], None, "needs floating"),
    ],
)
def test_bad_data_is_refused(points, labels, rank, message):
    with pytest.raises(ValueError, match=message):
        dg.MixtureDenoiser.from_data(points, np.asarray(labels), rank=rank)


def test_bad_queries_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\); needs \(b, 2, 2\)"):
        dg.MixtureDenoiser.from_data(POINTS, np.array([0, 0, 1, 1]))(jnp.zeros((3, 4)), 1.0)


def test_labels_are_those_that_choose_classes(test):
    labels = data.labels("test")
    assert labels.shape == (10000,) and labels.dtype == np.uint8
    np.testing.assert_array_equal(test[labels == 4], dg.load(split="test", classes=["Coat"]))
    with pytest.raises(ValueError, match="got split 'all'; needs 'train' or 'test'"):
        data.labels("all")
