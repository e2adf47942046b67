"""What a U-Net is made of besides its weights: pure functions of images (b, h, w, c)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def convolution(x: Float[Array, " b h w i"], kernel: Float[Array, " k k i o"]) -> Float[Array, " b h w o"]:
    """y[p] = Σ_q x[p + q − (k−1)/2] kernel[q], zero outside the image; the side k is odd.

    Its two gradients are written as convolutions in the same layout. The derivative that JAX makes has others,
    which XLA's processor backend runs ten times slower inside a loop such as ``lax.scan`` (jax issue 12868).
    """
    return _convolve(x, kernel)


def _convolve(x, kernel, pad=None):
    pad = "SAME" if pad is None else ((pad, pad), (pad, pad))
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), pad, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _backward(saved, g):
    x, kernel = saved
    into_x = _convolve(g, jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2))
    into_kernel = _convolve(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), kernel.shape[0] // 2)
    return into_x, into_kernel.transpose(1, 2, 0, 3)


convolution.defvjp(lambda x, kernel: (_convolve(x, kernel), (x, kernel)), _backward)


def waves(c_noise: Array, n: int) -> Array:
    """cos and sin of c_noise at n/2 frequencies from 1 to 64."""
    angles = c_noise[:, None] * jnp.geomspace(1, 64, n // 2, dtype=c_noise.dtype)[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def pad_to_multiple(x: Array, multiple: int) -> Array:
    """Repeat the last row and column until the side is a multiple."""
    more = -x.shape[1] % multiple
    return jnp.pad(x, ((0, 0), (0, more), (0, more), (0, 0)), mode="edge")


def halve(x: Array) -> Array:
    """Mean over 2×2 pixels."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def double(x: Array) -> Array:
    """Each pixel four times."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def to_patches(x: Array, p: int) -> Array:
    """(b, h, w, c) → (b, h/p, w/p, p²c)."""
    b, h, w, c = x.shape
    return x.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // p, w // p, p * p * c)


def from_patches(x: Array, p: int) -> Array:
    """(b, h, w, p²c) → (b, hp, wp, c)."""
    b, h, w, n = x.shape
    c = n // p**2
    return x.reshape(b, h, w, p, p, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h * p, w * p, c)
