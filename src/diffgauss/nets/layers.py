"""What a U-Net is made of: pure functions of images (b, h, w, c), and the modules that hold its weights."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

FEW = 256  #: channels in times channels out, up to which a convolution goes by columns


@jax.custom_vjp
def convolution(x: Float[Array, " b h w i"], kernel: Float[Array, " k k i o"]) -> Float[Array, " b h w o"]:
    """y[p] = Σ_q x[p + q − (k−1)/2] kernel[q], zero outside the image; the side k is odd.

    Its two gradients are written as convolutions in the same layout. The derivative that JAX makes has others,
    which XLA's processor backend runs ten times slower inside a loop such as ``lax.scan`` (jax issue 12868; so with
    jax 0.10.2, eight times with 0.12.0.1). There is no forward mode.

    Where few channels meet few, XLA's product reaches half the rate that it has for more. Each pixel then gets the
    channels of those above and below first, and the kernel is 1 × k: sampling takes 0.88 of the time (0.95 with jax
    0.12.0.1). In training, where this gains nothing, the plain form stays.
    """
    k, _, n_in, n_out = kernel.shape
    if n_in * n_out > FEW:
        return _convolve(x, kernel)
    half = k // 2
    rows = jnp.pad(x, ((0, 0), (half, half), (0, 0), (0, 0)))
    columns = jnp.concatenate([rows[:, q : q + x.shape[1]] for q in range(k)], -1)
    flat = kernel.transpose(1, 0, 2, 3).reshape(1, k, k * n_in, n_out)
    return _convolve(columns, flat, ((0, 0), (half, half)))


def _convolve(x, kernel, pad: Any = "SAME"):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), pad, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _backward(saved, g):
    x, kernel = saved
    into_x = _convolve(g, jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2))
    pad = (kernel.shape[0] // 2,) * 2
    into_kernel = _convolve(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), (pad, pad))
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


def zero(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Weights 0: a branch that ends in them adds nothing at first."""
    return jax.device_put(np.zeros(shape, dtype))


def normal(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Weights from N(0, 1/n), n the inputs of one output (LeCun et al., 1998).

    numpy draws them from the key: jax.random would compile each shape anew, 20 s for one small net.
    """
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    weights = draw.standard_normal(shape, np.float32) / math.sqrt(math.prod(shape[:-1]))
    return jax.device_put(weights.astype(dtype))  # jnp.asarray would compile for each shape as well


class Conv(nnx.Module):
    """A 3×3 convolution with bias. kernel_init: of the weights, by default ``normal``."""

    def __init__(self, n_in: int, n_out: int, *, rngs: nnx.Rngs, kernel_init=normal):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (3, 3, n_in, n_out), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(n_out, jnp.float32))

    def __call__(self, x: Float[Array, " b h w i"]) -> Float[Array, " b h w o"]:
        """x: (b, h, w, n_in) → (b, h, w, n_out)."""
        return convolution(x, self.kernel[...]) + self.bias[...][None, None, None]


class Norm(nnx.GroupNorm):
    """(x − m)/√(v + 1e-6) · scale + bias, with the mean m and variance v of an image's group of channels.

    Moments of each channel come first, then their averages over the group as a product with a matrix, so that x is
    read once more for one product and one sum whose factors are numbers for each channel. Taken from numbers for
    each group instead, they keep a processor from vector instructions: sampling takes 1.25 times as long, a step of
    training 1.13 (jax 0.10.2; 1.07 and 1.05 with 0.12.0.1).  Wu & He (2018).
    """

    def __init__(self, n: int, *, rngs: nnx.Rngs):
        super().__init__(n, num_groups=groups(n), rngs=rngs)

    def __call__(self, x: Float[Array, " b h w n"], *, mask: Array | None = None) -> Float[Array, " b h w n"]:
        """x: (b, h, w, n) → the same shape; mask: not used."""
        b, h, w, n = x.shape
        pixels, size = x.reshape(b, h * w, n), n // groups(n)
        square = jnp.einsum("bpn,bpn->bn", pixels, pixels) / (h * w)
        within = np.kron(np.eye(groups(n)), np.full((size, size), 1 / size)).astype(x.dtype)
        m, v = (jnp.matmul(of, within, precision="highest") for of in (pixels.mean(1), square))
        assert self.scale is not None and self.bias is not None
        scale = self.scale[...][None] * jax.lax.rsqrt(jnp.maximum(v - m**2, 0) + 1e-6)
        return x * scale[:, None, None] + (self.bias[...][None] - m * scale)[:, None, None]


class Block(nnx.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) · (1 + a) + b))) with (a, b) from the level's embedding.

    The last convolution starts at zero, so a new block is the identity (or its 1×1 projection).
    """

    def __init__(self, n_in: int, n_out: int, n_embed: int, *, rngs: nnx.Rngs):
        self.norm1, self.norm2 = Norm(n_in, rngs=rngs), Norm(n_out, rngs=rngs)
        self.conv1 = Conv(n_in, n_out, rngs=rngs)
        self.conv2 = Conv(n_out, n_out, kernel_init=zero, rngs=rngs)
        self.affine = nnx.Linear(n_embed, 2 * n_out, kernel_init=zero, rngs=rngs)
        self.skip = (
            nnx.Linear(n_in, n_out, use_bias=False, kernel_init=normal, rngs=rngs) if n_in != n_out else None
        )

    def __call__(self, x: Float[Array, " b h w n_in"], embed: Float[Array, " b e"]) -> Float[Array, " b h w n_out"]:
        """x: (b, h, w, n_in) and the level's embedding (b, n_embed) → (b, h, w, n_out)."""
        h = self.norm2(self.conv1(jax.nn.silu(self.norm1(x))))
        a, b = jnp.split(self.affine(embed)[:, None, None], 2, -1)
        h = self.conv2(jax.nn.silu(h * (1 + a) + b))
        return h + (x if self.skip is None else self.skip(x))


class Mix(nnx.Module):
    """x + out(silu(in(norm(x)) · (1 + a) + b)), in and out dense from and to all pixels and channels at once.

    It gives each pixel the whole image to look at, as self-attention does in the nets of Karras et al. (2022),
    App. F, through so many hidden numbers. It starts as the identity.
    """

    def __init__(self, event: tuple[int, int, int], hidden: int, n_embed: int, *, rngs: nnx.Rngs):
        n = math.prod(event)
        self.norm = Norm(event[-1], rngs=rngs)
        self.into = nnx.Linear(n, hidden, kernel_init=normal, rngs=rngs)
        self.affine = nnx.Linear(n_embed, 2 * hidden, kernel_init=zero, rngs=rngs)
        self.out = nnx.Linear(hidden, n, kernel_init=zero, rngs=rngs)

    def __call__(self, x: Float[Array, " b h w n"], embed: Float[Array, " b e"]) -> Float[Array, " b h w n"]:
        """x: (b, *event) and the level's embedding (b, n_embed) → (b, *event)."""
        a, b = jnp.split(self.affine(embed), 2, -1)
        h = self.into(self.norm(x).reshape(len(x), -1))
        return x + self.out(jax.nn.silu(h * (1 + a) + b)).reshape(x.shape)


def groups(n: int) -> int:
    """The largest divisor of n that leaves at least 4 channels a group, at most 8."""
    return max(g for g in range(1, 9) if n % g == 0 and (n // g >= 4 or g == 1))
