"""What calling a network of diffusers from JAX costs, beside torch alone, in turns: python benchmarks/adapters.py

Needs diffgauss[torch]. One call of the denoiser, one product with its Jacobian and one with the transpose, of the
shipped network of sneakers (28×28×1) and of a random one of 64×64×3; and the memory that the first calls add.
"""

from functools import partial
from typing import Any

import diffusers
import jax
import numpy as np
import torch
from timing import cores, in_turns, resident_growth, seconds

import diffgauss as dg
from diffgauss.data import store

ROUNDS, SIGMA = 7, 1.0


def large() -> Any:
    """A network with 64, 128, 128 and 256 channels at 64, 32, 16 and 8 pixels, and attention at the last."""
    torch.manual_seed(0)
    return diffusers.UNet2DModel(  # pyright: ignore[reportPrivateImportUsage]
        sample_size=64, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(64, 128, 128, 256),
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def measure(name: str, D: dg.NetworkDenoiser, shape: tuple[int, ...]) -> None:
    """Print seconds and ratios of the three, and megabytes."""
    assert D.schedule is not None
    x, module = jax.random.normal(jax.random.key(0), shape), D.net.host.module
    there = torch.from_numpy(np.array(x)).permute(0, 3, 1, 2).contiguous()
    times = torch.full((len(x),), float(D.schedule.time(jax.numpy.asarray(SIGMA))))

    @torch.inference_mode()
    def alone() -> Any:
        return module(there, times)

    def product(x):
        return jax.jvp(lambda x: D(x, SIGMA), (x,), (x,))[1]

    def transposed(x):
        return jax.vjp(lambda x: D(x, SIGMA), x)[1](x)[0]

    kinds = {"D": lambda x: D(x, SIGMA), "Jacobian times x": product, "transpose times x": transposed}
    calls = {what: partial(lambda of, x: of(x).block_until_ready(), jax.jit(of), x) for what, of in kinds.items()}
    grown = {what: resident_growth(call) for what, call in calls.items()}
    taken = in_turns({what: partial(seconds, call) for what, call in ({"torch": alone} | calls).items()}, ROUNDS)
    weights = sum(p.numel() for p in module.parameters()) / 1e6
    print(f"{name}, {weights:.1f} million weights, x {shape}: torch alone {np.median(taken['torch']):.3f} s")
    for what in kinds:
        ratio = np.median(np.array(taken[what]) / taken["torch"])
        print(
            f"  {what}: {np.median(taken[what]):.3f} s, {ratio:.2f} x; {grown[what] or 0:.0f} MB in its first call"
        )


def main() -> None:
    print(f"{cores()} cores, torch {torch.__version__}, diffusers {diffusers.__version__}, jax {jax.__version__}")
    measure("sneakers", dg.from_diffusers(store.tree("diffusers/sneaker-eps")), (64, 28, 28, 1))
    schedule = dg.NoiseSchedule.vp(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    measure("random", dg.from_torch(large(), "eps", schedule), (16, 64, 64, 3))


if __name__ == "__main__":
    main()
