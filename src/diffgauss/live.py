"""A network trained while the user waits: for so many seconds, resumable, saying beforehand how long it takes."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from flax import nnx

from diffgauss import checkpoint
from diffgauss._core import Denoiser
from diffgauss.denoisers.unet import EDMDenoiser, UNet
from diffgauss.runs import CHUNK
from diffgauss.train import TrainConfig, TrainState, fit

SAVE_EVERY = 30.0
"""Seconds between two writes of the state."""


def train(
    images: np.ndarray,
    config: TrainConfig,
    parked: Path,
    *,
    seconds: float,
    steps: int | None = None,
    tell: Callable[[Denoiser, int, float], None] = lambda D, steps, seconds: None,
) -> tuple[EDMDenoiser, np.ndarray]:
    """D_θ, a ``UNet.tiny`` with averaged weights, after so many seconds of training or so many steps; all losses.

    images: (N, s, s, c). config.steps is not used. The first 2 × CHUNK steps are timed, then
    tell(D_θ, steps, seconds left) is called. The state goes to the file parked now and then, and the same call on
    the same images takes it up again. Raises as ``fit``, and ValueError for a parked file that is damaged.
    """
    net = UNet.tiny(images.shape[1], images.shape[3], rngs=nnx.Rngs(config.seed))
    state, losses = TrainState.start(EDMDenoiser(net, config.sigma_data), config), np.zeros(0, np.float32)
    facts = {"sha256": hashlib.sha256(images.tobytes()).hexdigest(), "seed": config.seed}
    if parked.exists() and (known := checkpoint.facts(parked)).get("of") == facts:
        whole = checkpoint.load(parked, {"state": state, "losses": np.zeros(known["step"], np.float32)})
        state, losses = whole["state"], np.asarray(whole["losses"])
        steps = known["steps"] if steps is None else steps
    saved, each = time.monotonic(), 0.0
    for _ in range(2):  # the first chunk compiles
        tick, until = time.monotonic(), len(losses) + CHUNK
        until = until if steps is None else min(until, steps)
        state, new = fit(state, images, replace(config, steps=max(until, 1)), every=CHUNK, progress=False)
        losses, each = np.concatenate([losses, new]), (time.monotonic() - tick) / max(len(new), 1)
    goal = max(len(losses), round(seconds / each / CHUNK) * CHUNK) if steps is None else steps
    tell(state.ema, goal, max(0.0, each * (goal - len(losses))))

    def keep(state: TrainState, new: np.ndarray) -> None:
        nonlocal saved
        if time.monotonic() - saved > SAVE_EVERY:
            every = np.concatenate([losses, new])
            checkpoint.save(parked, {"state": state, "losses": every}, of=facts, step=len(every), steps=goal)
            saved = time.monotonic()

    state, new = fit(state, images, replace(config, steps=goal), every=CHUNK, keep=keep)
    return state.ema, np.concatenate([losses, new])
