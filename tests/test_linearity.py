import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

import diffgauss as dg

RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((60, 3, 2)) @ np.array([[2.0, 0.3], [0.1, 0.5]]) + 4
D_G = dg.GaussianDenoiser.from_data(DATA)
X1, X2 = (jnp.asarray(DATA[i : i + 20] + 0.8 * RNG.standard_normal((20, 3, 2)), jnp.float32) for i in (0, 20))


def twisted(x, sigma):
    """A denoiser that is not affine."""
    return jnp.sin(x) * sigma + 0.1 * x * jnp.roll(x, 1, 1)


def cosines(a, b):
    a, b = np.asarray(a, float).reshape(len(a), -1), np.asarray(b, float).reshape(len(b), -1)
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


@pytest.mark.parametrize("alpha", [0.99**0.5, 0.87**0.5, 0.5**0.5])
def test_linearity_is_the_mean_cosine_of_equation_8(alpha):
    a, b = alpha, (1 - alpha**2) ** 0.5
    whole, parts = twisted(a * X1 + b * X2, 0.8), a * twisted(X1, 0.8) + b * twisted(X2, 0.8)
    got = dg.linearity(Partial(twisted), X1, X2, 0.8, alpha=alpha)
    assert float(got) == pytest.approx(cosines(whole, parts).mean(), rel=1e-5)
    if alpha == 0.5**0.5:
        assert dg.linearity(Partial(twisted), X1, X2, 0.8) == got
    got = dg.linearity_deviation(Partial(twisted), X1, X2, 0.8, alpha=alpha)
    off, size = (np.sqrt((np.asarray(v, float) ** 2).sum((1, 2))) for v in (whole - parts, whole))
    assert float(got) == pytest.approx((off / size).mean(), rel=1e-5)


def test_the_mean_hides_in_the_raw_score_and_is_taken_out_of_the_centred_one():
    """An affine D has raw LS < 1 for its offset; centred, every D_G scores 1."""
    raw, centred = (dg.linearity(D_G, X1, X2, 0.8, mean=mean) for mean in (None, D_G.mean))
    assert 0.5 < raw < 0.999 and centred == pytest.approx(1, abs=1e-6)
    assert dg.linearity_deviation(D_G, X1, X2, 0.8) > 0.1
    assert dg.linearity_deviation(D_G, X1, X2, 0.8, mean=D_G.mean) < 1e-5
    linear = Partial(lambda x, sigma: sigma * jnp.roll(x, 1, 1))
    assert dg.linearity(linear, X1, X2, 0.8) == pytest.approx(1, abs=1e-6)


def test_the_centred_score_is_that_of_the_shifted_denoiser():
    u = D_G.mean
    shifted = Partial(lambda u, z, sigma: twisted(z + u[None], sigma) - u[None], u)
    want = dg.linearity(shifted, X1 - u[None], X2 - u[None], 0.8)
    got = dg.linearity(Partial(twisted), X1, X2, 0.8, mean=u)
    assert float(got) == pytest.approx(float(want), abs=1e-6)
    assert got < 0.98  # the control: what is not affine is found out
    assert dg.linearity_deviation(Partial(twisted), X1, X2, 0.8, mean=u) > 0.3


def test_no_retrace_for_another_alpha_or_denoiser():
    dg.linearity(D_G, X1, X2, 0.8, alpha=0.1, mean=D_G.mean)
    other, sigma = dg.GaussianDenoiser.from_data(DATA + 1), 0.3
    with jax.no_tracing(True):
        jax.block_until_ready(dg.linearity(other, X1, X2, sigma, alpha=0.9, mean=other.mean))


@pytest.mark.parametrize("f", [dg.linearity, dg.linearity_deviation])
def test_linearity_refuses_what_is_no_pair(unchecked, f):
    for x2, alpha, mean, message in [
        (X2[:5], 0.5, None, "x1 and x2 hold 20 and 5 points"),
        (X2[:, :2], 0.5, None, r"x2 has shape \(20, 2, 2\); needs \(b, 3, 2\)"),
        (X2, 1.5, None, "alpha = 1.5; needs 0 ≤ alpha ≤ 1"),
        (X2, 0.5, jnp.zeros(6), r"mean has shape \(6,\); needs \(3, 2\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            f(D_G, X1, x2, 0.8, alpha=alpha, mean=mean)
    with pytest.raises(TypeError, match=r"Partial\(f\)"):
        f(twisted, X1, X2, 0.8)


def test_weight_nmse_is_a_ratio_of_squared_norms():
    W, W_G = RNG.standard_normal((2, 3, 5, 5))
    want = [np.linalg.norm(a - b, "fro") ** 2 / np.linalg.norm(b, "fro") ** 2 for a, b in zip(W, W_G, strict=True)]
    np.testing.assert_allclose(dg.weight_nmse(W, W_G), want, rtol=1e-12)
    assert dg.weight_nmse(W_G[0], W_G[0]) == 0 and dg.weight_nmse(0 * W_G[0], W_G[0]) == 1
    assert dg.weight_nmse(W[0], W_G[0]) > 0.5  # the control: another matrix
    with pytest.raises(ValueError, match=r"shapes \(3, 5, 5\) and \(5, 5\); needs the same"):
        dg.weight_nmse(W, W_G[0])


def test_pc_similarity_finds_the_components_and_tells_a_rotation():
    U = np.linalg.qr(RNG.standard_normal((8, 8)))[0]
    other = np.linalg.qr(RNG.standard_normal((8, 8)))[0]
    W = (U * np.arange(8, 0, -1)) @ other.T
    np.testing.assert_allclose(dg.pc_similarity(W, U, k=5), np.eye(5), atol=1e-10)
    np.testing.assert_allclose(dg.pc_similarity(W.T, other, k=8), np.eye(8), atol=1e-10)
    lam, vectors = np.linalg.eigh(W @ W.T)  # the oracle
    want = abs(other[:, :5].T @ vectors[:, ::-1][:, :5])
    got = dg.pc_similarity(W, other, k=5)
    np.testing.assert_allclose(got, want, atol=1e-8)
    assert np.diag(got).mean() < 0.7
    for k in (0, 9):
        with pytest.raises(ValueError, match=rf"k = {k}; needs"):
            dg.pc_similarity(W, U, k=k)


def test_subspace_alignment_is_the_mean_squared_cosine_of_the_principal_angles():
    from scipy.linalg import subspace_angles

    U, V = (np.linalg.qr(RNG.standard_normal((10, 3)))[0] for _ in range(2))
    assert dg.subspace_alignment(U, V) == pytest.approx((np.cos(subspace_angles(U, V)) ** 2).mean())
    turned = U @ np.linalg.qr(RNG.standard_normal((3, 3)))[0]
    both = dg.subspace_alignment(U, np.stack([turned, V]))
    np.testing.assert_allclose(both, [1, float(dg.subspace_alignment(U, V))])
    apart = np.linalg.qr(np.c_[U, RNG.standard_normal((10, 3))])[0][:, 3:]
    assert dg.subspace_alignment(U, apart) < 1e-20
    with pytest.raises(ValueError, match="needs"):
        dg.subspace_alignment(U, V[:, :2])


@pytest.mark.slow
def test_gains_are_the_quadratic_forms_of_the_dense_jacobian():
    U = jnp.asarray(np.linalg.qr(RNG.standard_normal((6, 6)))[0][:, :4], jnp.float32)
    got = dg.jacobian_gains(Partial(twisted), X1[:3], 0.8, U)
    J = jax.vmap(jax.jacrev(lambda x: twisted(x.reshape(1, 3, 2), 0.8).ravel()))(X1[:3].reshape(3, 6))
    np.testing.assert_allclose(got, np.einsum("dk,bde,ek->bk", U, J, U), atol=1e-5)
    wiener = D_G.lam / (D_G.lam + 0.64)
    np.testing.assert_allclose(
        dg.jacobian_gains(D_G, X1[:3], 0.8, D_G.U), np.broadcast_to(wiener, (3, len(wiener))), atol=1e-5
    )
    assert abs(dg.jacobian_gains(Partial(twisted), X1[:3], 0.8, D_G.U) - wiener[None]).max() > 0.1  # the control


@pytest.mark.slow
def test_leading_directions_of_the_jacobian_are_those_of_the_dense_svd():
    s, V = dg.jacobian_svd(Partial(twisted), X1[:4], 0.8, 2, key=jax.random.key(0), steps=60)
    for point, found_s, found_V in zip(X1[:4], s, V, strict=True):
        J = jax.jacrev(lambda x: twisted(x.reshape(1, 3, 2), 0.8).ravel())(point.ravel())
        want = np.linalg.svd(np.asarray(J, float))
        np.testing.assert_allclose(found_s, want[1][:2], rtol=1e-3)
        assert dg.subspace_alignment(want[2][:2].T, found_V) > 0.999
    s, V = dg.jacobian_svd(D_G, X1[:2], 0.8, 3, key=jax.random.key(1), steps=60)
    np.testing.assert_allclose(s, np.broadcast_to(D_G.lam[:3] / (D_G.lam[:3] + 0.64), (2, 3)), rtol=1e-3)
    assert (dg.subspace_alignment(D_G.U[:, :3], V) > 0.99).all()
    assert (dg.subspace_alignment(D_G.U[:, 3:], V) < 0.01).all()  # the control: the others


@pytest.mark.slow
def test_the_jacobian_of_a_network_is_that_of_differences_and_of_the_dense_svd():
    D = dg.EDMDenoiser(dg.UNet(8, 1, width=4, rngs=nnx.Rngs(0)), 0.5)
    leaves, structure = jax.tree.flatten(D)
    keys = jax.random.split(jax.random.key(1), len(leaves))  # the last layer of a new net is 0
    D = jax.tree.unflatten(
        structure, [w + 0.3 * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    )
    x = jax.random.normal(jax.random.key(2), (2, 8, 8, 1))
    U = jnp.asarray(np.linalg.qr(RNG.standard_normal((64, 3)))[0], jnp.float32)
    step = 1e-2 * U.T.reshape(3, 1, 8, 8, 1)
    call = jax.jit(lambda D, x: D(x, 0.5))
    along = [(call(D, x + h) - call(D, x - h)) / 2e-2 for h in step]
    want = np.stack([np.asarray(a).reshape(2, 64) @ u for a, u in zip(along, np.asarray(U).T, strict=True)], 1)
    np.testing.assert_allclose(dg.jacobian_gains(D, x, 0.5, U), want, atol=5e-3)
    assert abs(want - 0.5).max() > 0.02  # c_skip = 0.5 is not all of it
    s, V = dg.jacobian_svd(D, x, 0.5, 2, key=jax.random.key(0), steps=60)
    for k in range(2):
        J = jax.jit(jax.jacrev(lambda z: call(D, z.reshape(1, 8, 8, 1)).ravel()))(x[k].ravel())
        left, size, right = np.linalg.svd(np.asarray(J, float))
        np.testing.assert_allclose(s[k], size[:2], rtol=1e-2)
        np.testing.assert_allclose(np.linalg.norm(np.asarray(J) @ np.asarray(V[k]), axis=0), s[k], rtol=1e-3)


def test_jacobians_refuse_bad_arguments(unchecked):
    with pytest.raises(ValueError, match=r"got 5 rows and k = 1 .*needs 6 rows"):
        dg.jacobian_gains(D_G, X1, 0.8, jnp.ones((5, 2)))
    for k, steps, message in [(7, 1, "k = 7"), (0, 1, "k = 0"), (1, 0, "steps = 0; needs at least 1")]:
        with pytest.raises(ValueError, match=message):
            dg.jacobian_svd(D_G, X1, 0.8, k, key=jax.random.key(0), steps=steps)
    with pytest.raises(TypeError, match=r"Partial\(f\)"):
        dg.jacobian_gains(twisted, X1, 0.8, D_G.U)
    with pytest.raises(TypeError, match=r"Partial\(f\)"):
        dg.jacobian_svd(twisted, X1, 0.8, 1, key=jax.random.key(0))


REFERENCE = RNG.standard_normal((30, 4, 2)) + 5
SAMPLES = REFERENCE + 0.3 * RNG.standard_normal((30, 4, 2))


def test_r2_is_one_less_the_share_of_variance_left():
    u = np.full((4, 2), 5.0)
    want = 1 - ((SAMPLES - REFERENCE) ** 2).sum() / ((REFERENCE - u) ** 2).sum()
    assert dg.sample_r2(SAMPLES, REFERENCE, mean=u).value == pytest.approx(want, rel=1e-12)
    want = 1 - ((SAMPLES - REFERENCE) ** 2).sum() / ((REFERENCE - REFERENCE.mean(0)) ** 2).sum()
    assert dg.sample_r2(SAMPLES, REFERENCE).value == pytest.approx(want, rel=1e-12)
    assert dg.sample_r2(REFERENCE, REFERENCE) == (1, 1, 1)
    assert dg.sample_r2(np.broadcast_to(u, (30, 4, 2)), REFERENCE, mean=u).value == 0
    assert dg.sample_r2(REFERENCE[::-1], REFERENCE, mean=u).value < -0.3  # the control: the wrong pairs


def test_the_cosine_is_about_the_mean():
    u = np.full((4, 2), 5.0)
    got = dg.sample_cosine(SAMPLES, REFERENCE, mean=u)
    assert got.value == pytest.approx(np.median(cosines(SAMPLES - u, REFERENCE - u)), rel=1e-12)
    wrong = dg.sample_cosine(REFERENCE[::-1], REFERENCE, mean=u)
    assert wrong.low < 0 < wrong.high < 0.5 < got.low
    assert dg.sample_cosine(REFERENCE[::-1], REFERENCE, mean=0 * u).value > 0.9  # what centring protects from


def test_pearson_is_the_median_over_pairs_of_numpy():
    x, y = (part.reshape(30, -1) for part in (SAMPLES, REFERENCE))
    each = [np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(x, y, strict=True)]
    got = dg.sample_pearson(SAMPLES, REFERENCE)
    assert got.value == pytest.approx(np.median(each), rel=1e-12) and got.low < got.value < got.high
    np.testing.assert_allclose(dg.sample_pearson(3 * SAMPLES - 7, REFERENCE), got, rtol=1e-9)  # what it is blind to
    assert dg.sample_r2(3 * SAMPLES - 7, REFERENCE).value < 0
    assert dg.sample_pearson(REFERENCE[::-1], REFERENCE).value < 0.5 < got.value  # the control: the wrong pairs
    with pytest.raises(ValueError, match="pair 3 has a member whose pixels are all equal"):
        dg.sample_pearson(np.where(np.arange(30)[:, None, None] == 3, 1.0, SAMPLES), REFERENCE)


def test_the_interval_is_the_bootstrap_of_scipy():
    from scipy.stats import bootstrap

    per_pair = cosines(SAMPLES - REFERENCE.mean(0), REFERENCE - REFERENCE.mean(0))
    want = bootstrap((per_pair,), np.median, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    got = dg.sample_cosine(SAMPLES, REFERENCE, resamples=20_000)
    np.testing.assert_allclose(got[1:], want, atol=0.1 * (want.high - want.low))

    def r2(e, v, axis):
        return 1 - e.sum(axis) / v.sum(axis)

    e, v = ((SAMPLES - REFERENCE) ** 2).sum((1, 2)), ((REFERENCE - REFERENCE.mean(0)) ** 2).sum((1, 2))
    want = bootstrap((e, v), r2, paired=True, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    np.testing.assert_allclose(
        dg.sample_r2(SAMPLES, REFERENCE, resamples=20_000)[1:], want, atol=0.1 * (want.high - want.low)
    )


def test_the_interval_covers_and_shrinks_and_depends_only_on_the_seed():
    rng, inside, widths = np.random.default_rng(7), 0, []
    for _ in range(100):
        y = rng.standard_normal((40, 3))
        got = dg.sample_r2(y + 0.5 * rng.standard_normal((40, 3)), y, mean=np.zeros(3), resamples=300)
        inside, widths = inside + (got.low <= 0.75 <= got.high), [*widths, got.high - got.low]
    assert 85 <= inside <= 100
    y = rng.standard_normal((4000, 3))
    many = dg.sample_r2(y + 0.5 * rng.standard_normal((4000, 3)), y, mean=np.zeros(3), resamples=300)
    assert many.high - many.low < 0.2 * np.mean(widths)
    assert dg.sample_r2(SAMPLES, REFERENCE, seed=1) == dg.sample_r2(SAMPLES, REFERENCE, seed=1)
    assert dg.sample_r2(SAMPLES, REFERENCE, seed=1) != dg.sample_r2(SAMPLES, REFERENCE, seed=2)


@pytest.mark.parametrize("f", [dg.sample_r2, dg.sample_cosine])
@pytest.mark.parametrize(
    "samples, reference, arguments, message",
    [
        (SAMPLES[:1], REFERENCE[:1], {}, r"samples holds 1 point\(s\); needs at least 2"),
        (SAMPLES, REFERENCE[:20], {}, r"reference holds 20 point\(s\); needs at least 30"),
        (SAMPLES, REFERENCE[:, :2], {}, "needs the same shape"),
        (SAMPLES * np.nan, REFERENCE, {}, r"samples\[0\] has NaN"),
        (SAMPLES, REFERENCE, {"mean": np.zeros(2)}, r"mean has shape \(2,\); needs \(4, 2\)"),
        (SAMPLES, REFERENCE, {"resamples": 0}, "resamples = 0; needs at least 1"),
        (SAMPLES, 0 * REFERENCE, {}, "equal.* the mean; needs"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(unchecked, f, samples, reference, arguments, message):
    with pytest.raises(ValueError, match=message):
        f(samples, reference, **arguments)
