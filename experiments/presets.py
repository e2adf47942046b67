"""Which small U-Net learns most per core-second? Held-out loss (equation 3, EDM's weights) of the averaged net.

taskset -c 0 python experiments/presets.py [--seconds 60 120 240] [NAME ...]   one core; prints a Markdown row each
taskset -c 0 python experiments/presets.py --images 64 NAME ...   memorized share of 100 samples instead of the loss
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import diffgauss as dg
from diffgauss import train
from diffgauss.denoisers.network import EDMDenoiser
from diffgauss.nets.unet import UNet, parameters
from diffgauss.train import dsm_loss

BASE = {"rate": 2e-3, "ema": 0.999, "sigma_mean": -0.4, "sigma_std": 1.6}
ZOO = {"rate": 4e-3, "ema": 0.9999, "sigma_mean": 0.8, "sigma_std": 1.8}

CANDIDATES = {
    "w16": ({"width": 16}, {}),
    "w24": ({"width": 24}, {}),
    "w32": ({"width": 32}, {}),
    "w16 batch 16": ({"width": 16}, {"batch": 16}),
    "w16 rate 4e-3": ({"width": 16}, {"rate": 4e-3}),
    "w16 two blocks": ({"width": 16, "blocks": 2}, {}),
    "w16 three levels": ({"width": 16, "multipliers": (1, 2, 2)}, {}),
    "w16 wide below": ({"width": 16, "multipliers": (1, 3)}, {}),
    "w32 patch 4": ({"width": 32, "patch": 4}, {}),
    "w48 patch 4": ({"width": 48, "patch": 4}, {}),
    "w64 patch 4, one level": ({"width": 64, "patch": 4, "multipliers": (1,)}, {}),
    "w8 patch 1": ({"width": 8, "patch": 1, "multipliers": (1, 2, 4)}, {}),
    "w8 patch 1 rate 4e-3": ({"width": 8, "patch": 1, "multipliers": (1, 2, 4)}, {"rate": 4e-3}),
    "w8 patch 1 batch 16 rate 4e-3": (
        {"width": 8, "patch": 1, "multipliers": (1, 2, 4)},
        {"batch": 16, "rate": 4e-3},
    ),
    "w16 rate 8e-3": ({"width": 16}, {"rate": 8e-3}),
    "w16 batch 16 rate 4e-3": ({"width": 16}, {"batch": 16, "rate": 4e-3}),
    "w16 as in the zoo, no dense layer": ({"width": 16}, ZOO),
    "w16 as in the zoo, dense 32": ({"width": 16, "mix": 32}, ZOO),
    "w16 as in the zoo, dense 64": ({"width": 16, "mix": 64}, ZOO),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CANDIDATES), help=", ".join(CANDIDATES))
    parser.add_argument("--seconds", nargs="*", type=float, default=[60, 120, 240])
    parser.add_argument("--images", type=int, help="train on so few, and print the memorized share")
    options = parser.parse_args()
    images, held_out = dg.load(), jnp.asarray(dg.load(split="test")[:512])
    sigma_data = float(images.std())
    sigma = dg.lognormal_sigmas(512, key=jax.random.key(7), mean=-0.4, std=1.6)
    eps = jax.random.normal(jax.random.key(8), held_out.shape)
    loss = jax.jit(lambda D: dsm_loss(D, held_out, sigma, eps, sigma_data))
    times = " | ".join(f"{s:.0f} s" for s in options.seconds)
    print(f"| net | parameters | ms a step | {times} |\n|---|---|---|{'---|' * len(options.seconds)}")
    few = dg.subset(images, options.images, seed=0) if options.images else images
    data = jnp.asarray(few)
    for name in options.names:
        shape, rest = CANDIDATES[name]
        config = train.TrainConfig(steps=1, sigma_data=sigma_data, **(BASE | rest))
        model = EDMDenoiser(UNet(28, 1, rngs=nnx.Rngs(0), **shape), sigma_data)
        state, found = train.TrainState.start(model, config), []
        state, _ = train.train_steps(
            state, data, config=config, n=16
        )  # compiles; its steps count, its time does not
        used, steps = 0.0, 0
        for mark in options.seconds:
            while used < mark:
                start = time.perf_counter()
                state, losses = train.train_steps(state, data, config=config, n=16)
                np.asarray(losses)
                used, steps = used + time.perf_counter() - start, steps + 16
            if options.images:
                samples = dg.sample(state.ema, dg.zoo.noise(), dg.karras_sigmas(18))
                found.append(f"{dg.generalization(samples, few)[1]:.2f}")
            else:
                found.append(f"{float(loss(state.ema)):.4f}")
        print(f"| {name} | {parameters(model)} | {1e3 * used / steps:.0f} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
