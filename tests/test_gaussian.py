import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64

import diffgauss as dg


def points(n, d, seed=0):
    """Correlated points with a mean: (n, d) float64."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / np.sqrt(d) + 3 * rng.standard_normal(d)


def wiener(x, y, sigma):
    """u + Σ(Σ + σ²I)⁻¹(x − u) by a dense solve, with Σ divided by N."""
    u, cov = y.mean(0), np.cov(y.T, bias=True)
    return u + np.linalg.solve(cov + sigma**2 * np.eye(len(u)), (x - u).T).T @ cov


@pytest.mark.parametrize("n, d", [(200, 12), (13, 12), (12, 12), (5, 12), (2, 12)])
@pytest.mark.parametrize("sigma", [0.002, 0.3, 80.0])
def test_gaussian_is_the_dense_wiener_filter(n, d, sigma):
    y = points(n, d)
    x = y[np.arange(6) % n] + sigma * np.random.default_rng(1).standard_normal((6, d))
    with float64():
        got = dg.GaussianDenoiser.from_data(y)(jnp.asarray(x), sigma)
        np.testing.assert_allclose(got, wiener(x, y, sigma), rtol=1e-7, atol=1e-7)
    got = dg.GaussianDenoiser.from_data(y)(jnp.asarray(x, jnp.float32), sigma)
    np.testing.assert_allclose(got, wiener(x, y, sigma), atol=2e-5)


@pytest.mark.slow
def test_all_60000_images_agree_with_a_dense_solve(D_G, train, test):
    y = train.reshape(len(train), -1)
    u, square = y.mean(0, dtype=np.float64), np.zeros((784, 784))
    for part in np.array_split(y, 12):
        square += part.T.astype(np.float64) @ part
    cov = square / len(y) - np.outer(u, u)
    noise = np.random.default_rng(0).standard_normal(test[:64].shape).astype(np.float32)
    for sigma in (0.002, 0.5, 20.0):
        x = test[:64] + np.float32(sigma) * noise
        want = u + np.linalg.solve(cov + sigma**2 * np.eye(784), (x.reshape(64, -1) - u).T).T @ cov
        got = np.asarray(D_G(jnp.asarray(x), sigma)).reshape(64, -1)
        assert np.linalg.norm(got - want) < 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize(("n", "copies"), [(40, 1), (6, 1), (3, 2)])
def test_components_are_orthonormal_and_descend(n, copies):
    y = np.concatenate([points(n, 10)] * copies)
    n *= copies
    D = dg.GaussianDenoiser.from_data(y.reshape(n, 5, 2))
    assert D.mean.shape == (5, 2) and D.lam.shape == (min(n - 1, 10),) and D.U.shape == (10, len(D.lam))
    np.testing.assert_allclose(D.U.T @ D.U, np.eye(len(D.lam)), atol=1e-6)
    assert (np.diff(D.lam) <= 0).all() and (np.asarray(D.lam) >= 0).all()


def test_rank_keeps_the_leading_components():
    y = points(100, 8)
    cov = np.cov(y.T, bias=True)
    lam, U = np.linalg.eigh(cov)
    leading = (U[:, -3:] * lam[-3:]) @ U[:, -3:].T
    x, u = points(4, 8, seed=2), y.mean(0)
    want = u + np.linalg.solve(leading + 0.25 * np.eye(8), (x - u).T).T @ leading
    D = dg.GaussianDenoiser.from_data(y, rank=3)
    assert D.lam.shape == (3,)
    np.testing.assert_allclose(D(jnp.asarray(x, jnp.float32), 0.5), want, atol=1e-5)


def test_few_points_in_many_dimensions_make_no_square_matrix(monkeypatch):
    solve = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda A: solve(A) if len(A) <= 8 else pytest.fail("a d×d eigenproblem"))
    y = np.random.default_rng(0).standard_normal((8, 20_000))
    D = dg.GaussianDenoiser.from_data(y)
    assert D.U.shape == (20_000, 7)
    gram = (y - y.mean(0)) @ (y - y.mean(0)).T / 8
    np.testing.assert_allclose(D.lam, np.linalg.eigvalsh(gram)[:0:-1], rtol=1e-5)


@pytest.mark.parametrize("n", [200, 3])
def test_moments_are_taken_in_float64_whatever_the_precision_of_jax(n):
    """A direction of standard deviation 1e-4 beside a mean of 1000: a float32 covariance would lose it."""
    y = np.array([1000.0, -1000.0]) + np.random.default_rng(0).standard_normal((n, 2)) * [1.0, 1e-4]
    D = dg.GaussianDenoiser.from_data(y)
    assert D.lam.dtype == jnp.float32
    np.testing.assert_allclose(D.lam, np.linalg.eigvalsh(np.cov(y.T, bias=True))[::-1], rtol=1e-5)
    with float64():
        assert dg.GaussianDenoiser.from_data(y).U.dtype == jnp.float64


def test_noise_outside_the_span_of_the_data_is_removed():
    y = points(4, 12)
    D, span = dg.GaussianDenoiser.from_data(y), np.linalg.svd(y - y.mean(0))[2]
    outside = jnp.asarray(y.mean(0) + 5 * span[3:], jnp.float32)
    np.testing.assert_allclose(D(outside, 1.0), np.broadcast_to(y.mean(0), outside.shape), atol=2e-5)


def test_every_member_has_its_own_level():
    y = points(50, 6).reshape(50, 3, 2)
    D, x, sigmas = dg.GaussianDenoiser.from_data(y), jnp.ones((3, 3, 2)), jnp.array([0.1, 1.0, 10.0])
    for i in range(3):
        one = x[i : i + 1]
        np.testing.assert_allclose(D(x, sigmas)[i], D(one, sigmas[i])[0], atol=1e-5)
        np.testing.assert_allclose(
            D.flow(x, sigmas, sigmas / 2)[i], D.flow(one, sigmas[i], sigmas[i] / 2)[0], atol=1e-5
        )


@pytest.mark.parametrize("n", [60, 4])
def test_the_flow_composes_and_has_an_inverse(n):
    with float64():
        D, x = dg.GaussianDenoiser.from_data(points(n, 6)), jnp.asarray(10 * points(5, 6, seed=3))
        direct, halfway = D.flow(x, 20.0, 0.05), D.flow(x, 20.0, 1.0)
        np.testing.assert_allclose(D.flow(halfway, 1.0, 0.05), direct, rtol=1e-10)
        np.testing.assert_allclose(D.flow(direct, 0.05, 20.0), x, rtol=1e-9)
        np.testing.assert_allclose(D.flow(x, 2.0, 2.0), x, rtol=1e-12)


def test_the_flow_turns_noisy_moments_into_clean_ones():
    """It carries N(u, Σ + σ²I) to N(u, Σ + σ'²I): as a linear map A, A(Σ + σ²I)Aᵀ = Σ + σ'²I. Down to σ' = 0."""
    y = points(60, 6)
    cov = np.cov(y.T, bias=True)
    with float64():
        D = dg.GaussianDenoiser.from_data(y)
        for sigma, after in [(5.0, 1.0), (1.0, 5.0), (3.0, 0.0)]:
            A = np.asarray(D.flow(D.mean[None] + jnp.eye(6), sigma, after) - D.mean[None]).T
            noisy = cov + sigma**2 * np.eye(6)
            np.testing.assert_allclose(A @ noisy @ A.T, cov + after**2 * np.eye(6), atol=1e-10)
            np.testing.assert_allclose(A, A.T, atol=1e-12)


@pytest.mark.parametrize("step, order, n", [(dg.euler, 1, 60), (dg.heun, 2, 60), (dg.heun, 2, 4)])
def test_the_solvers_converge_to_the_flow(step, order, n):
    with float64():
        D, x = dg.GaussianDenoiser.from_data(points(n, 6)), 10 * jnp.asarray(points(3, 6, seed=4))
        exact, errors = D.flow(x, 10.0, 0.1), []
        for levels in (81, 161):
            sigmas = dg.karras_sigmas(levels, sigma_min=0.1, sigma_max=10.0)
            states = dg.trajectory(D, x, sigmas, step=step)
            errors.append(jnp.linalg.norm(states[-1] - exact))
            np.testing.assert_allclose(dg.sample(D, x, sigmas, step=step), D(states[-1], sigmas[-1]), rtol=1e-10)
        assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_flow_to_zero_ends_in_the_span_of_the_data():
    y = points(4, 12)
    D = dg.GaussianDenoiser.from_data(y)
    end = np.asarray(D.flow(40 * jax.random.normal(jax.random.key(0), (5, 12)), 40.0, 0.0), np.float64) - y.mean(0)
    outside = np.linalg.svd(y - y.mean(0))[2][3:]
    np.testing.assert_allclose(end @ outside.T, 0, atol=1e-4)


def test_no_retrace_for_another_training_set():
    D1, D2 = (dg.GaussianDenoiser.from_data(points(20, 4, seed)) for seed in (0, 1))
    x = jnp.ones((2, 4))
    jax.block_until_ready((D1(x, 1.0), D1.flow(x, 1.0, 0.5)))
    with jax.no_tracing(True):
        jax.block_until_ready((D2(x, 2.0), D2.flow(x, 2.0, 0.1)))


IMAGES = np.random.default_rng(0).standard_normal((4, 2, 2))


@pytest.mark.parametrize(
    "data, arguments, message",
    [
        (IMAGES[:1], {}, r"data holds 1 point\(s\); needs at least 2"),
        (IMAGES.astype(np.uint8), {}, "data has dtype uint8; needs floating"),
        (np.where(np.arange(4).reshape(4, 1, 1) == 2, np.nan, IMAGES), {}, r"data\[2\] has NaN"),
        (IMAGES[0, 0], {}, r"data has shape \(2,\)"),
        (IMAGES, {"rank": 0}, "rank = 0; 4 points in 4 dimensions need 1 ≤ rank ≤ 3"),
        (IMAGES, {"rank": 4}, "rank = 4; .* 1 ≤ rank ≤ 3"),
    ],
)
def test_bad_data_is_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.GaussianDenoiser.from_data(data, **arguments)


def test_bad_queries_are_refused(unchecked):
    D = dg.GaussianDenoiser.from_data(IMAGES)
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\); needs \(b, 2, 2\)"):
        D(jnp.zeros((3, 4)), 1.0)
    with pytest.raises(ValueError, match=r"x has shape \(2, 2\); needs \(b, 2, 2\)"):
        D.flow(jnp.zeros((2, 2)), 1.0, 0.5)
    with pytest.raises(ValueError, match=r"sigma has shape \(2,\).*needs \(\) or \(3,\)"):
        D(jnp.zeros((3, 2, 2)), jnp.ones(2))
