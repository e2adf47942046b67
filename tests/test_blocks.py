import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import special

from diffgauss.blocks import FAR, in_blocks, softmax_mean


@jax.jit
def stream(logits, values):
    """Averages over blocks (n_blocks, b, m) of logits and (n_blocks, m, d) of values."""
    return softmax_mean(lambda block: block[0], lambda w, block: w @ block[1], (logits, values))


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 3), st.floats(-1e4, 1e4))
@settings(max_examples=20)
def test_the_stream_is_the_softmax_of_the_whole(seed, count, m, offset):
    rng = np.random.default_rng(seed)
    logits, values = offset + 5 * rng.standard_normal((count, 2, m)), rng.standard_normal((count, m, 3))
    whole = logits.astype(np.float32).astype(np.float64).transpose(1, 0, 2).reshape(2, -1)
    mean, log_z = stream(jnp.asarray(logits, jnp.float32), jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(mean, special.softmax(whole, -1) @ values.reshape(-1, 3), atol=3e-6)
    np.testing.assert_allclose(log_z, np.asarray(special.logsumexp(whole, -1)), rtol=2e-7, atol=2e-6)


def test_one_block_far_above_or_below_the_others_is_no_problem():
    values = jnp.arange(4.0).reshape(4, 1, 1)
    for logits, expected in [([0, 3e38, 0, 0], 1.0), ([-3e38, -3e38, 0, -3e38], 2.0), ([1e30, 0, -1e30, 0], 0.0)]:
        mean, log_z = stream(jnp.array(logits, jnp.float32).reshape(4, 1, 1), values)
        assert float(mean[0, 0]) == expected and float(log_z[0]) == np.float32(max(logits))


def test_two_shards_merge_by_their_log_z():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.standard_normal((6, 2, 5)), jnp.float32)
    values = jnp.asarray(rng.standard_normal((6, 5, 3)), jnp.float32)
    (left, log_left), (right, log_right) = stream(logits[:2], values[:2]), stream(logits[2:], values[2:])
    share = special.expit(np.asarray(log_left - log_right))[:, None]
    np.testing.assert_allclose(share * left + (1 - share) * right, stream(logits, values)[0], atol=1e-6)


def test_any_shape_of_value_is_averaged():
    logits, values = jnp.zeros((2, 3, 4)), jnp.arange(2 * 4 * 5 * 6.0).reshape(2, 4, 5, 6)
    mean, log_z = softmax_mean(lambda b: b[0], lambda w, b: jnp.einsum("bm,mij->bij", w, b[1]), (logits, values))
    np.testing.assert_allclose(mean, np.broadcast_to(np.asarray(values).mean((0, 1)), (3, 5, 6)), rtol=1e-6)
    np.testing.assert_allclose(log_z, np.log(8), rtol=1e-6)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
def test_blocks_hold_every_point_once_and_padding_has_weight_zero(block):
    points = np.random.default_rng(0).standard_normal((7, 2))
    center = points.mean(0)
    y, half_norm, rows = in_blocks(points, block, center)
    assert (np.asarray(rows).ravel()[: len(points)] == np.arange(len(points))).all()
    m = min(block, 7)
    assert y.shape == (-(-7 // m), m, 2) and half_norm.shape == y.shape[:2]
    y, half_norm = np.asarray(y).reshape(-1, 2), np.asarray(half_norm).ravel()
    np.testing.assert_allclose(y[:7], points - center, atol=1e-6)
    np.testing.assert_allclose(half_norm[:7], ((points - center) ** 2).sum(1) / 2, rtol=1e-5)
    assert (y[7:] == 0).all() and (half_norm[7:] == np.float32(FAR)).all()
    for sigma in (1e-10, 1e6):
        with np.errstate(over="ignore"):
            assert np.exp(-np.float32(FAR) / np.float32(sigma) ** 2) == 0


def test_points_are_centred_in_float64_before_they_are_rounded():
    points = 1e6 + np.random.default_rng(0).standard_normal((50, 3))  # a float32 here has a unit of 1/16
    y, half_norm, _ = in_blocks(points, 16, points.mean(0))
    centred = points - points.mean(0)
    np.testing.assert_allclose(np.asarray(y).reshape(-1, 3)[:50], centred, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.asarray(half_norm).ravel()[:50], (centred**2).sum(1) / 2, rtol=1e-6)


@pytest.mark.parametrize("block", [0, -4])
def test_a_block_holds_at_least_one_point(block):
    with pytest.raises(ValueError, match=f"block = {block}; needs block ≥ 1"):
        in_blocks(np.zeros((3, 2)), block, np.zeros(2))


def test_gradients_pass_through_padding():
    blocks = in_blocks(np.eye(5), 4, np.zeros(5))[:2]

    @jax.jit
    def log_z(x, beta):
        def score(block):
            return beta * (x @ block[0].T - block[1][None])

        return softmax_mean(score, lambda w, block: w @ block[0], blocks)[1].sum()

    for beta in (1e-9, 1.0, 1e9):
        gradients = jax.grad(log_z, argnums=(0, 1))(jnp.ones((2, 5)), jnp.float32(beta))
        assert all(np.isfinite(g).all() for g in gradients)
