import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.tree_util import Partial

import diffgauss as dg
from diffgauss.measures import distance


def brute_force(samples, data, k):
    """Sorted float64 distances to the k nearest rows, from all differences."""
    difference = samples[:, None].astype(np.float64) - data[None]
    return np.sort(np.sqrt((difference**2).sum(tuple(range(2, difference.ndim)))), 1)[:, :k]


@given(st.integers(0, 1000), st.sampled_from([(1, 1), (3, 2), (3, 17), (17, 4), (17, 99)]), st.sampled_from([1, 9]))
def test_nearest_is_brute_force(seed, k_block, b):
    k, block = k_block
    rng = np.random.default_rng(seed)
    data, samples = rng.standard_normal((17, 2, 2)), rng.standard_normal((b, 2, 2))
    distances, indices = dg.nearest(samples, data, k=k, block=block)
    np.testing.assert_allclose(distances, brute_force(samples, data, k), rtol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm((samples[:, None] - data[indices]).reshape(b, k, -1), axis=-1), distances
    )
    assert all(len(set(row)) == k for row in indices)


@pytest.mark.parametrize("count", [255, 257, 600])
def test_any_number_of_samples(count):
    rng = np.random.default_rng(0)
    data, samples = rng.standard_normal((50, 3)), rng.standard_normal((count, 3))
    found = dg.nearest(samples, data, k=2, block=16)
    np.testing.assert_allclose(found.distances, brute_force(samples, data, 2), rtol=1e-12)


def test_ties_and_duplicates():
    data = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = dg.nearest(np.array([[0.0, 1.0], [0.0, 0.0]]), data, k=3, block=2)
    np.testing.assert_array_equal(found.distances, [[0, 0, 2], [1, 1, 1]])
    assert set(found.indices[0, :2]) == {0, 2} and set(found.indices[1]) == {0, 2, 3}


def test_copies_are_found_at_distance_zero(train):
    chosen = np.random.default_rng(0).permutation(60000)[:64]
    distances, indices = dg.nearest(train[chosen], train)
    np.testing.assert_array_equal(indices[:, 0], chosen)
    assert (distances == 0).all()


def test_generalization_of_copies_and_of_new_images(train, test):
    data = train[:10_000]
    copies, new = dg.generalization(train[:100], data), dg.generalization(test[:100], data)
    assert copies == (0.0, 1.0)
    first, second = brute_force(test[:10], data, 2).T
    norms = np.sqrt((test[:10].astype(np.float64) ** 2).sum((1, 2, 3)))
    few = dg.generalization(test[:10], data)
    assert few.GL == pytest.approx((first / norms).mean(), rel=1e-9)
    assert few.memorized == (first < second / 3).mean()
    assert new.GL > 0.15 and new.memorized < 0.05


def test_near_copies_are_memorized_though_not_equal(train):
    near = train[:20] + np.float32(1e-3) * np.random.default_rng(0).standard_normal(train[:20].shape).astype(
        np.float32
    )
    GL, memorized = dg.generalization(near, train[:1000])
    assert 0 < GL < 0.01 and memorized == 1


def test_copies_in_the_data_hide_nothing(train):
    """Where each image comes twice, the second neighbour is the nearest image that is no copy of the first."""
    data = train[:200]
    near = data[:20] + np.float32(1e-3)
    for samples in (near, train[1000:1020]):
        assert dg.generalization(samples, np.concatenate([data, data])) == dg.generalization(samples, data)
    with pytest.raises(ValueError, match="data holds 5 copies of one image; needs at least two that differ"):
        dg.generalization(near, np.repeat(data[:1], 5, 0))


def test_the_data_is_searched_in_pieces(train, monkeypatch):
    whole = dg.nearest(train[500:520], train[:500], k=3)
    monkeypatch.setattr(distance, "ROWS", 60)
    parts = dg.nearest(train[500:520], train[:500], k=3)
    np.testing.assert_array_equal(parts.indices, whole.indices)
    np.testing.assert_array_equal(parts.distances, whole.distances)


PEAK = """
import sys, numpy as np, diffgauss as dg
def status(field):
    (line,) = [line for line in open("/proc/self/status", encoding="utf-8") if line.startswith(field)]
    return int(line.split()[1]) * 1024
images = np.random.default_rng(0).uniform(-1, 1, (100_000, 784)).astype(np.float32)
D, config = dg.zoo.load("n64-w4"), dg.TrainConfig(steps=2, batch=4)
def use(data):
    match sys.argv[1]:
        case "D_M": dg.EmpiricalDenoiser.from_data(data)
        case "screened": dg.ScreenedDenoiser.from_data(data)
        case "nearest": dg.nearest(images[:50], data, k=2)
        case "fit": dg.fit(dg.TrainState.start(D, config), data.reshape(-1, 28, 28, 1), config, progress=False)
use(images[:9000])
before = status("VmRSS")
open("/proc/self/clear_refs", "w", encoding="utf-8").write("5")
use(images)
print((status("VmHWM") - before) / images.nbytes)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.parametrize(("what", "most"), [("D_M", 1.3), ("screened", 1.9), ("nearest", 0.6), ("fit", 1.5)])
def test_memory_beside_the_data(what, most):
    """The screened one keeps 480 numbers an image beside its 784: 1.6 times the data.

    A peak has compilers and allocators in it, which differ from run to run: the least of three is what is needed.
    """
    run = partial(subprocess.run, [sys.executable, "-c", PEAK, what], capture_output=True, text=True, check=True)
    assert any(float(run().stdout) < most for _ in range(3))


def test_samples_of_the_optimal_denoiser_are_copies(train):
    """The trap of training to the optimum: the ODE of D_M ends in the training set."""
    D = dg.EmpiricalDenoiser.from_data(train[:300])
    x = 80 * jax.random.normal(jax.random.key(0), (8, 28, 28, 1))
    GL, memorized = dg.generalization(dg.sample(D, x, dg.karras_sigmas(18)), train[:300])
    assert GL < 1e-3 and memorized == 1


@given(st.sampled_from([1e-3, 7.0, 1e3]))
def test_GL_has_no_scale(scale):
    rng = np.random.default_rng(0)
    samples, data = rng.standard_normal((10, 5)), rng.standard_normal((20, 5))
    plain, scaled = dg.generalization(samples, data), dg.generalization(scale * samples, scale * data)
    assert scaled.GL == pytest.approx(plain.GL, rel=1e-9) and scaled.memorized == plain.memorized


def test_the_memorized_share_counts_distance_ratios_below_a_third():
    data = np.array([[0.0, 1.0], [4.0, 1.0], [100.0, 1.0]])
    samples = np.array([[0.9, 1.0], [1.1, 1.0], [2.0, 1.0], [0.0, 1.0]])  # ratios .29, .38, 1, 0
    assert dg.generalization(samples, data).memorized == 0.5


def test_score_rmse_is_the_mean_root_not_the_root_mean():
    x = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float32)
    D1, D2 = Partial(lambda x, sigma: 3 * x * sigma), Partial(lambda x, sigma: x * sigma)
    got = dg.score_rmse(D1, D2, jnp.asarray(x), 0.5)
    want = np.mean([np.sqrt(((2 * 0.5 * row) ** 2).sum() / 6) for row in x])
    assert float(got) == pytest.approx(want, rel=1e-5)
    assert want != pytest.approx(np.sqrt(((2 * 0.5 * x) ** 2).mean()), rel=1e-2)


def test_score_rmse_is_zero_only_for_the_same_denoiser(train):
    data = train[:64]
    D_M, D_G = dg.EmpiricalDenoiser.from_data(data), dg.GaussianDenoiser.from_data(data)
    x = jnp.asarray(data[:16]) + jax.random.normal(jax.random.key(0), (16, 28, 28, 1))
    assert dg.score_rmse(D_M, D_M, x, 1.0) == 0
    assert dg.score_rmse(D_M, D_G, x, 1.0) > 0.01
    assert dg.score_rmse(D_M, D_G, x, 1.0) == dg.score_rmse(D_G, D_M, x, 1.0)
    shifted = Partial(lambda D, x, sigma: D(x, sigma) - 0.25, D_M)
    np.testing.assert_allclose(dg.score_rmse(D_M, shifted, x, 1.0), 0.25, rtol=1e-5)


def test_score_rmse_refuses_what_is_no_denoiser(unchecked):
    good = Partial(lambda x, sigma: x)
    for D1, D2 in [(good, lambda x, sigma: x), (lambda x, sigma: x, good)]:
        with pytest.raises(TypeError, match=r"jax\.tree_util\.Partial\(f\)"):
            dg.score_rmse(D1, D2, jnp.ones((2, 2)), 1.0)
    with pytest.raises(TypeError, match="got NoneType"):
        dg.score_rmse(good, None, jnp.ones((2, 2)), 1.0)  # type: ignore[arg-type]


POINTS = np.arange(12.0).reshape(4, 3) + 1


@pytest.mark.parametrize(
    "samples, data, arguments, message",
    [
        (POINTS[:, :2], POINTS, {}, r"samples has shape \(4, 2\); needs \(b, 3\)"),
        (POINTS[0], POINTS, {}, r"samples has shape \(3,\)"),
        (POINTS[:0], POINTS, {}, r"samples holds 0 point\(s\); needs at least 1"),
        (POINTS * np.nan, POINTS, {}, r"samples\[0\] has NaN"),
        (POINTS, POINTS * np.inf, {}, r"data\[0\] has NaN or infinite"),
        (POINTS.astype(int), POINTS, {}, "samples has dtype int64; needs floating"),
        (POINTS, POINTS.astype(np.uint8), {}, "data has dtype uint8"),
        (POINTS, POINTS, {"k": 5}, r"data holds 4 point\(s\); needs at least 5"),
        (POINTS, POINTS, {"k": 0}, "k = 0; needs k ≥ 1"),
        (POINTS, POINTS, {"block": 0}, "block = 0; needs block ≥ 1"),
        (POINTS, POINTS[:0], {}, r"data holds 0 point\(s\)"),
    ],
)
def test_nearest_refuses_bad_arguments(samples, data, arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.nearest(samples, data, **arguments)


def test_generalization_refuses_what_has_no_second_neighbour_or_no_norm():
    with pytest.raises(ValueError, match=r"data holds 1 point\(s\); needs at least 2"):
        dg.generalization(POINTS, POINTS[:1])
    with pytest.raises(ValueError, match=r"samples\[1\] has norm 0.*needs it > 0"):
        dg.generalization(POINTS * np.array([[1], [0], [1], [1]]), POINTS)
