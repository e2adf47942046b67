"""The zoo: networks trained once and shipped with their snapshots, because a class cannot wait for them."""

import hashlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from diffgauss import checkpoint, evaluate
from diffgauss.denoisers.unet import EDMDenoiser, parameters
from diffgauss.parallel import data_mesh
from diffgauss.runs import CHUNK, Run, computer, folder, held_out, run
from diffgauss.runs import data as data
from diffgauss.runs import entries as entries
from diffgauss.runs import noise as noise
from diffgauss.train import TrainState, fit


def load(name: str, step: int | None = None) -> EDMDenoiser:
    """D_θ with the averaged weights after that many steps, or at the end: a shipped checkpoint.

    Raises ValueError for an unknown name, a step at which no snapshot was taken, or a damaged file;
    FileNotFoundError where the entry is not shipped.
    """
    this = run(name)
    step = this.steps if step is None else step
    if step not in this.snapshots:
        raise ValueError(f"{name} has no snapshot of step {step}; needs one of {this.snapshots}")
    half = _read(folder() / f"{name}.safetensors", this, this.steps)[f"step {step}"]
    return jax.tree.map(jnp.asarray, _cast(half, np.float32))


def losses(name: str) -> Float[Array, " steps"]:
    """The recorded loss of each training step: (steps,). Raises as ``load``."""
    return _read(folder() / f"{name}.safetensors", run(name), run(name).steps)["losses"]


def record(name: str) -> dict[str, Any]:
    """Settings, scores of each snapshot, seconds, processor and versions of a shipped run. Raises as ``load``."""
    run(name)
    return checkpoint.facts(folder() / f"{name}.safetensors")


def train(
    name: str, where: Path, *, steps: int | None = None, save_every: float = 30.0, progress: bool = True
) -> Path:
    """Train the run, or go on with it after a stop, and write ``NAME.safetensors`` to the folder where.

    The state goes to ``NAME.state.safetensors`` beside it every save_every seconds, whole or not at all: the
    process may be killed at any moment, and the same call continues the same curve. A finished file is left as it
    is. steps: stop after so many, without the finished file. Where JAX sees several devices, all of them train; of
    several processes, which share the folder, the first one writes. Returns the file last written. Raises
    ValueError for an unknown name and for a file that is damaged or of another run.
    """
    this, goal, parked = run(name), where / f"{name}.safetensors", where / f"{name}.state.safetensors"
    if goal.exists():
        _read(goal, this, this.steps)
        return goal
    images, last = data(name), this.steps if steps is None else min(steps, this.steps)
    whole: dict[str, Any] = {"losses": np.zeros(0, np.float32)}
    state, before = TrainState.start(untrained(this), this.config), 0.0
    if parked.exists():
        known = checkpoint.facts(parked)
        whole = _read(parked, this, known["step"], state=state)
        state, before = whole.pop("state"), known["seconds"]
    past, start = np.asarray(whole["losses"]), time.monotonic()
    saved = start

    def keep(state: TrainState, new: np.ndarray) -> None:
        nonlocal saved
        whole["losses"] = np.concatenate([past, new])
        done = len(whole["losses"])
        if done in this.snapshots:
            whole[f"step {done}"] = _cast(state.ema, np.float16)
        if time.monotonic() - saved > save_every or done == last:
            seconds = before + time.monotonic() - start
            _save(parked, whole | {"state": state}, run=this.facts, step=done, seconds=seconds)
            saved = time.monotonic()

    mesh = data_mesh() if jax.device_count() > 1 else None
    fit(state, images, this.config, until=last, every=CHUNK, keep=keep, progress=progress, mesh=mesh)
    if last < this.steps:
        return parked
    seconds = before + time.monotonic() - start
    test = held_out(name)
    nets = {str(s): _cast(whole[f"step {s}"], np.float32) for s in this.snapshots}
    scores = {s: evaluate.score(D, images, test, config=this.config) for s, D in nets.items()}
    size = parameters(untrained(this))
    _save(goal, whole, run=this.facts, parameters=size, seconds=seconds, scores=scores, **computer())
    if jax.process_index() == 0:
        parked.unlink()
    return goal


def verify(name: str, *, steps: int = 64, progress: bool = False) -> float:
    """Train the first steps of a shipped run again: the largest relative difference from its recorded losses.

    It is rounding alone where code, data and seeds are those of the record. Raises as ``load``.
    """
    this, recorded = run(name), np.asarray(losses(name))[:steps]
    start = TrainState.start(untrained(this), this.config)
    _, found = fit(start, data(name), this.config, until=steps, every=CHUNK, progress=progress)
    return float(np.abs(found / recorded - 1).max())


def index(where: Path) -> dict[str, Any]:
    """The record of each finished run in a folder, with 64 means of its losses and the SHA-256 of its file."""
    found = {}
    for name, this in entries().items():
        path = where / f"{name}.safetensors"
        if path.exists():
            curve = np.asarray(_read(path, this, this.steps)["losses"], float).reshape(64, -1).mean(1)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = checkpoint.facts(path) | {"losses": curve.round(5).tolist(), "sha256": digest}
    return found


def shipped() -> dict[str, Any]:
    """zoo.json: the ``index`` of the shipped runs. Raises FileNotFoundError where there is none."""
    return json.loads((folder() / "zoo.json").read_text())


@cache
def untrained(this: Run) -> EDMDenoiser:
    """The net of a run before its first step."""
    side, _, channels = this.event
    return EDMDenoiser(this.net(side, channels, width=this.width, rngs=nnx.Rngs(this.seed)), this.config.sigma_data)


def _read(path: Path, this: Run, step: int, state: TrainState | None = None) -> dict[str, Any]:
    """The arrays of a run up to that step, if the file is of this run."""
    if (got := checkpoint.facts(path).get("run")) != this.facts:
        raise ValueError(f"{path} is of the run {got}; needs {this.facts}")
    like: dict[str, Any] = {f"step {s}": _cast(untrained(this), np.float16) for s in this.snapshots if s <= step}
    like["losses"] = np.zeros(step, np.float32)
    return checkpoint.load(path, like | ({"state": state} if state is not None else {}))


def _cast(D: EDMDenoiser, dtype: Any) -> EDMDenoiser:
    """The same net in another type. Snapshots are float16: half the bytes, each weight rounded by up to 5e-4."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), D)


def _save(path: Path, tree: Any, **facts: Any) -> None:
    if jax.process_index() == 0:
        checkpoint.save(path, tree, **facts)
