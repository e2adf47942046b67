"""Skill, excess, pull, position and linear distance: exact denoisers of a mixture whose answers are known."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import diffgauss as dg

D, CLASSES, LEVELS = 12, 4, (0.3, 1.0, 3.0)
KEY = jax.random.key(0)


@cache
def law():
    """A mixture of four Gaussians: its posterior mean D*, D_G with its exact two moments, and 12000 draws of it."""
    rng = np.random.default_rng(0)
    pi, u = np.array([0.4, 0.3, 0.2, 0.1]), 1.5 * rng.standard_normal((CLASSES, D))
    shape = rng.standard_normal((CLASSES, D, D)) / 5
    covariance = shape @ shape.transpose(0, 2, 1)
    lam, U = np.linalg.eigh(covariance)
    best = dg.MixtureDenoiser(*(jnp.asarray(a, jnp.float32) for a in (np.log(pi), u, U, np.maximum(lam, 0))))
    mean = pi @ u
    whole = np.einsum("c,cij->ij", pi, covariance + u[:, :, None] * u[:, None]) - np.outer(mean, mean)
    lam, U = np.linalg.eigh(whole)
    D_G = dg.GaussianDenoiser(*(jnp.asarray(a, jnp.float32) for a in (mean, U, lam)))
    c = rng.choice(CLASSES, 12000, p=pi)
    x0 = u[c] + np.einsum("nij,nj->ni", shape[c], rng.standard_normal((len(c), D)))
    return best, D_G, x0.astype(np.float32), whole + np.outer(mean, mean), mean


def between(a, A, B):
    """B + a (A − B), each a denoiser."""
    return Partial(lambda a, A, B, x, s: B(x, s) + a * (A(x, s) - B(x, s)), a, A, B)


def with_error(size, seed, A):
    """A with an error that has nothing to do with x₀: waves of so many units that oscillate fast in x."""
    rng = np.random.default_rng(seed)
    W, phase = 40 * rng.standard_normal((D, D)), rng.uniform(0, 6, D)
    return Partial(lambda size, W, p, A, x, s: A(x, s) + size * jnp.cos(x @ W + p[None]), size, W, phase, A)


@pytest.mark.parametrize("sigma", LEVELS)
def test_the_posterior_mean_has_no_excess_no_pull_and_the_skill_of_its_error(sigma):
    best, D_G, x0, _, _ = law()
    c, q = (measure(best, D_G, x0, sigma, key=KEY) for measure in (dg.excess, dg.skill))
    a = dg.pull(best, best, D_G, x0, sigma, key=KEY)
    assert abs(c.value - 1) < 0.02 and abs(a.value - 1) < 0.02
    assert c.low < 1 < c.high and a.low < 1 < a.high
    x = x0 + sigma * np.random.default_rng(1).standard_normal(x0.shape).astype(np.float32)
    error, gaussian = (((np.asarray(E(x, sigma)) - x0) ** 2).mean() for E in (best, D_G))
    assert q.value == pytest.approx(1 - error / gaussian, abs=0.02) and 0 < q.low < q.value < q.high < 1
    assert dg.skill(D_G, D_G, x0, sigma, key=KEY) == (0, 0, 0)


@pytest.mark.parametrize("a", [0.5, 0.8, 1.3])
@pytest.mark.parametrize("sigma", LEVELS)
def test_a_part_of_the_way_to_the_posterior_mean(a, sigma):
    """D_G + a (D* − D_G) has c* = 1/a, pull a and skill (2a − a²) q*."""
    best, D_G, x0, _, _ = law()
    D = between(a, best, D_G)
    assert dg.excess(D, D_G, x0, sigma, key=KEY).value == pytest.approx(1 / a, rel=0.02)
    assert dg.pull(D, D, D_G, x0, sigma, key=KEY).value == pytest.approx(a, rel=0.02)
    whole = dg.skill(best, D_G, x0, sigma, key=KEY).value
    assert dg.skill(D, D_G, x0, sigma, key=KEY).value == pytest.approx((2 * a - a**2) * whole, abs=0.02)


def test_errors_of_two_seeds_hide_a_pull_from_c_and_not_from_a():
    best, D_G, x0, _, _ = law()
    pulled, sigma = between(0.9, best, D_G), 1.0
    assert dg.excess(pulled, D_G, x0, sigma, key=KEY).low > 1
    one, two, other = (with_error(0.3, seed, pulled) for seed in (1, 2, 1))
    assert dg.excess(one, D_G, x0, sigma, key=KEY).high < 1
    a = dg.pull(one, two, D_G, x0, sigma, key=KEY)
    assert a.value == pytest.approx(0.9, abs=0.02) and a.high < 1
    assert dg.pull(one, other, D_G, x0, sigma, key=KEY).low > 1  # an error that both share: no sign of a bias


def test_the_optimum_of_a_training_set_has_no_excess_on_it():
    best, D_G, x0, _, _ = law()
    y = x0[:200]
    D_M, own = dg.EmpiricalDenoiser.from_data(y), dg.GaussianDenoiser.from_data(y)
    for sigma in (0.5, 1.0):
        assert dg.excess(D_M, own, np.tile(y, (100, 1)), sigma, key=KEY).value == pytest.approx(1, abs=0.02)
        assert dg.excess(D_M, D_G, x0[200:], sigma, key=KEY).high < 1  # elsewhere it has


def test_position_at_the_ends_half_way_and_off_the_line():
    _, D_G, x0, _, _ = law()
    y, sigma = x0[:300], 0.7
    D_M = dg.EmpiricalDenoiser.from_data(y)
    x = y + sigma * np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    for p in (0.0, 0.5, 1.0):
        found = dg.position(between(p, D_M, D_G), D_G, D_M, x, sigma)
        np.testing.assert_allclose(found, p, atol=1e-5)
        assert found.off == pytest.approx(0, abs=1e-5)
    aside = dg.position(with_error(0.5, 0, D_G), D_G, D_M, x, sigma)
    assert abs(aside.value) < 0.1 and aside.off > 0.95
    assert dg.position(dg.GaussianDenoiser.from_data(-y), D_G, D_M, x, sigma).value < 0


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_position_of_the_posterior_mean_follows_from_the_clean_images(sigma):
    """D_M is the mean of x₀ given x on the training set, so E⟨v, D_M − D_G⟩ = E⟨v, x₀ − D_G⟩ there for any v."""
    best, D_G, x0, _, _ = law()
    y, rng = np.tile(x0[:200], (100, 1)), np.random.default_rng(3)
    x, D_M = y + sigma * rng.standard_normal(y.shape).astype(np.float32), dg.EmpiricalDenoiser.from_data(x0[:200])
    v, g, m = (np.asarray(part) - np.asarray(D_G(x, sigma)) for part in (best(x, sigma), y, D_M(x, sigma)))
    found = dg.position(best, D_G, D_M, x, sigma)
    assert found.value == pytest.approx((v * g).sum() / (m * m).sum(), abs=0.02) and 0 < found.value < 1
    assert found.off == pytest.approx(1 - (v * m).sum() ** 2 / (m * m).sum() / (v * v).sum(), abs=1e-3)


def test_plain_numpy_on_saved_arrays_gives_the_same(tmp_path):
    best, D_G, x0, _, _ = law()
    sigma, x0 = 1.0, x0[:1001]
    x = x0 + np.float32(sigma) * np.asarray(jax.random.normal(KEY, x0.shape))
    one, two = between(0.7, best, D_G), with_error(0.2, 5, best)
    D_M = dg.EmpiricalDenoiser.from_data(x0)
    names = {"x0": x0} | {n: E(x, sigma) for n, E in (("1", one), ("2", two), ("G", D_G), ("M", D_M))}
    np.savez(tmp_path / "saved.npz", **names)
    saved = np.load(tmp_path / "saved.npz")
    g, v1, v2, m = (saved[n].astype(float) - saved["G"].astype(float) for n in ("x0", "1", "2", "M"))
    for found, want in (
        (dg.skill(one, D_G, x0, sigma, key=KEY), 1 - ((v1 - g) ** 2).sum() / (g**2).sum()),
        (dg.excess(one, D_G, x0, sigma, key=KEY), (v1 * g).sum() / (v1**2).sum()),
        (dg.pull(one, two, D_G, x0, sigma, key=KEY), 2 * (v1 * v2).sum() / (g * (v1 + v2)).sum()),
        (dg.position(one, D_G, D_M, x, sigma), (v1 * m).sum() / (m**2).sum()),
    ):
        assert found.value == pytest.approx(want, rel=1e-4) and found.low < found.value < found.high


def test_the_interval_covers():
    """Of a hundred sets of 100 images each, about 95 intervals hold the value of many."""
    best, D_G, x0, _, _ = law()
    inside = 0
    for k, part in enumerate(x0[:10000].reshape(100, 100, D)):
        _, low, high = dg.excess(best, D_G, part, 1.0, key=jax.random.key(k))
        inside += low <= 1 <= high
    assert 88 <= inside <= 100


def test_linear_distance_of_a_denoiser_that_is_not_linear_and_has_no_linear_part():
    """Tower property: the posterior mean's best affine map is D_G, however far from it the denoiser is."""
    best, D_G, x0, _, _ = law()
    for sigma in (0.5, 1.0):
        found = [
            dg.linear_distance(best, D_G, x0[1000 * k :][:1000], sigma, key=jax.random.key(k), samples=4096)
            for k in range(12)
        ]
        x = x0[:4000] + sigma * np.random.default_rng(0).standard_normal((4000, D)).astype(np.float32)
        assert ((np.asarray(best(x, sigma) - D_G(x, sigma))) ** 2).mean() > 30 * max(high for _, _, high in found)
        assert sum(low <= 0 <= high for _, low, high in found) >= 10


@pytest.mark.parametrize("size", [0.1, 0.5])
def test_linear_distance_recovers_a_planted_one(size):
    best, D_G, x0, second, mean = law()
    rng, sigma = np.random.default_rng(4), 1.0
    A, a = size * rng.standard_normal((D, D)) / D, size * rng.standard_normal(D) / 4
    planted = Partial(lambda A, a, E, x, s: E(x, s) + x @ A.T + a[None], A.astype(np.float32), a, best)
    found = dg.linear_distance(planted, D_G, x0, sigma, key=KEY, samples=65536)
    want = (np.trace(A @ (second + sigma**2 * np.eye(D)) @ A.T) + 2 * a @ A @ mean + a @ a) / D
    W = dg.affine(D_G, (D,), jnp.float32(sigma))[0]
    assert found.value == pytest.approx(want, rel=0.1) and found.low < want < found.high and found.low > 0
    assert found.nmse == pytest.approx((A**2).sum() / (np.asarray(W) ** 2).sum(), rel=0.1)


def test_one_fit_alone_would_see_a_distance_that_is_not_there():
    """With few images the square of one fit's difference is above 0 on average, the product of two is not."""
    best, D_G, x0, _, _ = law()
    products = [
        dg.linear_distance(best, D_G, x0[100 * k :][:100], 1.0, key=jax.random.key(k), samples=128)
        for k in range(30)
    ]
    squares = []
    for k in range(30):
        y = x0[100 * k :][:100]
        L = dg.distill(best, y[:40], [1.0], key=jax.random.key(k), samples=128, base=D_G, ridge=0.0)
        x = y[60:] + np.random.default_rng(k).standard_normal(y[60:].shape).astype(np.float32)
        squares.append((np.asarray(L(x, 1.0) - D_G(x, 1.0)) ** 2).mean())
    mean, error = np.mean(products, 0)[0], np.std([p.value for p in products]) / 30**0.5
    assert abs(mean) < 3 * error and np.mean(squares) > 5 * abs(mean) and np.mean(squares) > 5 * error


def test_estimates_are_triples():
    best, D_G, x0, _, _ = law()
    value, low, high = dg.position(best, D_G, dg.EmpiricalDenoiser.from_data(x0[:50]), x0[:50], 1.0)
    assert low < value < high
    assert isinstance(dg.skill(best, D_G, x0[:50], 1.0, key=KEY), dg.Estimate)


def test_no_retrace_for_other_images_and_levels():
    best, D_G, x0, _, _ = law()
    dg.pull(best, best, D_G, x0[:600], 1.0, key=KEY)
    with jax.no_tracing(True):
        dg.pull(best, best, D_G, x0[600:1200], 2.0, key=jax.random.key(1))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"sigma": 0.0}, ValueError, "finite and > 0"),
        ({"sigma": [1.0, 0.5]}, ValueError, "one level"),
        ({"x0": np.zeros((1, D), np.float32)}, ValueError, "at least 2"),
        ({"x0": np.zeros((50, D), int)}, ValueError, "floating point"),
        ({"x0": np.full((50, D), np.nan, np.float32)}, ValueError, "NaN"),
        ({"D": lambda x, s: x}, TypeError, "Partial"),
        ({"D": Partial(lambda x, s: x * jnp.nan)}, ValueError, "NaN or infinite values at sigma = 1.0"),
        ({"D": Partial(lambda x, s: x[:, :3])}, ValueError, "D gives shape .* needs the same shape"),
    ],
)
def test_bad_input_is_refused(unchecked, change, error, message):
    best, D_G, x0, _, _ = law()
    given = {"D": best, "x0": x0[:50], "sigma": 1.0} | change
    for measure in (dg.skill, dg.excess, lambda D, *rest, key: dg.pull(best, D, *rest, key=key)):
        with pytest.raises(error, match=message):
            measure(given["D"], D_G, given["x0"], given["sigma"], key=KEY)
    message = {"at least 2": "at least 40", "D gives shape .* needs the same shape": "D gives shape"}.get(
        message, message
    )
    with pytest.raises(error, match=message):
        dg.linear_distance(given["D"], D_G, given["x0"], given["sigma"], key=KEY, samples=64)


def test_ratios_of_nothing_are_refused():
    _, D_G, x0, _, _ = law()
    y = x0[:50]
    with pytest.raises(ValueError, match="D equals D_G on all images; needs a difference"):
        dg.excess(D_G, D_G, y, 1.0, key=KEY)
    with pytest.raises(ValueError, match="D1 and D2 equal D_G"):
        dg.pull(D_G, D_G, D_G, y, 1.0, key=KEY)
    with pytest.raises(ValueError, match="D_M equals D_G"):
        dg.position(D_G, D_G, D_G, y, 1.0)
    with pytest.raises(ValueError, match="groups = 1"):
        dg.linear_distance(D_G, D_G, y, 1.0, key=KEY, groups=1)
    with pytest.raises(ValueError, match="needs at least 2 and 14"):
        dg.linear_distance(D_G, D_G, y, 1.0, key=KEY, samples=13)
