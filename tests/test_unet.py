"""The network: its layers against JAX's own, what it is at initialisation, and that all of it learns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import diffgauss as dg
from diffgauss.nets.layers import Norm, convolution, double, from_patches, groups, halve, to_patches
from diffgauss.nets.unet import parameters
from diffgauss.schedule import edm_scalings

SHAPES = [
    ({"size": 12, "channels": 1}, {"width": 4}),
    ({"size": 28, "channels": 1}, {"width": 4, "patch": 4, "multipliers": (1,)}),
    ({"size": 9, "channels": 3}, {"width": 4, "patch": 1, "multipliers": (1, 2), "blocks": 2, "mix": 6}),
]


def net(shape, width, seed=0, sigma_data=0.7):
    return dg.EDMDenoiser(dg.UNet(**shape, **width, rngs=nnx.Rngs(seed)), sigma_data)


def batch(shape, b=3, seed=0):
    return jax.random.normal(jax.random.key(seed), (b, shape["size"], shape["size"], shape["channels"]))


def test_a_call_is_one_program(compiled):
    D, x = net(*SHAPES[1], seed=3), jnp.asarray(np.ones((5, 28, 28, 1), np.float32))
    assert compiled(lambda: D(x, 0.7)) == 1 and compiled(lambda: D(x, 0.8)) == 0


@pytest.mark.parametrize("side", [1, 3, 5])
def test_convolution_and_its_gradients_are_jaxs(side):
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
    kernel = jax.random.normal(jax.random.key(1), (side, side, 3, 4))
    g = jax.random.normal(jax.random.key(2), (2, 7, 6, 4))

    def reference(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    got, back = jax.vjp(convolution, x, kernel)
    want, back_reference = jax.vjp(reference, x, kernel)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    for a, b in zip(back(g), back_reference(g), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 16])
def test_norm_is_flaxs_group_norm(n):
    x = 3 * jax.random.normal(jax.random.key(0), (2, 5, 4, n)) + 2
    ours, flaxs = Norm(n, rngs=nnx.Rngs(0)), nnx.GroupNorm(n, num_groups=groups(n), rngs=nnx.Rngs(0))
    scale, bias = jax.random.normal(jax.random.key(1), (2, n))
    for norm in (ours, flaxs):
        norm.scale, norm.bias = nnx.Param(scale), nnx.Param(bias)
    np.testing.assert_allclose(jax.jit(ours)(x), jax.jit(flaxs)(x), atol=1e-5)
    same = jnp.full((1, 5, 4, n), 100.0)  # rounding may make its variance negative
    np.testing.assert_allclose(ours(same), np.broadcast_to(bias, same.shape), atol=0.5)


@pytest.mark.slow
def test_patches_and_pooling_lose_nothing():
    x = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))
    for p in (1, 2, 3, 4):
        assert to_patches(x, p).shape == (2, 12 // p, 12 // p, 3 * p * p)
        np.testing.assert_array_equal(from_patches(to_patches(x, p), p), x)
    np.testing.assert_array_equal(to_patches(x, 2)[0, 1, 2], x[0, 2:4, 4:6].ravel())  # one block of pixels
    np.testing.assert_allclose(halve(double(x)), x, rtol=1e-6)
    np.testing.assert_allclose(halve(x)[1, 0, 5], x[1, 0:2, 10:12].mean((0, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shape, width", SHAPES)
def test_at_initialisation_it_is_c_skip_x(shape, width):
    D, x = partial(jax.jit(lambda D, x, s: D(x, s)), net(shape, width)), batch(shape)
    for sigma in (jnp.float32(0.3), jnp.array([0.01, 1.0, 50.0])):
        skip = edm_scalings(sigma, 0.7)[0]
        np.testing.assert_allclose(D(x, sigma), skip.reshape(-1, 1, 1, 1) * x, rtol=1e-6)


@pytest.fixture(scope="module")
def trained():
    """A colour net after four steps, and a batch."""
    shape, width = SHAPES[2]
    config = dg.TrainConfig(steps=1, batch=8, warmup=0)
    state = dg.TrainState.start(net(shape, width), config)
    return dg.train_steps(state, batch(shape, 16), config=config, n=4)[0], batch(shape)


@pytest.mark.slow
def test_every_leaf_has_a_gradient_after_a_step(trained):
    """Adam's mean of squared gradients is positive somewhere in every leaf."""
    squares = optax.tree_utils.tree_get(trained[0].moments, "nu")
    dead = [jax.tree_util.keystr(k) for k, g in jax.tree_util.tree_leaves_with_path(squares) if not g.max() > 0]
    assert not dead


def closed_form(size, channels, width, patch, multipliers, blocks, mix):
    """The number of weights, counted by hand: convolutions 9io + o, dense io + o, norms 2n, skips io."""

    def block(i, o):
        return 2 * i + 9 * i * o + o + 2 * o + 9 * o * o + o + 4 * width * 2 * o + 2 * o + (i * o if i != o else 0)

    pixels, widths = channels * patch**2, [width * m for m in multipliers]
    into = [width, *widths[:-1]]
    total = 2 * width * 4 * width + 4 * width + (4 * width) ** 2 + 4 * width
    total += 9 * pixels * width + width + 2 * width + 9 * width * pixels + pixels + block(widths[-1], widths[-1])
    if mix:
        n = (-(-size // (patch * 2 ** (len(widths) - 1)))) ** 2 * widths[-1]
        total += 2 * widths[-1] + n * mix + mix + 4 * width * 2 * mix + 2 * mix + mix * n + n
    for i, o in zip(into, widths, strict=True):
        total += block(i, o) + (blocks - 1) * block(o, o) + block(2 * o, i) + (blocks - 1) * block(i, i)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("shape, width", SHAPES)
def test_parameters_by_closed_form(shape, width):
    numbers = {"patch": 2, "multipliers": (1, 2), "blocks": 1, "mix": 0} | shape | width
    assert parameters(net(shape, width)) == closed_form(**numbers)


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset, shape, numbers, count",
    [
        (dg.UNet.tiny, (28, 1), (16, 2, (1, 2), 1, 64), 290868),
        (dg.UNet.small, (28, 1), (32, 1, (1, 2, 4), 1, 32), 1449537),
        (dg.UNet.paper, (64, 3), (128, 1, (1, 2, 2, 2), 4, 0), 37715843),
    ],
)
def test_presets_have_the_weights_that_their_docstrings_say(preset, shape, numbers, count):
    assert parameters(preset(*shape, rngs=nnx.Rngs(0))) == closed_form(*shape, *numbers) == count


@pytest.mark.slow
def test_the_level_and_the_seed_matter_and_other_images_of_the_batch_do_not(trained):
    state, x = trained
    F, level = jax.jit(lambda x, c: state.model.net(x, c)), jnp.array([0.1, 0.1, 0.1])
    y = F(x, level)
    assert jnp.abs(y).max() > 1e-3 and jnp.abs(y - F(x, level + 0.5)).max() > 1e-6
    np.testing.assert_allclose(F(x.at[1:].set(0.0), level)[0], y[0], rtol=1e-5, atol=1e-6)
    first = jax.tree.leaves(net(*SHAPES[0], seed=0)), jax.tree.leaves(net(*SHAPES[0], seed=1))
    assert any((a != b).any() for a, b in zip(*first, strict=True))


@pytest.mark.slow
def test_it_plugs_into_the_sampler_and_a_second_net_does_not_retrace():
    x, sigmas, traced = 80 * batch(SHAPES[1][0]), dg.karras_sigmas(4), []

    def counted(D, x, sigma):
        traced.append(1)
        return D(x, sigma)

    counts = []
    for seed in (0, 1):
        out = dg.sample(jax.tree_util.Partial(counted, net(*SHAPES[1], seed=seed)), x, sigmas)
        counts.append(len(traced))
    assert out.shape == x.shape and counts[0] == counts[1] > 0


@pytest.mark.slow
def test_bad_input(unchecked):
    with pytest.raises(ValueError, match=r"needs \(b, 12, 12, 1\)"):
        net(*SHAPES[0])(jnp.zeros((2, 32, 32, 1)), 1.0)
    with pytest.raises(ValueError, match="width = 0; needs at least 1"):
        net({"size": 8, "channels": 1}, {"width": 0})
    with pytest.raises(ValueError, match="one number ≥ 1 a level"):
        net({"size": 8, "channels": 1}, {"width": 4, "multipliers": ()})
    with pytest.raises(ValueError, match="sigma_data > 0"):
        net(*SHAPES[0], sigma_data=0.0)
