import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import diffgauss as dg


def images(seed, n=6, h=5, w=4, c=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, h, w, c)).astype(np.float32), rng


def window(image, i, j, r):
    """The pixels within r of (i, j) that exist, and how much is cut off: above, left, below, right."""
    h, w, _ = image.shape
    box = image[max(i - r, 0) : i + r + 1, max(j - r, 0) : j + r + 1].astype(np.float64)
    return box, (max(r - i, 0), max(r - j, 0), max(i + r - h + 1, 0), max(j + r - w + 1, 0))


def oracle(x, y, sigma, size, equivariant):
    """The definition in loops, over explicit patches, in float64."""
    h, w, _ = x.shape
    out, r = np.zeros(x.shape), size // 2
    for i in range(h):
        for j in range(w):
            mine, cut = window(x, i, j, r)
            logits, values = [], []
            for k in range(h) if equivariant else [i]:
                for m in range(w) if equivariant else [j]:
                    for image in y:
                        theirs, their_cut = window(image, k, m, r)
                        if their_cut == cut:
                            logits.append(-((mine - theirs) ** 2).sum() / (2 * sigma**2))
                            values.append(image[k, m])
            weights = np.exp(np.array(logits) - max(logits))
            out[i, j] = weights @ np.array(values) / weights.sum()
    return out


@given(st.integers(0, 1000), st.sampled_from([0.1, 1.0, 10.0]), st.sampled_from([1, 3, 5, 9]), st.booleans())
def test_local_denoisers_are_their_definition(seed, sigma, size, equivariant):
    y, rng = images(seed)
    x = (y[:2] + sigma * rng.standard_normal(y[:2].shape)).astype(np.float32)
    D = dg.LocalDenoiser.from_data(y, size=size, equivariant=equivariant, block=4)
    want = np.stack([oracle(image, y, sigma, size, equivariant) for image in x])
    np.testing.assert_allclose(D(jnp.asarray(x), sigma), want, atol=1e-3)


def test_the_whole_image_is_D_M():
    y, rng = images(0, n=30, c=2)
    x = jnp.asarray(y[:4] + rng.standard_normal(y[:4].shape), jnp.float32)
    D_M = dg.EmpiricalDenoiser.from_data(y)
    for equivariant in (False, True):  # a window that is cut everywhere has only one place
        D = dg.LocalDenoiser.from_data(y, size=9, equivariant=equivariant)
        for sigma in (0.1, 1.0, 10.0):
            np.testing.assert_allclose(D(x, sigma), D_M(x, sigma), atol=2e-5)


def test_one_pixel_is_the_scalar_posterior_mean():
    y, rng = images(1)
    x = jnp.asarray(rng.standard_normal((3, 5, 4, 1)), jnp.float32)
    here = np.exp(-((np.asarray(x)[:, None] - y) ** 2) / (2 * 0.5**2))
    np.testing.assert_allclose(
        dg.LocalDenoiser.from_data(y, size=1)(x, 0.5), (here * y).sum(1) / here.sum(1), atol=1e-5
    )
    anywhere = np.exp(-((np.asarray(x)[..., None] - y.ravel()) ** 2) / (2 * 0.5**2))
    want = anywhere @ y.ravel() / anywhere.sum(-1)
    np.testing.assert_allclose(dg.LocalDenoiser.from_data(y, size=1, equivariant=True)(x, 0.5), want, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (1, 1)])
def test_els_is_equivariant_in_the_interior_and_ls_is_not(shift):
    y, rng = images(2, h=7, w=7)
    x = jnp.asarray(rng.standard_normal((2, 7, 7, 1)), jnp.float32)
    moved = jnp.roll(x, shift, (1, 2))
    inside = slice(2, 5)  # windows of 3 around these, and around where they move to, are not cut
    for equivariant in (True, False):
        D = dg.LocalDenoiser.from_data(y, size=3, equivariant=equivariant)
        difference = jnp.roll(D(x, 0.7), shift, (1, 2)) - D(moved, 0.7)
        assert (jnp.abs(difference[:, inside, inside]).max() < 1e-5) == equivariant


@pytest.mark.slow
def test_sizes_follow_the_nearest_level():
    y, rng = images(3)
    x = jnp.asarray(rng.standard_normal((3, 5, 4, 1)), jnp.float32)
    for equivariant in (False, True):
        D = dg.LocalDenoiser.from_data(y, size=[9, 3, 1], sigmas=[10.0, 1.0, 0.1], equivariant=equivariant)
        mixed = D(x, jnp.array([20.0, 0.9, 0.01]))
        for i, (size, sigma) in enumerate([(9, 20.0), (3, 0.9), (1, 0.01)]):
            one = dg.LocalDenoiser.from_data(y, size=size, equivariant=equivariant)
            np.testing.assert_allclose(D(x, sigma), one(x, sigma), atol=1e-5)
            np.testing.assert_allclose(mixed[i], one(x, sigma)[i], atol=1e-5)


@pytest.mark.slow
def test_wiener_neighbourhoods_have_the_right_limits():
    """Threshold 1 keeps pixels that outweigh p itself; a tiny one keeps all, which is D_M. Between: written out."""
    y, rng = images(4, n=40)
    D_G, D_M = dg.GaussianDenoiser.from_data(y), dg.EmpiricalDenoiser.from_data(y)
    x = jnp.asarray(y[:3] + rng.standard_normal(y[:3].shape), jnp.float32)
    everything = dg.LocalDenoiser.from_wiener(y, D_G.U, D_G.lam, [1.0], threshold=1e-12)
    np.testing.assert_allclose(everything(x, 1.0), D_M(x, 1.0), atol=2e-5)
    D = dg.LocalDenoiser.from_wiener(y, D_G.U, D_G.lam, [1.0], threshold=0.1)
    W = np.asarray((D_G.U * (D_G.lam / (D_G.lam + 1))[None]) @ D_G.U.T)
    difference = ((np.asarray(x)[:, None] - y) ** 2).reshape(3, 40, 20)
    for p in range(20):
        logits = -difference[..., np.abs(W[p]) >= 0.1 * W[p, p]].sum(-1) / 2
        weights = np.exp(logits - logits.max(1, keepdims=True))
        want = (weights * y.reshape(40, 20)[:, p]).sum(1) / weights.sum(1)
        np.testing.assert_allclose(np.asarray(D(x, 1.0)).reshape(3, 20)[:, p], want, atol=1e-5)


@pytest.mark.slow
def test_calibration_finds_the_size_that_denoises_best():
    """Pixels independent: a window of one is best at low σ. All pixels equal: the largest is best."""
    rng = np.random.default_rng(0)
    apart = rng.choice([-1.0, 1.0], (60, 5, 5, 1)).astype(np.float32)
    equal = np.broadcast_to(rng.choice([-1.0, 1.0], (60, 1, 1, 1)), (60, 5, 5, 1)).astype(np.float32)
    sizes = (1, 3, 9)
    for data, best in ((apart, 1), (equal, 9)):
        each = [dg.LocalDenoiser.from_data(data[:40], size=size) for size in sizes]
        found = dg.ChosenDenoiser.by_error(each, jnp.asarray(data[40:]), [1.0], key=jax.random.key(0))
        assert sizes[int(found.choice[0])] == best


@pytest.mark.slow
def test_the_sampler_runs_and_a_second_training_set_costs_no_trace():
    noise = 80 * jax.random.normal(jax.random.key(0), (2, 5, 4, 1))
    D1, D2 = (dg.LocalDenoiser.from_data(images(seed)[0], size=3, equivariant=True) for seed in (0, 1))
    samples = jax.block_until_ready(dg.sample(D1, noise, dg.karras_sigmas(4)))
    assert np.isfinite(samples).all()
    with jax.no_tracing(True):
        jax.block_until_ready(dg.sample(D2, noise, dg.karras_sigmas(4)))


IMAGES = np.zeros((4, 3, 3, 1), np.float32)


@pytest.mark.parametrize(
    "data, arguments, message",
    [
        (IMAGES[:1], {"size": 1}, r"data holds 1 point\(s\); needs at least 2"),
        (IMAGES[..., 0], {"size": 1}, r"data has shape \(4, 3, 3\); needs \(N, h, w, c\)"),
        (IMAGES, {"size": 2}, "size = 2; needs an odd number"),
        (IMAGES, {"size": [1, 3]}, r"size = \[1, 3\]; needs .* one for each of 1 sigmas"),
        (IMAGES, {"size": [1, 3], "sigmas": [1.0, 2.0]}, "a grid needs to decrease"),
        (IMAGES, {"size": 1, "block": 0}, "block = 0; needs block ≥ 1"),
    ],
)
def test_bad_data_is_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.LocalDenoiser.from_data(data, **arguments)


def test_bad_queries_and_thresholds_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\); needs \(b, 3, 3, 1\)"):
        dg.LocalDenoiser.from_data(IMAGES, size=1)(jnp.zeros((3, 4)), 1.0)
    with pytest.raises(ValueError, match="threshold = 0; needs 0 < threshold"):
        dg.LocalDenoiser.from_wiener(IMAGES, np.eye(9), np.ones(9), [1.0], threshold=0)
