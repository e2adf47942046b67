import json
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import diffgauss as dg
from diffgauss.moments import Moments, choose_ridge, fit


def points(n=40, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / np.sqrt(d) + 1).astype(np.float32)


def affine_map(W, b):
    return Partial(lambda W, b, x, sigma: x @ W.T + b[None], jnp.asarray(W), jnp.asarray(b))


def bent(x, sigma):
    """A denoiser that is not affine."""
    return jnp.tanh(x) + 0.3 * x * jnp.roll(x, 1, -1)


def moments(z, r, cut=None):
    cut, found = cut or len(z), []
    for rows in (slice(0, cut), slice(cut, None)):
        parts = np.array_split(np.arange(len(z))[rows], 3)
        found.append(Moments.sum(Moments.of(z[part], r[part]) for part in parts))
    return found


def test_streamed_moments_give_the_least_squares_of_numpy():
    rng = np.random.default_rng(0)
    z, r = rng.standard_normal((50, 4)) + 3, rng.standard_normal((50, 3)) - 5
    for ridge in (0.0, 0.7):
        A, a = fit(moments(z, r)[0], ridge)
        zc, rc = z - z.mean(0), r - r.mean(0)
        rows = np.concatenate([zc, np.sqrt(50 * ridge) * np.eye(4)])  # the penalty as rows of data
        want = np.linalg.lstsq(rows, np.concatenate([rc, np.zeros((4, 3))]), rcond=None)[0].T
        np.testing.assert_allclose(A, want, atol=1e-12)
        np.testing.assert_allclose(a, r.mean(0) - want @ z.mean(0), atol=1e-12)
    A, a = fit(moments(z, r)[0], np.inf)
    assert not A.any() and np.allclose(a, r.mean(0))


@pytest.mark.parametrize("noise, size", [(0.01, 1.0), (3.0, 0.2), (1.0, 0.0)])
def test_the_ridge_chosen_is_the_best_of_all_on_the_held_out_pairs(noise, size):
    rng = np.random.default_rng(1)
    z = rng.standard_normal((60, 20)) + 1
    r = size * z @ rng.standard_normal((20, 5)) + noise * rng.standard_normal((60, 5))
    first, held = moments(z, r, 40)

    def error(ridge):
        A, a = fit(first, ridge)
        return ((r[40:] - z[40:] @ A.T - a) ** 2).sum()

    chosen = choose_ridge(first, held)
    tried = [0.0, *np.geomspace(1e-6, 1e4, 200), np.inf]
    assert error(chosen) <= 1.01 * min(map(error, tried))
    assert (chosen < 0.1) if noise < 0.1 else chosen > 0.1


def test_ridge_zero_is_not_chosen_where_it_is_undetermined():
    rng = np.random.default_rng(2)
    first, held = moments(rng.standard_normal((30, 40)), rng.standard_normal((30, 2)), 20)
    assert choose_ridge(first, held) > 0


@cache
def of_a_linear_one():
    rng = np.random.default_rng(3)
    W, b = rng.standard_normal((6, 6)).astype(np.float32), rng.standard_normal(6).astype(np.float32)
    D = affine_map(W, b)
    return W, b, dg.distill(D, points(), [20.0, 1.0, 0.05], key=jax.random.key(0), samples=300, batch=64)


def test_a_random_linear_denoiser_comes_back():
    """Though it has nothing to do with the data, and though few samples are shrunk towards D_G."""
    W, b, D_L = of_a_linear_one()
    assert D_L.W.shape == (3, 6, 6) and D_L.b.shape == (3, 6) and D_L.base is None
    for k in range(3):
        assert dg.weight_nmse(D_L.W[k], W) < 1e-10
        np.testing.assert_allclose(D_L.b[k], b, atol=1e-4)
    x = jnp.asarray(points(seed=1))
    np.testing.assert_allclose(D_L(x, 1.0), x @ W.T + b[None], atol=1e-4)


@pytest.mark.parametrize("ridge", [pytest.param(0.0, marks=pytest.mark.slow), None])
def test_it_minimises_equation_5(ridge):
    """Against least squares of numpy on as many fresh pairs: no worse on a third set than that fit is."""
    data, sigma, rng = points(), 0.5, np.random.default_rng(5)
    D = Partial(bent)
    D_L = dg.distill(D, data, [sigma], key=jax.random.key(1), samples=4000, ridge=ridge, batch=1000)

    def pairs(n):
        y = (data[rng.integers(0, 40, n)] + sigma * rng.standard_normal((n, 6))).astype(np.float32)
        return y, np.asarray(bent(y, sigma), np.float64)

    y, target = pairs(4000)
    W = np.linalg.lstsq(np.c_[y, np.ones(4000)], target, rcond=None)[0]
    y, target = pairs(20_000)
    mine, best = ((np.asarray(D_L(y, sigma)) - target) ** 2).mean(), ((np.c_[y, np.ones(20_000)] @ W - target) ** 2)
    assert mine < 1.01 * best.mean()
    D_G = dg.GaussianDenoiser.from_data(data)
    assert mine < 0.7 * ((np.asarray(D_G(y, sigma)) - target) ** 2).mean()


@pytest.mark.slow
def test_D_M_on_its_training_images_becomes_D_G():
    """Theorem 1: the best affine denoiser of the optimum of *any* data is the Gaussian of its moments."""
    data = points(25, 4).reshape(25, 2, 2)
    D_M, D_G = dg.EmpiricalDenoiser.from_data(data), dg.GaussianDenoiser.from_data(data)
    sigmas = [3.0, 0.7, 0.2]
    D_L = dg.distill(D_M, data, sigmas, key=jax.random.key(0), samples=60_000, ridge=0.0, batch=4000)
    assert D_L.b.shape == (3, 2, 2)
    W_G = np.stack([dg.affine(D_G, (2, 2), s)[0] for s in sigmas])
    assert (dg.weight_nmse(D_L.W, W_G) < 1e-3).all()
    off = dg.EmpiricalDenoiser.from_data(data[:5])  # the control: another optimum
    other = dg.distill(off, data, sigmas, key=jax.random.key(0), samples=4000, ridge=0.0, batch=4000)
    assert (dg.weight_nmse(other.W, W_G) > 3e-2).all()


@pytest.mark.slow
def test_D_M_of_images_becomes_their_D_G(train):
    """The same at 28×28, where shrinking stands in for the samples that least squares would need."""
    data = train[:100]
    D_M, D_G = dg.EmpiricalDenoiser.from_data(data), dg.GaussianDenoiser.from_data(data)
    D_L = dg.distill(D_M, data, [4.0, 1.0], key=jax.random.key(0), samples=8000)
    for k, sigma in enumerate((4.0, 1.0)):
        assert dg.weight_nmse(D_L.W[k], dg.affine(D_G, (28, 28, 1), sigma)[0]) < 1e-3


@pytest.mark.slow
def test_shrinking_beats_plain_least_squares_where_samples_are_few(train, test):
    data, few = train[:2000], train[:20]
    D, key, sigma = dg.EmpiricalDenoiser.from_data(few), jax.random.key(0), 4.0
    y = jnp.asarray(test[:500]) + sigma * jax.random.normal(jax.random.key(1), (500, 28, 28, 1))
    plain, shrunk = (dg.distill(D, data, [sigma], key=key, samples=1000, ridge=ridge) for ridge in (0.0, None))
    error = {name: float(dg.score_rmse(D_L, D, y, sigma)) for name, D_L in (("plain", plain), ("shrunk", shrunk))}
    assert error["shrunk"] < 0.5 * error["plain"]
    assert error["shrunk"] < dg.score_rmse(dg.GaussianDenoiser.from_data(data), D, y, sigma)


@pytest.mark.slow
def test_the_low_rank_result_is_the_dense_one_on_the_leading_components():
    data = points(60) @ np.diag([3.0, 2.0, 1.0, 0.01, 0.01, 0.01]).astype(np.float32)
    D, key, D_G = Partial(bent), jax.random.key(2), dg.GaussianDenoiser.from_data(data)
    full = dg.distill(D, data, [2.0, 0.5], key=key, samples=20_000, rank=6, ridge=0.0, batch=2000)
    dense = dg.distill(D, data, [2.0, 0.5], key=key, samples=20_000, ridge=0.0, batch=2000)
    low = dg.distill(D, data, [2.0, 0.5], key=key, samples=20_000, rank=3, ridge=0.0, batch=2000)
    assert low.W.shape == (2, 6, 3) and low.V is not None and low.V.shape == (6, 3)
    x, P = jnp.asarray(data), np.asarray(D_G.U[:, :3] @ D_G.U[:, :3].T)
    for k, sigma in enumerate((2.0, 0.5)):
        np.testing.assert_allclose(full(x, sigma), dense(x, sigma), atol=1e-3)
        W_G, W, W_low = (np.asarray(dg.affine(D, (6,), sigma)[0]) for D in (D_G, dense, low))
        np.testing.assert_allclose(W_low, W_G + (W - W_G) @ P, atol=0.05)
        np.testing.assert_allclose(W, dense.W[k], atol=1e-5)


def test_the_same_key_gives_the_same_bits_and_batches_are_only_a_matter_of_memory():
    D, data = Partial(bent), points()

    def run(seed, batch=50):
        return dg.distill(D, data, [0.5], key=jax.random.key(seed), samples=210, batch=batch)

    one, two = run(0), run(0)
    np.testing.assert_array_equal(one.W, two.W)
    assert abs(one.W - run(1).W).max() > 1e-3
    assert abs(one.W - run(0, 1000).W).max() < 1  # other noise: a batch has its own key


def test_every_image_is_used_equally_often():
    seen = []

    def spy(x, sigma):
        jax.debug.callback(lambda v: seen.append(np.asarray(v)), x)
        return x

    data = np.arange(10.0, dtype=np.float32)[:, None] * 100
    dg.distill(Partial(spy), data, [0.01], key=jax.random.key(0), samples=40, ridge=0.0, batch=8)
    jax.effects_barrier()
    counts = np.bincount(np.round(np.concatenate(seen)[:, 0] / 100).astype(int), minlength=10)
    np.testing.assert_array_equal(counts, 4)


@pytest.mark.slow
def test_descent_ends_at_the_closed_form():
    data, key = points(), jax.random.key(0)
    W, b, _ = of_a_linear_one()
    found = dg.distill_sgd(affine_map(W, b), data, 1.0, key=key, steps=2000, rate=5e-2, batch=32)
    assert found.losses.shape == (2000,)
    assert dg.weight_nmse(found.W, W) < 1e-8
    np.testing.assert_allclose(found.b, b, atol=1e-3)
    D = Partial(bent)
    best = dg.distill(D, data, [1.0], key=key, samples=20_000, ridge=0.0, batch=2000)
    near = dg.distill_sgd(D, data, 1.0, key=key, steps=2000, rate=1e-2, batch=128)
    assert dg.weight_nmse(near.W, best.W[0]) < 5e-3
    early = dg.distill_sgd(D, data, 1.0, key=key, steps=20, rate=1e-2, batch=128)
    assert dg.weight_nmse(early.W, best.W[0]) > 0.1  # the control: not yet


@pytest.mark.slow
def test_descent_starts_at_zero_with_the_mean_square_of_D_over_pixels():
    data = points().reshape(40, 2, 3)
    D = Partial(lambda x, sigma: jnp.full_like(x, 3.0))
    found = dg.distill_sgd(D, data, 1.0, key=jax.random.key(0), steps=2, rate=1e-2, batch=8)
    assert found.losses[0] == pytest.approx(9.0) and found.losses[1] < found.losses[0]
    assert found.W.shape == (6, 6) and found.b.shape == (2, 3)
    np.testing.assert_allclose(found.b, 1.5e-2, rtol=1e-2)  # Adam's first steps are the rate, in each number, …
    assert abs(found.W).max() < 1.6e-2 / np.sqrt(6)  # … here the whole and, half-way down the cosine, half; in W√d


@pytest.mark.slow
def test_no_retrace_for_another_denoiser_of_the_same_structure():
    data, sigmas = points(), [1.0, 0.1]

    def run(seed):
        W = np.random.default_rng(seed).standard_normal((6, 6)).astype(np.float32)
        return dg.distill(affine_map(W, W[0]), data, sigmas, key=jax.random.key(seed), samples=50, batch=16)

    traces = []
    counted = Partial(lambda W, x, sigma: (traces.append(1), x @ W.T)[1], jnp.eye(6))
    jax.block_until_ready(run(0).W)
    dg.distill(counted, data, sigmas, key=jax.random.key(0), samples=50, batch=16)
    assert len(traces) == 1


GOOD: dict[str, Any] = {"D": Partial(lambda x, sigma: x), "data": points(), "sigmas": [1.0, 0.1], "samples": 50}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": points().astype(int)}, "dtype int64; needs floating"),
        ({"data": points()[:1]}, r"data holds 1 point\(s\); needs at least 2"),
        ({"data": points() * np.nan}, r"data\[0\] has NaN"),
        ({"sigmas": [0.1, 1.0]}, "needs to decrease strictly"),
        ({"sigmas": [1.0, 0.0]}, "needs to be finite and > 0"),
        ({"samples": 9}, "samples = 9; needs at least 10"),
        ({"samples": 7, "ridge": 0.0}, "samples = 7; needs at least 8 for 6 components"),
        ({"ridge": -1.0}, "ridge = -1.0; needs ridge ≥ 0"),
        ({"ridge": np.nan}, "ridge = nan; needs ridge ≥ 0"),
        ({"batch": 0}, "batch = 0; needs at least 1"),
        ({"rank": 0}, "rank = 0; needs 1 ≤ rank ≤ 6"),
        ({"rank": 7}, "rank = 7; needs 1 ≤ rank ≤ 6"),
        ({"base": dg.GaussianDenoiser.from_data(points(9, 4))}, r"base has events of shape \(4,\); needs \(6,\)"),
        ({"D": Partial(lambda x, sigma: x[:, :3])}, r"D gives shape \(\d+, 3\) for x of shape"),
        ({"D": Partial(lambda x, sigma: x * jnp.inf)}, "NaN or infinite values at sigma = 1.0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(unchecked, change, message):
    with pytest.raises(ValueError, match=message):
        dg.distill(key=jax.random.key(0), **(GOOD | change))


def test_what_is_no_denoiser_is_refused(unchecked):
    with pytest.raises(TypeError, match=r"jax\.tree_util\.Partial\(f\)"):
        dg.distill(lambda x, sigma: x, points(), [1.0], key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"jax\.tree_util\.Partial\(f\)"):
        dg.distill_sgd(lambda x, sigma: x, points(), 1.0, key=jax.random.key(0), steps=1, rate=1.0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sigma": 0.0}, "sigma = 0.0; needs a finite number > 0"),
        ({"rate": -1.0}, "rate = -1.0; needs"),
        ({"steps": 0}, "steps = 0; needs at least 1"),
        ({"batch": 0}, "batch = 0; needs at least 1"),
        ({"data": points()[0]}, r"data has shape \(6,\)"),
    ],
)
def test_descent_refuses_bad_arguments(unchecked, change, message):
    arguments = {"data": points(), "sigma": 1.0, "key": jax.random.key(0), "steps": 1, "rate": 1.0} | change
    with pytest.raises(ValueError, match=message):
        dg.distill_sgd(Partial(lambda x, sigma: x), **arguments)


@pytest.fixture
def benchmarks(monkeypatch):
    for folder in ("benchmarks", "experiments"):
        monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / folder))


@pytest.mark.slow
def test_the_script_for_large_images_runs_at_a_small_size(benchmarks, capsys):
    from distill_scale import main

    small = ["--side", "8", "--images", "60", "--samples", "600", "--rank", "20", "--levels", "2", "--width", "4"]
    found = main(small)
    assert "within 24.0 GiB" in capsys.readouterr().out
    assert found["D_L 0"] < found["D_G 0"] and found["D_L 1"] < found["D_G 1"]
    with pytest.raises(SystemExit):
        main([*small, "--limit", "0.01"])


@pytest.mark.slow
def test_the_script_that_compares_descent_with_the_closed_form(benchmarks, monkeypatch):
    import descent

    monkeypatch.setattr(descent, "TRIAL", 32)
    monkeypatch.setattr(descent, "PAIRS", (64, 512))
    data, (W, b, _) = points(), of_a_linear_one()
    D, D_G = affine_map(W, b), dg.GaussianDenoiser.from_data(data)
    found = descent.level(D, D_G, data, points(), 1.0, (1e-6, 5e-2), 2000)
    assert found["rate"] == 5e-2 and found["mse_descent"] < 1e-6 and found["mse_closed"] < 1e-6
    assert found["closed"][-1]["mse"] == found["mse_closed"] and found["rmse_apart"] < 1e-3
    assert found["steps"][-1] == 2000 and found["losses"][-1] < 1e-3 * found["losses"][0]
    early = descent.level(D, D_G, data, points(), 1.0, (5e-2,), 20)  # the control: 64 pairs are enough
    (closed,) = early["closed"]
    assert early["mse_descent"] > 1e-2 and early["seconds_closed_to_reach_it"] == closed["seconds"]
    assert json.loads(json.dumps(found)) == found
