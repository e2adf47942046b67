"""The learned denoiser D_θ: a small U-Net behind EDM's preconditioning."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from diffgauss.core import check_event
from diffgauss.nets.layers import (
    Block,
    Conv,
    Mix,
    Norm,
    double,
    from_patches,
    halve,
    normal,
    pad_to_multiple,
    to_patches,
    waves,
    zero,
)


class UNet(nnx.Module):
    """F_θ(x; c_noise): the raw network. Ronneberger et al. (2015); Ho et al. (2020); Karras et al. (2022), App. F.

    size: pixels of the square image's side, padded to a multiple of patch·2^(levels−1); channels: 1 grey, 3 colour;
    width: channels of the first level, the one number that scales the net; patch: side of the pixel blocks that
    become channels (space to depth) before the first convolution; multipliers: width of each level, each at half
    the resolution of the one before; blocks: residual blocks a level; mix: hidden numbers of a dense layer below, 0
    for none. Raises ValueError for other numbers < 1.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        *,
        width: int,
        patch: int = 2,
        multipliers: tuple[int, ...] = (1, 2),
        blocks: int = 1,
        mix: int = 0,
        rngs: nnx.Rngs,
    ):
        numbers = {"size": size, "channels": channels, "width": width, "patch": patch, "blocks": blocks}
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f"{name} = {value}; needs at least 1")
        if mix < 0:
            raise ValueError(f"mix = {mix}; needs 0 or more")
        if not multipliers or min(multipliers) < 1:
            raise ValueError(f"multipliers = {multipliers}; needs one number ≥ 1 a level")
        self.event, self.patch, self.frequencies = (size, size, channels), patch, 2 * width
        widths, n_embed, n_pixel = [width * m for m in multipliers], 4 * width, channels * patch**2
        self.embed1 = nnx.Linear(2 * width, n_embed, kernel_init=normal, rngs=rngs)
        self.embed2 = nnx.Linear(n_embed, n_embed, kernel_init=normal, rngs=rngs)
        self.first = Conv(n_pixel, width, rngs=rngs)

        def level(sizes: list[tuple[int, int]]):
            return [Block(i, o, n_embed, rngs=rngs) for i, o in sizes]

        into = [width, *widths[:-1]]
        self.down = nnx.data([level([(i, o)] + [(o, o)] * (blocks - 1)) for i, o in zip(into, widths, strict=True)])
        self.middle = Block(widths[-1], widths[-1], n_embed, rngs=rngs)
        lowest = -(-size // (patch * 2 ** (len(widths) - 1)))
        self.mix = Mix((lowest, lowest, widths[-1]), mix, n_embed, rngs=rngs) if mix else None
        self.up = nnx.data(
            [level([(2 * o, i)] + [(i, i)] * (blocks - 1)) for i, o in zip(into, widths, strict=True)]
        )
        self.norm = Norm(width, rngs=rngs)
        self.last = Conv(width, n_pixel, kernel_init=zero, rngs=rngs)

    @classmethod
    def tiny(cls, size: int, channels: int, *, width: int = 16, rngs: nnx.Rngs) -> "UNet":
        """For a processor core: 290868 weights on 28×28×1. docs/presets.md compares small nets."""
        return cls(size, channels, width=width, mix=4 * width, rngs=rngs)

    @classmethod
    def small(cls, size: int, channels: int, *, width: int = 32, rngs: nnx.Rngs) -> "UNet":
        """At full resolution, for a GPU or a long day: 1.4 million weights on 28×28×1."""
        return cls(size, channels, width=width, patch=1, multipliers=(1, 2, 4), mix=width, rngs=rngs)

    @classmethod
    def paper(cls, size: int, channels: int, *, width: int = 128, rngs: nnx.Rngs) -> "UNet":
        """Like DDPM++ in Karras et al. (2022) without attention: 38 million weights on 64×64×3, for GPUs."""
        return cls(size, channels, width=width, patch=1, multipliers=(1, 2, 2, 2), blocks=4, rngs=rngs)

    def __call__(self, x: Float[Array, " b h w c"], c_noise: Float[Array, " b"]) -> Float[Array, " b h w c"]:
        """x: (b, size, size, channels); c_noise: (b,). Raises ValueError for another event shape."""
        check_event(x, self.event)
        embed = jax.nn.silu(self.embed2(jax.nn.silu(self.embed1(waves(c_noise, self.frequencies)))))
        h = self.first(to_patches(pad_to_multiple(x, self.patch * 2 ** (len(self.down) - 1)), self.patch))
        kept = []
        for i, level in enumerate(self.down):
            h = halve(h) if i else h
            for block in level:
                h = block(h, embed)
            kept.append(h)
        h = self.middle(h, embed)
        h = h if self.mix is None else self.mix(h, embed)
        for i, level in reversed(list(enumerate(self.up))):
            h = jnp.concatenate([h, kept[i]], -1)
            for block in level:
                h = block(h, embed)
            h = double(h) if i else h
        y = from_patches(self.last(jax.nn.silu(self.norm(h))), self.patch)
        return y[:, : x.shape[1], : x.shape[2]]


def parameters(net: Any) -> int:
    """The number of trained numbers in a network."""
    return sum(leaf.size for leaf in jax.tree.leaves(net))
