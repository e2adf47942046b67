import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64
from hypothesis import given, strategies as st
from jax.tree_util import Partial

import diffgauss as dg

SIGMAS = np.array([20.0, 3.0, 0.4, 0.05])


def maps(d=6, r=6, seed=0):
    """Random W (4, d, r) and b (4, d) in float32."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((4, d, r)).astype(np.float32), rng.standard_normal((4, d)).astype(np.float32)


def dense(seed=0):
    W, b = maps(seed=seed)
    return dg.LinearDenoiser(jnp.asarray(SIGMAS), jnp.asarray(W), jnp.asarray(b))


def between(sigma, values):
    """The oracle: each number of values interpolated by itself in log σ, constant beyond the ends."""
    flat = values.reshape(4, -1)[::-1]
    at = [np.interp(np.log(sigma), np.log(SIGMAS[::-1]), column) for column in flat.T]
    return np.array(at).reshape(values.shape[1:])


X = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)


@pytest.mark.parametrize("k", range(4))
def test_a_level_of_the_grid_is_its_own_map_exactly(k):
    D, (W, b) = dense(), maps()
    sigma = jnp.asarray(SIGMAS, jnp.float32)[k]
    np.testing.assert_allclose(D(jnp.asarray(X), sigma), X @ W[k].T + b[k], atol=2e-6)
    broken = dg.LinearDenoiser(D.sigmas, jnp.where(jnp.arange(4)[:, None, None] == k, D.W, 1e30), D.b)
    np.testing.assert_array_equal(broken(jnp.asarray(X), sigma), D(jnp.asarray(X), sigma))  # no other level enters
    np.testing.assert_array_equal(jax.jit(broken)(jnp.asarray(X), sigma), D(jnp.asarray(X), sigma))


@given(st.floats(1e-3, 1e3))
def test_between_the_levels_each_entry_is_linear_in_log_sigma(sigma):
    W, b = maps()
    want = X @ between(sigma, W).T + between(sigma, b)
    np.testing.assert_allclose(dense()(jnp.asarray(X), sigma), want, atol=2e-5)
    each = dense()(jnp.asarray(X), jnp.array([sigma, 0.05, 3.0, 7.0, sigma]))
    np.testing.assert_allclose(each[0], want[0], atol=2e-5)
    np.testing.assert_allclose(each[3], (X @ between(7.0, W).T + between(7.0, b))[3], atol=2e-5)


@pytest.mark.parametrize("sigma, k", [(1e9, 0), (20.001, 0), (0.0499, 3), (1e-9, 3)])
def test_beyond_the_ends_the_end_level_is_used(sigma, k):
    W, b = maps()
    np.testing.assert_allclose(dense()(jnp.asarray(X), sigma), X @ W[k].T + b[k], atol=2e-6)


def test_one_level_serves_every_sigma():
    W, b = maps()
    D = dg.LinearDenoiser(jnp.ones(1), jnp.asarray(W[:1]), jnp.asarray(b[:1]))
    for sigma in (0.1, 1.0, 10.0, jnp.full(5, 3.0)):
        np.testing.assert_allclose(D(jnp.asarray(X), sigma), X @ W[0].T + b[0], atol=2e-6)


def test_the_low_rank_form_is_the_dense_product():
    A, b = maps(r=2)
    V = np.random.default_rng(3).standard_normal((6, 2)).astype(np.float32)
    base = dg.GaussianDenoiser.from_data(np.random.default_rng(4).standard_normal((30, 6)))
    D = dg.LinearDenoiser(jnp.asarray(SIGMAS), jnp.asarray(A), jnp.asarray(b), jnp.asarray(V), base)
    W = A @ V.T
    for k, sigma in enumerate(SIGMAS):
        want = X @ W[k].T + b[k] + base(jnp.asarray(X), sigma)
        np.testing.assert_allclose(D(jnp.asarray(X), sigma), want, atol=1e-5)
    half = np.sqrt(SIGMAS[0] * SIGMAS[1])
    want = X @ ((W[0] + W[1]) / 2).T + (b[0] + b[1]) / 2 + base(jnp.asarray(X), half)
    np.testing.assert_allclose(D(jnp.asarray(X), half), want, atol=1e-5)


@pytest.mark.parametrize("event", [(6,), (2, 3), (3, 2, 1)])
def test_events_of_any_shape(event):
    W, b = maps()
    D = dg.LinearDenoiser(jnp.asarray(SIGMAS), jnp.asarray(W), jnp.asarray(b.reshape(4, *event)))
    got = D(jnp.asarray(X.reshape(5, *event)), 3.0)
    assert got.shape == (5, *event)
    np.testing.assert_allclose(got.reshape(5, 6), X @ W[1].T + b[1], atol=2e-6)


@pytest.mark.slow
def test_it_samples_like_the_gaussian_denoiser_whose_matrices_it_holds():
    """On the grid of its levels exactly; on another grid, with interpolation, nearly; with base, exactly again."""
    y = np.random.default_rng(0).standard_normal((50, 4)) @ np.diag([2.0, 1.0, 0.5, 0.1]) + 1
    grid, fine = dg.karras_sigmas(30), dg.karras_sigmas(20)
    with float64():
        D_G, x = dg.GaussianDenoiser.from_data(y), 80 * jax.random.normal(jax.random.key(0), (8, 4))
        W, b = zip(*[dg.affine(D_G, (4,), s) for s in grid], strict=True)
        D = dg.LinearDenoiser(grid, jnp.stack(W), jnp.stack(b))
        want = dg.sample(D_G, x, grid)
        np.testing.assert_allclose(dg.sample(D, x, grid), want, atol=1e-6)
        other = dg.sample(D_G, x, fine)
        off = abs(dg.sample(D, x, fine) - other).max()
        assert 1e-6 < off < 0.1
        zero = dg.LinearDenoiser(grid[::10], jnp.zeros((3, 4, 4)), jnp.zeros((3, 4)), None, D_G)
        np.testing.assert_allclose(dg.sample(zero, x, fine), other, atol=1e-9)


def test_affine_reads_off_the_wiener_filter():
    y = np.random.default_rng(0).standard_normal((50, 3, 2)) + 1
    cov, u = np.cov(y.reshape(50, 6).T, bias=True), y.reshape(50, 6).mean(0)
    W, b = dg.affine(dg.GaussianDenoiser.from_data(y), (3, 2), 0.7)
    want = cov @ np.linalg.inv(cov + 0.49 * np.eye(6))
    assert b.shape == (3, 2)
    np.testing.assert_allclose(W, want, atol=1e-6)
    np.testing.assert_allclose(b.ravel(), u - want @ u, atol=1e-6)
    turned = Partial(lambda x, sigma: sigma * jnp.roll(x, 1, -1))  # not symmetric
    np.testing.assert_array_equal(dg.affine(turned, (6,), 2.0)[0], 2 * np.roll(np.eye(6), 1, 0))


def test_no_retrace_for_other_weights_and_levels():
    D1, D2, x = dense(0), dense(1), jnp.asarray(X)
    jax.block_until_ready(D1(x, 1.0))
    with jax.no_tracing(True):
        jax.block_until_ready(D2(x, 30.0))


W4, B4 = maps()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((SIGMAS[::-1], W4, B4), "needs to decrease strictly"),
        ((SIGMAS * 0, W4, B4), "needs to be finite and > 0"),
        ((SIGMAS[:3], W4, B4), r"3 levels need \(n, d, ·\)"),
        ((SIGMAS, W4[:, :5], B4), r"W and b have shapes \(\(4, 5, 6\), \(4, 6\)\)"),
        ((SIGMAS, W4, B4[:, 0]), r"W and b have shapes"),
        ((SIGMAS, W4[..., :2], B4), r"W has shape \(4, 6, 2\); needs \(4, 6, 6\), or V"),
        ((SIGMAS, W4[..., :2], B4, W4[0]), r"V has shape \(6, 6\); needs \(6, 2\)"),
    ],
)
def test_bad_arrays_are_refused(unchecked, arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.LinearDenoiser(*arguments)


def test_bad_queries_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"x has shape \(5, 4\); needs \(b, 6\)"):
        dense()(jnp.zeros((5, 4)), 1.0)
    with pytest.raises(ValueError, match=r"sigma has shape \(2,\)"):
        dense()(jnp.zeros((5, 6)), jnp.ones(2))
    with pytest.raises(TypeError, match=r"Partial\(f\)"):
        dg.affine(lambda x, sigma: x, (2,), 1.0)
