"""Training that survives a kill, and the runs of the zoo trained, scored and verified by it."""

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm.auto import tqdm

from diffgauss import data as datasets, files
from diffgauss.interrupts import terminated
from diffgauss.nets.unet import parameters
from diffgauss.parallel import data_mesh
from diffgauss.train import TrainConfig, TrainState, fit
from diffgauss.zoo import checkpoint, scoring
from diffgauss.zoo.collection import cast, load, losses, read, untrained, whole
from diffgauss.zoo.runs import CHUNK, SUBSET_SEED, computer, data, held_out, pool, run


def resume(
    state: TrainState,
    images: np.ndarray,
    config: TrainConfig,
    parked: Path,
    *,
    of: dict[str, Any],
    until: int,
    record: Sequence[int] = (),
    save_every: float = 30.0,
    progress: bool = True,
    mesh: Mesh | None = None,
    **facts: Any,
) -> tuple[TrainState, dict[str, Any], float]:
    """Train up to a step, from the state in the file parked where it is there and from the given one where not.

    The state goes to that file every save_every seconds and at the end, whole or not at all: the process may be
    killed at any moment, and the same call continues the same curve. Told to stop by SIGINT or SIGTERM it writes
    the state of that moment and raises KeyboardInterrupt, which says where. of: what names the run, in JSON's
    types; record: steps at which the averaged weights are kept, in float16; facts: more for the file's header.
    Returns the state, the losses and kept weights by name, and the seconds that all calls took. Raises as ``fit``,
    and ValueError for a parked file that is damaged or of another run.
    """
    found: dict[str, Any] = {"losses": np.zeros(0, np.float32)}
    start, before = time.monotonic(), 0.0
    if parked.exists():
        done, before = parked_at(parked)
        half = {f"step {s}": cast(state.ema, np.float16) for s in record if s <= done}
        like = half | {"losses": jax.ShapeDtypeStruct((done,), np.float32), "state": state}
        found = read(parked, of, like)
        state = found.pop("state")
    past, saved = np.asarray(found["losses"]), start

    def keep(state: TrainState, new: np.ndarray) -> None:
        nonlocal saved
        found["losses"] = np.concatenate([past, new])
        done = len(found["losses"])
        if done in record:
            found[f"step {done}"] = cast(state.ema, np.float16)
        if time.monotonic() - saved > save_every or done == until:
            park(state)
            saved = time.monotonic()

    def park(state: TrainState) -> None:
        done, seconds = len(found["losses"]), before + time.monotonic() - start
        _save(parked, found | {"state": state}, run=of, step=done, seconds=seconds, **facts)

    with terminated(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "stopped at step")  # said below
        state, _ = fit(state, images, config, until=until, every=CHUNK, keep=keep, progress=progress, mesh=mesh)
        if (done := len(found["losses"])) < min(until, config.steps):
            park(state)
            raise KeyboardInterrupt(f"stopped at step {done} of {until}, which {parked} holds")
    return state, found, before + time.monotonic() - start


def parked_at(path: Path) -> tuple[int, float]:
    """The step and the seconds of a parked state. Raises ValueError as ``checkpoint.facts``, and for odd ones."""
    known = checkpoint.facts(path)
    step, seconds = known.get("step"), known.get("seconds")
    if type(step) is not int or not 0 <= step < 2**40 or type(seconds) is not float or not 0 <= seconds < 1e12:
        raise ValueError(f"{path} is of step {step!r} after {seconds!r} s; needs a state that diffgauss parked")
    return step, seconds


def trained_on(parked: Path, until: int) -> str:
    """The devices that have trained a parked run, and these if steps are left: ``1 × NVIDIA H200 + 1 × cpu``."""
    known = checkpoint.facts(parked) if parked.exists() else {}
    earlier = [known["devices"]] if isinstance(known.get("devices"), str) else []
    now = [] if earlier and known.get("step") == until else [computer()["devices"]]
    return " + ".join(dict.fromkeys(" + ".join(earlier + now).split(" + ")))


def train(
    name: str, where: Path, *, steps: int | None = None, save_every: float = 30.0, progress: bool = True
) -> Path:
    """Train the run, or go on with it after a stop, and write ``NAME.safetensors`` to the folder where.

    Its state is kept in ``NAME.state.safetensors`` beside it, as ``resume`` does. A finished file is left as it is.
    steps: stop after so many, without the finished file. Where JAX sees several devices, all of them train; of
    several processes, which share the folder, the first one writes. Returns the file last written. Raises
    ValueError for an unknown name and for a file that is damaged or of another run.
    """
    this, goal = run(name), where / f"{name}.safetensors"
    if goal.exists():
        read(goal, this.facts, whole(this))
        return goal
    with files.lock(goal) if jax.process_index() == 0 else nullcontext():
        return _train(name, where, steps, save_every, progress)


def _train(name: str, where: Path, steps: int | None, save_every: float, progress: bool) -> Path:
    this, goal, parked = run(name), where / f"{name}.safetensors", where / f"{name}.state.safetensors"
    last = this.steps if steps is None else min(steps, this.steps)
    if last < 1:
        raise ValueError(f"steps = {steps}; needs at least 1")
    devices = trained_on(parked, last)
    _, found, seconds = resume(
        TrainState.start(untrained(this), this.config), data(name), this.config, parked, of=this.facts, until=last,
        record=this.recorded, save_every=save_every, progress=progress, devices=devices,
        mesh=data_mesh() if jax.device_count() > 1 else None,
    )  # fmt: skip
    if last < this.steps:
        return parked
    measured = _judge(name)
    scores = {str(s): measured(cast(found[f"step {s}"], np.float32)) for s in tqdm(this.recorded, "scores")}
    kept = {part: found[part] for part in whole(this)}
    size = parameters(untrained(this))
    facts = computer() | {"devices": devices}
    _save(goal, kept, run=this.facts, parameters=size, seconds=seconds, scores=scores, **facts)
    if jax.process_index() == 0:
        parked.unlink()
    return goal


def score(name: str, *, last: bool = False, progress: bool = True) -> dict[str, Any]:
    """The scores of each shipped snapshot of a run, or of the last one alone, by step. Raises as ``load``.

    They are those of ``scoring.Judge``; runs that were finished before there were so many take them from here.
    """
    this, measured = run(name), _judge(name)
    steps = this.snapshots[-1:] if last else this.snapshots
    return {str(s): measured(load(name, s)) for s in tqdm(steps, name, disable=not progress)}


def _judge(name: str) -> scoring.Judge:
    this, held = run(name), held_out(name)
    if this.dataset == "cifar10":  # its test images come by class
        held = datasets.subset(held, len(held), seed=SUBSET_SEED)
    return scoring.Judge(data(name), held, pool(name), this.config)


def verify(name: str, *, steps: int = 64, progress: bool = False) -> float:
    """Train the first steps of a shipped run again: the largest relative difference from its recorded losses.

    It is rounding alone where code, data and seeds are those of the record. Raises as ``load``.
    """
    this, recorded = run(name), np.asarray(losses(name))[:steps]
    start = TrainState.start(untrained(this), this.config)
    _, found = fit(start, data(name), this.config, until=steps, every=CHUNK, progress=progress)
    return float(np.abs(found / recorded - 1).max())


def _save(path: Path, tree: Any, **facts: Any) -> None:
    if jax.process_index() == 0:
        checkpoint.save(path, tree, **facts)
