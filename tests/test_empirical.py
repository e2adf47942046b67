import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64
from hypothesis import given, strategies as st
from jax.scipy.special import logsumexp

import diffgauss as dg

SIGMAS = [80.0, 20.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.05]


def log_density(x, y, sigma):
    """log p_σ at one point x, written out: a mixture of N normal densities around the rows of y."""
    n, d = y.shape
    return (
        logsumexp(-((x[None] - y) ** 2).sum(-1) / (2 * sigma**2))
        - np.log(n)
        - d / 2 * jnp.log(2 * np.pi * sigma**2)
    )


value_and_score = jax.jit(jax.vmap(jax.value_and_grad(log_density), (0, None, None)))


def oracle(x, y, sigma):
    """Posterior mean, log Z and entropy in plain NumPy from squared distances; x and y are float64 matrices."""
    logits = -((x**2).sum(1, keepdims=True) - 2 * x @ y.T + np.einsum("nd,nd->n", y, y)) / (2 * sigma**2)
    top = logits.max(1, keepdims=True)
    log_z = top + np.log(np.exp(logits - top).sum(1, keepdims=True))
    log_w = logits - log_z
    w = np.exp(log_w)
    return w @ y, log_z[:, 0], -(w * log_w).sum(1)


def small(seed, n, d=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng


@given(
    st.integers(0, 1000),
    st.sampled_from([0.1, 0.5, 2.0, 30.0]),
    st.sampled_from([1, 3, 99]),
    st.sampled_from([2, 7]),
)
def test_empirical_is_tweedie_of_the_mixture(seed, sigma, block, n):
    """D_M(x; σ) = x + σ² ∇ log p_σ(x), and log Z is log p_σ up to its constant."""
    y, rng = small(seed, n)
    with float64():
        x = jnp.asarray(y[:2] + sigma * rng.standard_normal((2, 3)))
        value, score = value_and_score(x, jnp.asarray(y), jnp.float64(sigma))
        mean, log_z = dg.EmpiricalDenoiser.from_data(y, block=block).posterior(x, jnp.float64(sigma))
        np.testing.assert_allclose(mean, x + sigma**2 * score, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            log_z - np.log(n) - 1.5 * np.log(2 * np.pi * sigma**2), value, rtol=1e-9, atol=1e-9
        )


@pytest.fixture(scope="module")
def held_out(test):
    """64 images that D_M has not seen, and unit noise for them."""
    return test[:64], np.random.default_rng(0).standard_normal(test[:64].shape).astype(np.float32)


@pytest.fixture(scope="module")
def rows(train):
    return train.reshape(len(train), -1).astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", SIGMAS)
def test_all_60000_images_agree_with_float64(D_M, rows, held_out, sigma):
    x0, noise = held_out
    x = x0 + np.float32(sigma) * noise
    mean, log_z, entropy = oracle(x.reshape(64, -1).astype(np.float64), rows, sigma)
    got, got_log_z = D_M.posterior(jnp.asarray(x), sigma)
    assert np.linalg.norm(np.asarray(got).reshape(64, -1) - mean) < 5e-5 * np.linalg.norm(mean)
    np.testing.assert_allclose(got_log_z, log_z, rtol=1e-6, atol=5e-4 / sigma**2)  # the products' float32 error
    np.testing.assert_allclose(D_M.entropy(jnp.asarray(x), sigma), entropy, atol=2e-3)


@pytest.mark.slow
def test_at_the_lowest_level_it_is_the_nearest_image(D_M, train, rows, held_out):
    x0, noise = held_out
    x = x0 + np.float32(0.002) * noise
    closest = [np.einsum("ij,ij->i", rows - image, rows - image).argmin() for image in x[:4].reshape(4, -1)]
    np.testing.assert_allclose(D_M(jnp.asarray(x[:4]), 0.002), train[closest], atol=1e-6)
    own = train[:64] + np.float32(0.002) * noise
    np.testing.assert_allclose(D_M(jnp.asarray(own), 0.002), train[:64], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_the_answer_does_not_depend_on_block_or_order(train, held_out, block):
    x0, noise = held_out
    data = train[:200]
    plain = dg.EmpiricalDenoiser.from_data(data, block=200)
    other = dg.EmpiricalDenoiser.from_data(data[np.random.default_rng(1).permutation(200)], block=block)
    for sigma in (0.1, 1.0, 10.0):
        x = jnp.asarray(x0[:8] + np.float32(sigma) * noise[:8])
        difference = jnp.linalg.norm(other(x, sigma) - plain(x, sigma))
        assert difference < 5e-5 * jnp.linalg.norm(plain(x, sigma))
        np.testing.assert_allclose(other.posterior(x, sigma)[1], plain.posterior(x, sigma)[1], rtol=1e-5)
        np.testing.assert_allclose(other.entropy(x, sigma), plain.entropy(x, sigma), atol=1e-4)


@pytest.mark.parametrize("event", [(3,), (2, 2), (4, 3, 2)])
def test_every_member_has_its_own_level_and_any_event_shape(event):
    rng = np.random.default_rng(0)
    y, x = rng.standard_normal((5, *event)), jnp.asarray(rng.standard_normal((3, *event)), jnp.float32)
    D, sigmas = dg.EmpiricalDenoiser.from_data(y), jnp.array([0.3, 1.0, 4.0])
    together = D(x, sigmas)
    np.testing.assert_array_equal(together, D.posterior(x, sigmas)[0])
    assert together.shape == x.shape
    for i in range(3):
        np.testing.assert_allclose(together[i : i + 1], D(x[i : i + 1], float(sigmas[i])), atol=1e-6)
        np.testing.assert_allclose(D.entropy(x, sigmas)[i], D.entropy(x, sigmas[i])[i], atol=1e-6)


def test_the_gradient_of_log_z_is_the_score():
    """Through the padded last block too: ∇ log Z = (D_M − x)/σ²."""
    y, rng = small(0, 10)
    D, x = dg.EmpiricalDenoiser.from_data(y, block=4), jnp.asarray(rng.standard_normal((6, 3)), jnp.float32)
    gradient = jax.jit(jax.grad(lambda x, sigma: D.posterior(x, sigma)[1].sum()))
    for sigma in (0.05, 0.5, 5.0):
        score = gradient(x, sigma)
        np.testing.assert_allclose(score * sigma**2, D(x, sigma) - x, atol=1e-4)


def test_entropy_goes_from_log_n_to_zero(D_M, train, held_out):
    x = jnp.asarray(train[:8] + np.float32(1e-2) * held_out[1][:8])
    np.testing.assert_allclose(D_M.entropy(x, 1e5), np.log(60000), rtol=1e-5)
    np.testing.assert_allclose(D_M.entropy(x, 0.01), 0, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.2, 0.02, 0.002])
def test_entropy_counts_copies_even_where_log_z_is_huge(train, held_out, sigma):
    """Two copies of each image share its weight: H = log 2 exactly where log Z ≈ −10⁷."""
    D = dg.EmpiricalDenoiser.from_data(np.concatenate([train[:20], train[:20]]), block=16)
    x = jnp.asarray(train[:20] + np.float32(sigma) * held_out[1][:20])
    np.testing.assert_allclose(D.entropy(x, sigma), np.log(2), atol=1e-5)
    far = jnp.asarray(held_out[0][:20])
    assert (np.asarray(D.entropy(far, 0.002)) < np.log(40)).all()


def test_a_large_common_offset_costs_no_accuracy():
    y, rng = small(0, 30)
    x = rng.standard_normal((5, 3))
    near, far = (dg.EmpiricalDenoiser.from_data(y + c) for c in (0.0, 1024.0))
    got = far(jnp.asarray(x + 1024, jnp.float32), 0.3) - 1024
    np.testing.assert_allclose(got, near(jnp.asarray(x, jnp.float32), 0.3), atol=5e-3)  # float32 holds 1e-4 there


def test_best_linear_approximation_of_D_M_is_D_G():
    """The affine least-squares fit of D_M on its own noisy points is the Wiener filter of their moments.

    Expectations over the noise are exact up to quadrature: 40 Gauss-Hermite nodes in each dimension.
    """
    y = np.random.default_rng(0).standard_normal((6, 2)) @ np.array([[1.0, 0.4], [0.0, 0.5]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    noise = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    weight = np.tile(np.outer(weights, weights).ravel(), len(y))[:, None] ** 0.5
    probe = np.random.default_rng(1).standard_normal((4, 2))
    with float64():
        D_M, D_G = dg.EmpiricalDenoiser.from_data(y), dg.GaussianDenoiser.from_data(y)
        for sigma in (0.7, 1.5, 5.0):
            z = (y[:, None] + sigma * noise[None]).reshape(-1, 2)
            inputs = np.hstack([z, np.ones((len(z), 1))])
            fit, *_ = np.linalg.lstsq(weight * inputs, weight * np.asarray(D_M(jnp.asarray(z), sigma)), rcond=None)
            linear = np.hstack([probe, np.ones((4, 1))]) @ fit
            np.testing.assert_allclose(linear, D_G(jnp.asarray(probe), sigma), atol=1e-6)
            assert np.abs(linear - D_M(jnp.asarray(probe), sigma)).max() > 2e-3  # though D_M itself is not linear


@pytest.mark.parametrize("kind", [dg.EmpiricalDenoiser, dg.ScreenedDenoiser])
@pytest.mark.parametrize("sigma", [7e-4, 2e-4, 1e-5])
def test_near_a_point_it_is_that_point_at_any_level(kind, sigma):
    """‖y‖²/2σ² is beyond 1e9: a rounding of it by one unit would overflow exp."""
    y = np.sign(np.random.default_rng(0).standard_normal((50, 3072))).astype(np.float32)
    np.testing.assert_allclose(kind.from_data(y)(jnp.asarray(y[:20]), sigma), y[:20], atol=1e-6)
    assert np.isfinite(dg.EmpiricalDenoiser.from_data(y).posterior(jnp.asarray(y[:20]), sigma)[1]).all()


def test_pixels_from_0_to_255_are_sampled_too():
    y = np.random.default_rng(0).integers(0, 256, (50, 784)).astype(np.float32)
    start = 80 * jax.random.normal(jax.random.key(0), (20, 784))
    assert np.isfinite(dg.sample(dg.EmpiricalDenoiser.from_data(y), start, dg.karras_sigmas(10))).all()


@pytest.mark.parametrize("kind", [dg.EmpiricalDenoiser, dg.ScreenedDenoiser])
def test_points_so_large_that_they_pass_for_padding_are_refused(kind):
    y = np.array([[1e8, 0], [-1e8, 0], [0, 1e8]], np.float32)
    with pytest.raises(ValueError, match=r"data has values up to 1\.0e\+08; needs 1e\+05 or less: scale the data"):
        kind.from_data(y)


def test_the_answer_lies_in_the_hull_of_the_data(train):
    """No weights outside [0, 1]: D_M stays between the pixelwise extremes of its images."""
    D, x = dg.EmpiricalDenoiser.from_data(train[:50]), 3 * jax.random.normal(jax.random.key(0), (20, 28, 28, 1))
    got = np.asarray(D(x, 3.0))
    assert (got <= train[:50].max(0) + 1e-5).all() and (got >= train[:50].min(0) - 1e-5).all()


def test_no_retrace_for_another_training_set():
    D1, D2 = (dg.EmpiricalDenoiser.from_data(small(seed, 10)[0], block=4) for seed in (0, 1))
    x = jnp.ones((2, 3))
    jax.block_until_ready((D1(x, 1.0), D1.entropy(x, 1.0), D1.posterior(x, 1.0)))
    with jax.no_tracing(True):
        jax.block_until_ready((D2(x, 2.0), D2.entropy(x, 2.0), D2.posterior(x, 2.0)))
        with pytest.raises(RuntimeError, match="tracing"):  # the negative control: another batch size
            D2(x[:1], 2.0)


IMAGES = np.zeros((4, 2, 2), np.float32)


@pytest.mark.parametrize(
    "data, arguments, message",
    [
        (IMAGES[:0], {}, r"data holds 0 point\(s\); needs at least 2"),
        (IMAGES[:1], {}, r"data holds 1 point\(s\); needs at least 2"),
        (IMAGES.astype(np.uint8), {}, "data has dtype uint8; needs floating"),
        (np.where(np.arange(4).reshape(4, 1, 1) == 2, np.nan, IMAGES), {}, r"data\[2\] has NaN"),
        (np.zeros(4, np.float32), {}, r"data has shape \(4,\)"),
        (IMAGES, {"block": 0}, "block = 0; needs block ≥ 1"),
    ],
)
def test_bad_data_is_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.EmpiricalDenoiser.from_data(data, **arguments)


def test_bad_queries_are_refused(unchecked):
    D = dg.EmpiricalDenoiser.from_data(IMAGES)
    for call in (D, D.posterior, D.entropy):
        with pytest.raises(ValueError, match=r"x has shape \(3, 4\); needs \(b, 2, 2\)"):
            call(jnp.zeros((3, 4)), 1.0)
        with pytest.raises(ValueError, match=r"sigma has shape \(2,\).*needs \(\) or \(3,\)"):
            call(jnp.zeros((3, 2, 2)), jnp.ones(2))
