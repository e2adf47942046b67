"""The convolutional network: what a pixel of its answer can see, and that the place does not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import diffgauss as dg
from diffgauss.nets.unet import parameters

LEVEL = jnp.array([0.3])


def shaken(layers, size=11, channels=1):
    """A net whose weights are all different from zero: a new one answers 0 everywhere."""
    net = dg.ResNet(size, channels, width=4, layers=layers, rngs=nnx.Rngs(0))
    leaves, form = jax.tree.flatten(net)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        form, [a + 0.2 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    )


@pytest.mark.parametrize("layers", [2, 4])
def test_a_pixel_sees_its_window_and_nothing_else(layers):
    net, x = shaken(layers), jax.random.normal(jax.random.key(2), (1, 11, 11, 1))
    for i, j in ((5, 5), (0, 3)):
        seen = np.asarray(jax.grad(lambda x, i=i, j=j: net(x, LEVEL)[0, i, j, 0])(x))[0, :, :, 0] != 0
        row, column = (np.abs(np.arange(11) - k) <= layers for k in (i, j))
        np.testing.assert_array_equal(seen, row[:, None] & column[None])


def test_away_from_the_border_the_place_does_not_matter():
    net, x = shaken(3), jax.random.normal(jax.random.key(2), (1, 11, 11, 1))
    here, moved = net(x, LEVEL), net(jnp.roll(x, (1, -2), (1, 2)), LEVEL)
    inside = here[:, 3:7, 5:8]
    np.testing.assert_allclose(moved[:, 4:8, 3:6], inside, rtol=1e-4, atol=1e-5)
    assert float(abs(moved[:, 3:7, 5:8] - inside).max()) > 1e-2  # it does matter which pixels are around
    corner = net(jnp.roll(x, (1, -2), (1, 2)), LEVEL)[:, :2, :2]
    assert float(abs(corner - jnp.roll(here, (1, -2), (1, 2))[:, :2, :2]).max()) > 1e-2  # the border is seen


def test_a_new_one_answers_zero_and_the_level_matters_later():
    x = jax.random.normal(jax.random.key(2), (2, 11, 11, 3))
    new = dg.ResNet(11, 3, width=4, rngs=nnx.Rngs(0))
    assert not new(x, jnp.zeros(2)).any()
    y = shaken(4, channels=3)(x[:1].repeat(2, 0), jnp.array([0.1, 0.9]))
    assert y.shape == x.shape and float(abs(y[0] - y[1]).max()) > 1e-2


def test_its_weights_by_count_and_the_errors():
    w, inner = 32, 6
    dense = 2 * w * 4 * w + 4 * w + 16 * w * w + 4 * w + inner * (8 * w * w + 2 * w)
    convolutions = 9 * w + w + inner * (9 * w * w + w) + 9 * w + 1
    assert parameters(dg.ResNet(28, 1, width=w, rngs=nnx.Rngs(0))) == dense + convolutions == 130465
    for wrong in ({"layers": 1}, {"width": 0}, {"width": 4, "layers": 0}):
        with pytest.raises(ValueError, match="needs at least"):
            dg.ResNet(8, 1, **({"width": 4} | wrong), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"needs \(b, 8, 8, 1\)"):
        dg.ResNet(8, 1, width=4, rngs=nnx.Rngs(0))(jnp.zeros((1, 8, 7, 1)), LEVEL)
