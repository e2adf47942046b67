"""A purely convolutional network at full resolution: what it answers at a pixel comes from a window around it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from diffgauss.core import check_event
from diffgauss.nets.layers import Conv, normal, waves, zero


class ResNet(nnx.Module):
    """F_θ(x; c_noise): 3×3 convolutions without normalisation, patches or change of resolution.

    The kind of network that the local denoisers of Kamb & Ganguli (2025) describe: a pixel's answer depends on the
    (2·layers + 1)² pixels around it, zero outside the image, and is the same function at every place away from the
    border. h ← h + conv(silu(h·(1 + a) + b)), (a, b) from the level's embedding. size, channels: of the square
    images; width: channels inside; layers: convolutions, the first and the last among them. Raises ValueError for
    layers < 2 and for other numbers < 1.
    """

    def __init__(self, size: int, channels: int, *, width: int, layers: int = 8, rngs: nnx.Rngs):
        numbers = {"size": (size, 1), "channels": (channels, 1), "width": (width, 1), "layers": (layers, 2)}
        for name, (value, least) in numbers.items():
            if value < least:
                raise ValueError(f"{name} = {value}; needs at least {least}")
        self.event, self.frequencies, n_embed = (size, size, channels), 2 * width, 4 * width
        self.embed1 = nnx.Linear(2 * width, n_embed, kernel_init=normal, rngs=rngs)
        self.embed2 = nnx.Linear(n_embed, n_embed, kernel_init=normal, rngs=rngs)
        self.first = Conv(channels, width, rngs=rngs)
        inner = range(layers - 2)
        self.affine = nnx.data([nnx.Linear(n_embed, 2 * width, kernel_init=zero, rngs=rngs) for _ in inner])
        self.inner = nnx.data([Conv(width, width, kernel_init=zero, rngs=rngs) for _ in inner])
        self.last = Conv(width, channels, kernel_init=zero, rngs=rngs)

    def __call__(self, x: Float[Array, " b h w c"], c_noise: Float[Array, " b"]) -> Float[Array, " b h w c"]:
        """x: (b, size, size, channels); c_noise: (b,). Raises ValueError for another event shape."""
        check_event(x, self.event)
        embed = jax.nn.silu(self.embed2(jax.nn.silu(self.embed1(waves(c_noise, self.frequencies)))))
        h = self.first(x)
        for affine, conv in zip(self.affine, self.inner, strict=True):
            a, b = jnp.split(affine(embed)[:, None, None], 2, -1)
            h = h + conv(jax.nn.silu(h * (1 + a) + b))
        return self.last(jax.nn.silu(h))
