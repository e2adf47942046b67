import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64
from hypothesis import given, strategies as st

import diffgauss as dg
from diffgauss.beyond import batches, screen


def clusters(seed, n=48, d=6):
    """Points around three centres, and queries near them: (n, d) and (5, d) float32."""
    rng = np.random.default_rng(seed)
    y = (
        3 * rng.standard_normal((3, d))[rng.integers(0, 3, n)]
        + rng.standard_normal((n, d))
        + rng.standard_normal(d)
    )
    return y.astype(np.float32), rng


def oracle(x, y, sigma):
    """Weights (b, n) and mean in float64 from squared differences."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    logits = -((x[:, None] - y) ** 2).sum(-1) / (2 * np.broadcast_to(sigma, len(x))[:, None] ** 2)
    w = np.exp(logits - logits.max(1, keepdims=True))
    w /= w.sum(1, keepdims=True)
    return w, w @ y


@pytest.mark.slow
@given(st.integers(0, 1000), st.sampled_from([0.002, 0.05, 0.3, 1.0, 4.0]), st.sampled_from([1, 3]))
def test_the_bound_covers_what_is_left_out(seed, sigma, rank):
    """True mass left out ≤ bound ≤ tol and ‖D − D_M‖ ≤ bound · diameter, for any data, σ, k and tolerance.

    Each image has a coordinate of its own, so that the mean shows its weight: c wᵢ, or 0 where left out.
    """
    y, rng = clusters(seed, n=24)
    c, own = 0.1, np.eye(24)
    x = np.hstack([y[:5] + sigma * rng.standard_normal((5, 6)), np.zeros((5, 24))])
    y = np.hstack([y, c * own])
    w, want = oracle(x, y, sigma)
    diameter = np.linalg.norm(y[:, None] - y[None], axis=-1).max()
    with float64():
        for tol in (1e-6, 0.2):
            D = dg.ScreenedDenoiser.from_data(y, ranks=(rank, rank + 2), block=4, tol=tol, dense=1.0)
            mean, bound = (np.asarray(a) for a in D.posterior(jnp.asarray(x), jnp.float64(sigma)))
            left_out = np.where(mean[:, 6:] < 1e-12 * c, w, 0).sum(1)
            assert (left_out <= bound + 1e-10).all() and (bound <= tol).all()
            assert (np.linalg.norm(mean - want, axis=1) <= bound * diameter + 1e-8).all()
    D, z = (
        dg.ScreenedDenoiser.from_data(y.astype(np.float32), ranks=(rank, 5), block=4),
        jnp.asarray(x, jnp.float32),
    )
    D_M = dg.EmpiricalDenoiser.from_data(y.astype(np.float32))
    np.testing.assert_allclose(D(z, sigma), D_M(z, sigma), atol=1e-4)


@given(st.integers(0, 1000), st.sampled_from([1, 3, 6]), st.sampled_from([0.01, 1.0]))
def test_features_bound_every_product(seed, rank, scale):
    """z·w ≤ f(z)·f(w), that is ‖z − w‖² ≥ ‖P(z − w)‖² + (‖Qz‖ − ‖Qw‖)², and = where the basis spans everything."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0].astype(np.float32)
    z, w = (scale * rng.standard_normal((7, 6)).astype(np.float32) for _ in range(2))
    product = z.astype(np.float64) @ w.T.astype(np.float64)
    f, g = (np.asarray(screen.features(jnp.asarray(a), jnp.asarray(basis[:, :rank]))) for a in (z, w))
    assert (f @ g.T >= product - 1e-5 * scale**2).all()
    if rank == 6:
        np.testing.assert_allclose(f @ g.T, product, atol=1e-5 * scale**2)


def test_screening_leaves_out_most_and_changes_nothing():
    y, rng = clusters(0, n=512)
    x = jnp.asarray(y[:9] + 0.1 * rng.standard_normal((9, 6)), jnp.float32)
    D_M, D = dg.EmpiricalDenoiser.from_data(y), dg.ScreenedDenoiser.from_data(y, ranks=(2, 4), block=8, dense=1.0)
    np.testing.assert_allclose(D(x, 0.1), D_M(x, 0.1), atol=2e-5)
    assert D.visited(x, 0.1).mean() < 0.2


@pytest.mark.slow
def test_where_too_much_is_left_everything_is_scanned():
    y, rng = clusters(0, n=512)
    x = jnp.asarray(y[:9] + 0.1 * rng.standard_normal((9, 6)), jnp.float32)
    D_M = dg.EmpiricalDenoiser.from_data(y)
    everything = dg.ScreenedDenoiser.from_data(y, ranks=(2, 4), block=8, dense=0.0)
    np.testing.assert_allclose(everything(x, 0.1), D_M(x, 0.1), atol=2e-5)
    np.testing.assert_array_equal(everything.posterior(x, 0.1)[1], 0)
    np.testing.assert_array_equal(everything.visited(x, 0.1), 1)


@pytest.mark.slow
def test_the_memory_of_a_call_hardly_grows_with_the_images():
    """16 times the images, less than twice the working space: not a bound for each group of each query."""
    room = []
    for n in (8192, 131072):
        D = dg.ScreenedDenoiser.from_data(clusters(0, n=n)[0], ranks=(2, 4))
        analysis = jax.jit(lambda D, x: D(x, 0.1)).lower(D, jnp.zeros((256, 6))).compile().memory_analysis()
        assert analysis is not None
        room.append(analysis.temp_size_in_bytes)
    assert room[1] < 2 * room[0]
    assert room[1] < 256 * 131072 / 8 * 4


@pytest.mark.slow
def test_queries_that_need_more_groups_than_are_listed_get_whole_blocks():
    """The list of nearest groups grows with the need; beyond its end whole blocks count, still certified."""
    n, group, short, longest = 12000, 8, 32, 1024  # the defaults in _screen
    y, rng = clusters(2, n=n)
    x = jnp.asarray(np.stack([y[0] + 0.01, 3 * y[:200].mean(0)]), jnp.float32)
    D_M, D = dg.EmpiricalDenoiser.from_data(y), dg.ScreenedDenoiser.from_data(y, ranks=(2, 4), block=16, dense=1.0)
    shares = []
    for sigma in (0.05, 0.3, 2.0):
        mean, bound = D.posterior(x, sigma)
        np.testing.assert_allclose(mean, D_M(x, sigma), atol=1e-4)
        assert (bound <= 1e-6).all()
        shares.append(D.visited(x, sigma)[0] * n / group)
    assert shares[0] < short < shares[1] < longest < shares[2]


@pytest.mark.slow
def test_far_queries_hardly_any_noise_and_its_derivative():
    """Where ‖x‖ is a thousand times ‖y‖ or σ² below rounding, D is D_M of float64; derivatives are finite."""
    y, rng = clusters(0, n=512)
    D = dg.ScreenedDenoiser.from_data(y, ranks=(2, 4), block=8, dense=1.0)
    near = y[:64] + 1e-3 * rng.standard_normal((64, 6)).astype(np.float32)
    far = 3000 * rng.standard_normal((4, 6)).astype(np.float32)
    for x, sigma, atol in ((near, 1e-3, 1e-5), (near, 2e-3, 1e-5), (far, 30.0, 2e-3)):
        want = oracle(x, y, sigma)[1]
        np.testing.assert_allclose(D(jnp.asarray(x), sigma), want, atol=atol)
        along = jax.jvp(lambda x, s: D(x, s), (jnp.asarray(x), sigma), (jnp.ones_like(x), 1.0))[1]
        assert np.isfinite(along).all()


@pytest.mark.parametrize("b, levels", [(97, False), (131, True)])
@pytest.mark.parametrize("dense", [1.0, 0.0], ids=["screened", "scanned"])
def test_cores_that_share_a_batch_change_nothing(b, levels, dense, monkeypatch):
    """Three threads give what one call gives, whether or not the batch divides, with one level or one for each.

    Not to the bit: a product of fewer rows may add its terms in another order.
    """
    y, rng = clusters(3, n=512)
    D = dg.ScreenedDenoiser.from_data(y, ranks=(2, 4), block=8, dense=dense)
    x = jnp.asarray(y[rng.integers(0, 512, b)] + 0.1 * rng.standard_normal((b, 6)), jnp.float32)
    sigma = jnp.asarray(np.geomspace(0.05, 0.2, b), jnp.float32) if levels else 0.1
    found, threads = [], []
    for cores in (1, 3):
        monkeypatch.setattr(batches, "cores", lambda cores=cores: cores)
        found.append((D(x, sigma), *D.posterior(x, sigma), D.visited(x, sigma)))
    for alone, shared in zip(*found, strict=True):
        assert alone.shape == shared.shape and alone.dtype == shared.dtype
        np.testing.assert_allclose(shared, alone, rtol=1e-6, atol=1e-6)

    def counted(D, x, sigma):
        threads.append(threading.get_ident())
        return D._posterior(jnp.asarray(x), jnp.asarray(sigma))

    batches.in_threads(counted, D, x, sigma, 32)
    assert len(threads) == 3 and threads[0] == threading.get_ident()  # the first share is the caller's
    jax.jit(lambda D, x: batches.in_threads(counted, D, x, sigma, 32))(D, x)
    with float64():
        batches.in_threads(counted, D, x, sigma, 32)
    assert len(threads) == 5  # under a trace and in double precision the batch is whole


def test_a_shared_batch_is_compiled_once_and_its_errors_arrive(monkeypatch):
    monkeypatch.setattr(batches, "cores", lambda: 4)
    traced = []

    @jax.jit
    def f(D, x, sigma):
        traced.append(x.shape)
        return x + D * sigma

    x = jnp.ones((30, 2))
    np.testing.assert_array_equal(batches.in_threads(f, 1.0, x, 2.0, 8), x + 2)
    assert traced == [(10, 2)]

    def fails(D, x, sigma):
        if threading.current_thread() is not threading.main_thread():
            raise FloatingPointError("in a thread")
        return x

    with pytest.raises(FloatingPointError, match="in a thread"):
        batches.in_threads(fails, 1.0, x, 2.0, 8)


def test_samples_in_shares_are_those_of_one_call(monkeypatch):
    """Of a network, for a batch that does not divide."""
    D, sigmas = dg.zoo.load("n64-w4"), dg.karras_sigmas(3)
    x, called = dg.zoo.noise(7, (28, 28, 1)), []

    def draw(x):
        called.append((len(x), threading.get_ident()))
        return dg.sample(D, x, sigmas)

    monkeypatch.setattr(batches, "cores", lambda: 3)
    np.testing.assert_allclose(dg.in_shares(draw, x, 2), dg.sample(D, x, sigmas), atol=1e-3)  # of 200
    assert [n for n, _ in called] == [3, 3, 3] and len({thread for _, thread in called}) > 1
    dg.in_shares(draw, x)
    assert called[3:] == [(7, threading.get_ident())]  # too few to share
    jax.jit(lambda D: dg.in_shares(lambda x: dg.sample(D, x, sigmas), x, 2))(D)  # x is known, the network is traced


def test_nan_is_not_swallowed(unchecked):
    D = dg.ScreenedDenoiser.from_data(clusters(0, n=64)[0], ranks=(2, 4), block=8, dense=1.0)
    x = jnp.zeros((2, 6)).at[1, 0].set(jnp.nan)
    mean = D(x, 0.1)
    assert np.isfinite(mean[0]).all() and np.isnan(mean[1]).all()


@pytest.mark.parametrize("b", [1, 33, 70])
def test_every_query_has_its_turn_and_only_once(b):
    """visit: each needed pair of block and query is stepped exactly once, whatever the sizes."""
    need = np.random.default_rng(b).random((5, b)) < 0.4
    need[2] = False
    need[3] = True

    def step(count, k, queries):
        return count.at[k, queries].add(jnp.asarray(need, jnp.int32)[k, queries])

    count = screen.visit(jnp.asarray(need), jnp.zeros((5, b), jnp.int32), step)
    np.testing.assert_array_equal(count, need)


def test_the_order_is_a_permutation_in_full_blocks():
    points = np.random.default_rng(0).standard_normal((103, 4))
    rows = screen.by_neighbourhood(points, 8)
    np.testing.assert_array_equal(np.sort(rows), np.arange(103))
    spread = np.mean([points[rows[i : i + 8]].var(0).sum() for i in range(0, 96, 8)])
    assert spread < 0.6 * points.var(0).sum()


@pytest.mark.slow
def test_members_have_their_own_levels_and_the_sampler_runs():
    y, rng = clusters(1)
    y = y.reshape(-1, 3, 2)
    x = jnp.asarray(y[:3] + 0.3 * rng.standard_normal((3, 3, 2)), jnp.float32)
    D_M, D = dg.EmpiricalDenoiser.from_data(y), dg.ScreenedDenoiser.from_data(y, ranks=(2, 4), block=4)
    np.testing.assert_allclose(D(x, jnp.array([0.1, 1.0, 9.0])), D_M(x, jnp.array([0.1, 1.0, 9.0])), atol=2e-5)
    sigmas, noise = dg.karras_sigmas(6), 80 * jnp.asarray(rng.standard_normal((2, 3, 2)), jnp.float32)
    np.testing.assert_allclose(dg.sample(D, noise, sigmas), dg.sample(D_M, noise, sigmas), atol=1e-4)


@pytest.mark.slow
def test_no_retrace_for_another_training_set():
    D1, D2 = (dg.ScreenedDenoiser.from_data(clusters(seed)[0], ranks=(2, 4), block=4) for seed in (0, 1))
    x = jnp.ones((2, 6))
    jax.block_until_ready(D1(x, 1.0))
    with jax.no_tracing(True):
        jax.block_until_ready(D2(x, 2.0))


IMAGES = np.zeros((4, 2, 2), np.float32)


@pytest.mark.parametrize(
    "data, arguments, message",
    [
        (IMAGES[:1], {}, r"data holds 1 point\(s\); needs at least 2"),
        (IMAGES.astype(np.uint8), {}, "data has dtype uint8; needs floating"),
        (IMAGES, {"ranks": (0, 4)}, r"ranks = \(0, 4\) and block = 128; need 1 ≤ first"),
        (IMAGES, {"ranks": (3, 2)}, r"ranks = \(3, 2\) and block = 128; need 1 ≤ first"),
        (IMAGES, {"block": 0}, "and block = 0; need 1 ≤ first"),
        (IMAGES, {"tol": 0.0}, "tol = 0.0 and dense = 0.35; need 0 < tol"),
        (IMAGES, {"dense": 1.5}, "dense = 1.5; need"),
    ],
)
def test_bad_data_is_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.ScreenedDenoiser.from_data(data, **arguments)


@pytest.mark.slow
def test_single_and_half_precision_beside_double():
    y, rng = clusters(0, n=300)
    x = (y[:5] + 0.2 * rng.standard_normal((5, 6))).astype(np.float32)
    D = dg.ScreenedDenoiser.from_data(y, ranks=(2, 4))
    want = D(jnp.asarray(x), 0.2)
    with float64():
        np.testing.assert_allclose(D(jnp.asarray(x), 0.2), want, atol=1e-5)
    half = dg.ScreenedDenoiser.from_data(y.astype(np.float16), ranks=(2, 4))
    np.testing.assert_allclose(half(jnp.asarray(x), 0.2), want, atol=0.02)


def test_bad_queries_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\); needs \(b, 2, 2\)"):
        dg.ScreenedDenoiser.from_data(IMAGES)(jnp.zeros((3, 4)), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.25, 0.5, 2.0])
def test_all_60000_images_agree_with_the_scan(D_M, train, test, sigma):
    D = dg.ScreenedDenoiser.from_data(train)
    x = jnp.asarray(test[:64] + np.float32(sigma) * np.random.default_rng(0).standard_normal(test[:64].shape))
    mean, bound = D.posterior(x.astype(jnp.float32), sigma)
    want = D_M(x.astype(jnp.float32), sigma)
    assert jnp.linalg.norm(mean - want) < 5e-5 * jnp.linalg.norm(want)
    assert (bound <= 1e-6).all()
