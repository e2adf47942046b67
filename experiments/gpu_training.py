"""Parts c, d and e of gpu.py: runs of the zoo trained as far as the time goes, several seeds of one in a call."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gpu_call import Call

import diffgauss as dg
from diffgauss import zoo
from diffgauss.train import TrainConfig, TrainState, train_steps
from diffgauss.zoo import checkpoint, runs
from diffgauss.zoo.collection import cast
from diffgauss.zoo.resumable import resume, trained_on
from diffgauss.zoo.runs import CHUNK, run
from diffgauss.zoo.scoring import weighted_loss

FLAGSHIP, COLOUR = "n60000-small", "cifar-n50000-w64"
QUICK = {"c": ["sneaker-n256-w4"], "e": ["sneaker-n256-w4-seed1", "sneaker-n256-w4-seed2"]}
QUICK_STEPS = 2 * CHUNK

SLICE, SCORING = 30.0, 90.0
"""Seconds between two states that are kept, and those that the scores of a finished run are given."""

SAME = 0.05
"""Largest relative difference of the first losses of seeds trained together and alone: rounding grows."""


def flagship(call: Call) -> None:
    """Part c: all clothes at full resolution."""
    advance(call, QUICK["c"] if call.quick else [FLAGSHIP])


def colour(call: Call) -> None:
    """Part d: the wide network of CIFAR-10, towards .8 of D_G's held-out loss."""
    if there(COLOUR):
        advance(call, [COLOUR])
    else:
        call.note("left out", "CIFAR-10 is not at hand: DIFFGAUSS_CIFAR10 names no copy of it")


def sweeps(call: Call) -> None:
    """Part e: what the zoo lacks, the seeds of a network in one call where that is the faster way."""
    for names in [QUICK["e"]] if call.quick else lacking(call):
        if call.left < 60 and not call.quick:
            return call.note("left out", f"{', '.join(names)} and what comes after: {call.left:.0f} s were left")
        together, what = True, f"{', '.join(names)}: together and alone"
        if len(names) > 1:
            call.measure(what, partial(compared, names))
            found = call.found[what]
            if "largest difference" in found and not found["largest difference"] < SAME:
                call.wrong.append(f"{what}: their first losses differ by more than {SAME}")
            together = call.quick or found.get("images/s together", 0) > found.get("images/s alone", 0)
        for group in [names] if together else [[name] for name in names]:
            if call.left > 15 or call.quick:
                advance(call, group)


def lacking(call: Call) -> list[list[str]]:
    """Runs whose images are at hand and that neither the zoo nor this call has, by network: they differ in seed."""
    have = {FLAGSHIP, COLOUR, *zoo.shipped(), *(file.stem for file in call.work.glob("*.safetensors"))}
    groups: dict[Any, list[str]] = {}
    for name, this in zoo.entries().items():
        if name not in have:
            groups.setdefault(replace(this, seed=0, part=0, spacing=None), []).append(name)
    return [names for names in groups.values() if there(names[0])]


def there(name: str) -> bool:
    """Whether the images of a run are at hand, without a network."""
    if run(name).dataset == "cifar10" and not os.environ.get("DIFFGAUSS_CIFAR10"):
        return False
    try:
        return len(zoo.data(name)) > 0
    except (FileNotFoundError, ModuleNotFoundError, ValueError):
        return False


def advance(call: Call, names: list[str]) -> None:
    """Train runs that differ in seed and images alone, step by step together, and keep each as ``zoo.train`` does.

    A run that has all its steps is scored and finished by ``zoo.train`` itself, if there is time.
    """
    these, images = [run(name) for name in names], [jnp.asarray(zoo.data(name)) for name in names]
    if all((call.work / f"{name}.safetensors").exists() for name in names):
        return call.note(", ".join(names), "finished before")
    states, found, before = (list(part) for part in zip(*(restored(call, name) for name in names), strict=True))
    if len({len(own["losses"]) for own in found}) > 1:
        raise ValueError(f"{', '.join(names)} stand at different steps; needs one step to go on together")
    first = done = len(found[0]["losses"])
    config, last = replace(these[0].config, seed=0), QUICK_STEPS if call.quick else these[0].steps
    ratios, start = [ratio(name) for name in names], time.monotonic()
    saved = start

    def keep() -> None:
        seconds = time.monotonic() - start
        for name, this, state, own, earlier in zip(names, these, states, found, before, strict=True):
            file = call.work / f"{name}.state.safetensors"
            facts = {"run": this.facts, "step": done, "seconds": earlier + seconds / len(names)}
            facts |= {"devices": trained_on(file, last)}
            checkpoint.save(file, own | {"state": state}, **facts)
        call.keep()
        rate = len(names) * config.batch * (done - first) / seconds
        now: dict[str, Any] = {"step": done, "of": these[0].steps, "seconds": seconds, "images/s": rate}
        now["held-out loss over D_G's"] = [of(state.ema) for of, state in zip(ratios, states, strict=True)]
        call.note(", ".join(names), [*call.found.get(", ".join(names), []), now])

    while done < last and (call.quick or call.left > 0):
        states, new = steps(states, images, config=config)
        done += CHUNK
        for this, state, own, losses in zip(these, states, found, np.asarray(new), strict=True):
            if not np.isfinite(losses).all():
                raise FloatingPointError(f"a loss of {', '.join(names)} before step {done} is not finite")
            own["losses"] = np.concatenate([own["losses"], losses])
            if done in this.recorded:
                own[f"step {done}"] = cast(state.ema, np.float16)
        if call.quick or time.monotonic() - saved > SLICE:
            keep()
            saved = time.monotonic()
    if not call.quick and done > first:
        keep()
    for name in names if done == these[0].steps else ():
        if call.end - time.monotonic() > SCORING:
            facts = checkpoint.facts(zoo.train(name, call.work, progress=False))
            call.note(f"{name}, scores", facts["scores"][str(done)])
            call.keep()


def restored(call: Call, name: str) -> tuple[TrainState, dict[str, Any], float]:
    """State, losses with kept weights, and seconds of a run as far as an earlier call trained it."""
    this, file = run(name), call.work / f"{name}.state.safetensors"
    start = TrainState.start(zoo.untrained(this), this.config)
    keep = {"of": this.facts, "until": 0, "record": this.recorded, "progress": False}
    return resume(start, zoo.data(name), this.config, file, **keep)


@partial(jax.jit, static_argnames="config", donate_argnames="states")
def steps(states: list[TrainState], images: list[jax.Array], *, config: TrainConfig) -> tuple[list, jax.Array]:
    """A chunk of ``train_steps`` of runs that differ in seed and images: the states, and losses (runs, steps)."""
    advance = partial(train_steps, config=config, n=CHUNK)
    if len(states) == 1:
        state, losses = advance(states[0], images[0])
        return [state], losses[None]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    stacked, losses = jax.vmap(advance)(stacked, jnp.stack(images))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(len(states))], losses


def compared(names: list[str]) -> dict[str, float]:
    """How far the first losses of runs trained together and alone are apart, and the speed of both ways."""
    these, images = [run(name) for name in names], [jnp.asarray(zoo.data(name)) for name in names]
    config = replace(these[0].config, seed=0)

    def start() -> list[TrainState]:
        return [TrainState.start(zoo.untrained(this), this.config) for this in these]

    together, got = steps(start(), images, config=config)
    alone = [steps([state], [data], config=config) for state, data in zip(start(), images, strict=True)]
    apart = np.abs(np.asarray(got) / np.concatenate([losses for _, losses in alone]) - 1).max()
    found = {"largest difference": float(apart)}
    for label, states, data in (("together", together, images), ("alone", alone[0][0], images[:1])):
        n, began = len(states) * CHUNK * config.batch, time.perf_counter()
        jax.block_until_ready(steps(states, data, config=config))
        found[f"images/s {label}"] = n / (time.perf_counter() - began)
    return found


def ratio(name: str) -> Callable[[Any], float]:
    """Maps a denoiser to its held-out loss over that of D_G of all images that such runs draw theirs from."""
    this, held = run(name), runs.held_out(name)
    if this.dataset == "cifar10":  # its test images come by class
        held = dg.subset(held, len(held), seed=runs.SUBSET_SEED)
    unit = weighted_loss(dg.GaussianDenoiser.from_data(runs.pool(name)), held, config=this.config)
    return lambda D: weighted_loss(D, held, config=this.config) / unit
