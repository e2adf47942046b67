"""`python train_ours.py FOLDER`: training steps and samples of ``UNet.tiny``, timed turn by turn.

A process for each number of cores and of devices, which both are fixed when JAX starts.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from same import CONFIG, denoiser
from timing import answer, seconds

import diffgauss as dg
from diffgauss.parallel import data_mesh, replicate
from diffgauss.train import TrainState, dsm_loss, train_steps

Kind = tuple[int, int, int]


class Training:
    """``train_steps`` on a net of some width and images of some size; over all devices, if there are several."""

    def __init__(self, width: int, images: np.ndarray, seed: int):
        self.mesh = data_mesh() if len(jax.devices()) > 1 else None
        state = TrainState.start(denoiser(width, images.shape[1]), replace(CONFIG, seed=seed))
        self.state, self.images = replicate((state, images), self.mesh)

    def advance(self, n: int) -> None:
        """n steps in one call."""
        self.state, losses = train_steps(self.state, self.images, config=CONFIG, n=n, mesh=self.mesh)
        np.asarray(losses)


class Worker:
    """What the driver may ask for; kind is [width, size of the images, seed]."""

    def __init__(self, folder: Path):
        self.arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
        self.y = jnp.asarray(np.random.default_rng(0).standard_normal((2048, 2048), np.float32))

    @cache  # noqa: B019
    def training(self, width: int, size: int, seed: int) -> Training:
        images = self.arrays["images"]
        if size != images.shape[1]:
            images = np.random.default_rng(0).uniform(-1, 1, (1024, size, size, 1)).astype(np.float32)
        return Training(width, images, seed)

    def step(self, kind: Kind, n: int) -> float:
        """Seconds of a training step, over one call of n."""
        training = self.training(*kind)
        return seconds(lambda: training.advance(n)) / n

    def sample(self, kind: Kind) -> float:
        """Seconds of one call of the sampler."""
        return self._sampled(kind, lambda f, x: f(x))

    def shares(self, kind: Kind) -> float:
        """Seconds of the same with a share of the batch for each core."""
        return self._sampled(kind, dg.in_shares)

    def _sampled(self, kind: Kind, call: Callable) -> float:
        D, noise, sigmas = self.training(*kind).state.ema, self.arrays["noise"], jnp.asarray(self.arrays["sigmas"])
        return seconds(lambda: jax.block_until_ready(call(lambda x: dg.sample(D, x, sigmas), jnp.asarray(noise))))

    def held_out(self, kind: Kind) -> float:
        """The loss of the averaged weights on the images, levels and noise of the driver."""
        training = self.training(*kind)
        x0, sigma, eps = (jnp.asarray(self.arrays[f"test_{k}"]) for k in ("x0", "sigma", "eps"))
        return float(loss(training.state.ema, x0, sigma, eps, CONFIG.sigma_data))

    def product(self) -> float:
        """Seconds of the product of two square float32 matrices, 2·2048³ operations."""
        return seconds(lambda: jax.block_until_ready(multiply(self.y, self.y)))


loss = jax.jit(dsm_loss, static_argnames="sigma_data")
multiply = jax.jit(lambda x, y: jnp.matmul(x, y, precision="highest"))


def main(folder: Path) -> None:
    reply, sys.stdout = sys.stdout, sys.stderr
    worker = Worker(folder)
    tasks: dict[str, Any] = {n: getattr(worker, n) for n in ("step", "sample", "shares", "held_out", "product")}
    print(json.dumps({"devices": len(jax.devices())}), file=reply, flush=True)
    answer(reply, tasks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
