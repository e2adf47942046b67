"""A network trained while the user waits: for so many seconds, resumable, saying beforehand how long it takes."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from flax import nnx

from diffgauss.core import Denoiser
from diffgauss.denoisers.network import EDMDenoiser
from diffgauss.nets.unet import UNet
from diffgauss.train import TrainConfig, TrainState
from diffgauss.zoo import checkpoint
from diffgauss.zoo.resumable import parked_at, resume
from diffgauss.zoo.runs import CHUNK

SAVE_EVERY = 30.0
"""Seconds between two writes of the state."""


def train(
    images: np.ndarray,
    config: TrainConfig,
    parked: Path,
    *,
    seconds: float,
    steps: int | None = None,
    tell: Callable[[Denoiser, int, int, float], None] = lambda D, start, steps, seconds: None,
) -> tuple[EDMDenoiser, np.ndarray]:
    """D_θ, a ``UNet.tiny`` with averaged weights, after so many seconds of training or so many steps; all losses.

    images: (N, s, s, c). config.steps is not used. The first 2 × CHUNK steps are timed, then
    tell(D_θ, start, steps, seconds left) is called. The state goes to the file parked now and then, and a call on
    the same images takes it up again, for as long as that call says. Raises as ``fit`` and ``resume``, and
    ValueError for a parked file that is damaged.
    """
    net = UNet.tiny(images.shape[1], images.shape[3], rngs=nnx.Rngs(config.seed))
    of = {"sha256": hashlib.sha256(images.tobytes()).hexdigest(), "seed": config.seed}
    start, goal, asked = 0, steps, [seconds, steps]
    if parked.exists():
        known = checkpoint.facts(parked)
        if known.get("run") != of:
            parked.unlink()
        else:
            start, _ = parked_at(parked)
            if steps is None and known.get("asked") == asked and isinstance(known.get("goal"), int):
                goal = known["goal"]

    def go_on(until: int) -> tuple[TrainState, np.ndarray]:
        fresh = TrainState.start(EDMDenoiser(net, config.sigma_data), config)
        state, found, _ = resume(
            fresh, images, replace(config, steps=max(until, 1)), parked, of=of, until=until, save_every=SAVE_EVERY,
            progress=until == goal, goal=goal, asked=asked,
        )  # fmt: skip
        return state, np.asarray(found["losses"])

    def chunk_more(done: int) -> int:
        return done + CHUNK if steps is None else max(done, min(done + CHUNK, steps))

    _, losses = go_on(chunk_more(start))  # compiles
    tick, done = time.monotonic(), len(losses)
    state, losses = go_on(chunk_more(done))
    each, done = (time.monotonic() - tick) / max(len(losses) - done, 1), len(losses)
    goal = max(done, round(seconds / each / CHUNK) * CHUNK) if goal is None else max(done, goal)
    tell(state.ema, start, goal, max(0.0, each * (goal - done)))
    state, losses = go_on(goal)
    return state.ema, losses
