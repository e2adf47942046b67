"""One denoiser on one set of images: how good, where it lives, whether it copies, and whether that is the data."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from diffgauss import files
from diffgauss.adapters.networks import NetworkDenoiser, try_on
from diffgauss.beyond.screened import ScreenedDenoiser
from diffgauss.core import Denoiser, apply, check_denoiser, check_points, check_sigmas
from diffgauss.denoisers.empirical import EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.distill import distill
from diffgauss.estimate import Estimate, bootstrap
from diffgauss.measures.agreement import sample_r2
from diffgauss.measures.bias import excess, linear_distance, position, pull, skill
from diffgauss.measures.distance import digests, generalization
from diffgauss.measures.linearity import linearity
from diffgauss.ode import sample
from diffgauss.schedule import karras_sigmas
from diffgauss.tour.record import MEASURES, Comparison

LEVELS = (4.07, 1.50, 0.470, 0.117)
"""Where D_G, D_M and networks differ."""

WIDE, RANK, STEPS, BLOCK, PAIRS = 12288, 1024, 18, 50, 1024
"""From so many numbers an image D_G has so many components; levels of the sampler, samples at a time, and noisy
images a level for D_L."""

FITTED, EACH = 1024, 5
"""The widest images for which ``linear_distance`` is fitted, and held-out images it needs for each number."""

MANY = 10000
"""From so many images D_M is the screened one on a processor, which is faster at low levels."""

ALIGNED, POINTS = 32, 16
"""Leading components along which the Jacobian is taken, and noisy held-out images at which."""


def shares(
    D: Denoiser, D_G: GaussianDenoiser, D_M: Denoiser, x0: np.ndarray, own: np.ndarray, sigma: float | Array,
    key: Array,
) -> dict[str, Callable[[], Estimate]]:  # fmt: skip
    """Skill and excess on held-out images x0, position on training images own, each when it is asked for."""
    noise = jax.random.normal(jax.random.fold_in(key, 1), own.shape)
    return {
        "skill": lambda: skill(D, D_G, x0, sigma, key=key),
        "excess": lambda: excess(D, D_G, x0, sigma, key=key),
        "position": lambda: position(D, D_G, D_M, own + np.float32(sigma) * noise, sigma),
    }


def compare(
    D: Denoiser, images: ArrayLike, held_out: ArrayLike, sigmas: Sequence[float] = LEVELS, *, key: Array,
    other: Denoiser | None = None, samples: int = 100, seen: int = 512, path: str | Path | None = None,
    progress: bool = True
) -> Comparison:  # fmt: skip
    """Measure how D compares with the Gaussian denoiser and the memory of its training images.

    D: a denoiser trained on images (N, *event); if it comes from an adapter, its kind and schedule are tried on
    them. held_out: images of the same kind that it has not seen; sigmas: decreasing levels; other: a second
    network of the same images, for the pull; samples: how many are drawn, from σ = 80 or from the schedule's
    largest level where that is lower; seen: at most so many images, the first ones, in each mean. path: a JSON
    file that keeps each number as it is found, so that an interrupted call goes on where it was. The alignment
    needs a derivative of D, the linear distance 5 held-out images for each number of an image, of which there may
    be 1024. Says beforehand how long it takes, with progress. Raises ValueError for images that are equal, of
    different shapes or in both sets, if the file holds numbers of other inputs, and as the measures do.
    """
    for denoiser in (D, *([other] if other is not None else [])):
        check_denoiser(denoiser)
    check_points(images, "images", at_least=2)
    check_points(held_out, "held_out", at_least=2)
    check_sigmas(np.asarray(sigmas, float))
    train, test = (np.asarray(a, np.float32) for a in (images, held_out))
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(f"held_out has images of shape {test.shape[1:]}; needs {train.shape[1:]}, as images")
    if both := len(set(digests(train)) & set(digests(test))):
        raise ValueError(f"{both} of held_out are also in images; needs images that D has not seen")
    levels, d = [round(float(s), 6) for s in np.asarray(sigmas)], train[0].size
    kept = _Kept(path, _fingerprint(D, other, train, test, levels, key, samples, seen))
    if isinstance(D, NetworkDenoiser):
        try_on(D, train)
    D_G = GaussianDenoiser.from_data(train, rank=min(RANK, len(train) - 1) if d >= WIDE else None)
    screened = len(train) >= MANY and jax.default_backend() == "cpu"
    D_M = (ScreenedDenoiser if screened else EmpiricalDenoiser).from_data(train)
    x0, own, smooth = test[:seen], train[:seen], _differentiable(D, test[:1])
    tasks: dict[str, Callable] = {}
    for i, s in enumerate(levels):
        at = jax.random.fold_in(key, i)
        tasks |= {f"{name} {s}": task for name, task in shares(D, D_G, D_M, x0, own, s, at).items()}
        tasks[f"linearity {s}"] = lambda s=s, at=at: _linearity(D, test, s, at, D_G.mean)
        if smooth:
            tasks[f"alignment {s}"] = lambda s=s, at=at: _alignment(D, D_G, test, s, at)
        if d <= FITTED and len(test) >= EACH * d:
            fit = partial(linear_distance, D, D_G, test, s, key=at, samples=max(2048, 5 * d // 2), groups=4)
            tasks[f"linear_distance {s}"] = fit
        if other is not None:
            tasks[f"pull {s}"] = lambda s=s, at=at: pull(D, other, D_G, x0, s, key=at)
    tasks["samples"] = lambda: _samples(D, D_G, D_M, train, test, samples, key)
    left = [name for name in tasks if name not in kept.found]
    if progress and left:
        print(_forecast(D, x0, levels, len(left), samples))
    for name in tqdm(left, disable=not progress):
        kept.add(name, tasks[name]())
    return _record(len(train), len(test), kept.found)


def _record(images: int, held_out: int, found: dict) -> Comparison:
    parts: dict[str, Any] = {name: {} for name in MEASURES}
    for name, value in found.items():
        if name != "samples":
            measure, sigma = name.split()
            parts[measure][float(sigma)] = Estimate(*value) if isinstance(value, list | tuple) else value
    drawn: dict[str, Any] = {
        k: Estimate(*v) if isinstance(v, list | tuple) else v for k, v in found["samples"].items()
    }
    return Comparison(images, held_out, **parts, **drawn)


def _linearity(D, test, sigma, key, mean) -> float:
    rows = np.arange(200) % len(test)
    noise = jax.random.normal(jax.random.fold_in(key, 2), (200, *test.shape[1:]))
    x = jnp.asarray(test[rows]) + sigma * noise
    return float(linearity(D, x[:100], x[100:], sigma, mean=mean))


def _differentiable(D, x) -> bool:
    """Whether D has a reverse derivative."""
    try:
        jax.eval_shape(jax.grad(lambda x: D(x, 1.0).sum()), x)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True


def _alignment(D, D_G, test, sigma, key) -> Estimate:
    """⟨Jᵀu_j, W_G u_j⟩ summed over the leading components, over the root of the two sums of squares."""
    b = min(POINTS, len(test))
    x = test[:b] + np.float32(sigma) * jax.random.normal(jax.random.fold_in(key, 3), (b, *test.shape[1:]))
    U = D_G.U[:, :ALIGNED].T
    along = np.asarray(_products(D, x, sigma, U), np.float64)
    shrunk = np.asarray(D_G.lam[: len(U)] / (D_G.lam[: len(U)] + sigma**2), np.float64)
    dot = shrunk @ np.einsum("kbd,kd->kb", along, np.asarray(U, np.float64))
    size = np.sqrt((shrunk**2).sum() * (along**2).sum((0, 2)))
    found = dot / np.maximum(size, 1e-30)
    return bootstrap(lambda rows: found[rows].mean(-1), b)


@jax.jit
def _products(D, x, sigma, U):
    """Jᵀu of each row u of U at each x: (k, b, d), in reverse mode alone."""
    pull = jax.vjp(lambda x: D(x, sigma), x)[1]

    def along(u):
        return pull(jnp.broadcast_to(u.reshape(1, *x.shape[1:]), x.shape))[0].reshape(len(x), -1)

    return jax.lax.map(along, U)


def levels_of(D: Denoiser) -> tuple[float, float]:
    """The least and the largest level of the sampler: those of EDM within what D's network was trained for."""
    if not isinstance(D, NetworkDenoiser) or D.schedule is None:
        return 0.002, 80.0
    return max(0.002, float(D.schedule.sigmas[0])), min(80.0, float(D.schedule.sigmas[-1]))


def _samples(D, D_G, D_M, train, test, k, key) -> dict:
    """R² of the samples of D to those of D_G, D_M and D_L, and the share of copies."""
    low, high = levels_of(D)
    start = high * jax.random.normal(jax.random.fold_in(key, 100), (k, *train.shape[1:]))
    grid = karras_sigmas(STEPS, sigma_min=low, sigma_max=high)

    def drawn(E):
        return np.concatenate([np.asarray(sample(E, start[i : i + BLOCK], grid)) for i in range(0, k, BLOCK)])

    net, mean = drawn(D), np.asarray(D_G.mean)
    found = {
        "samples": k,
        "r2_gaussian": sample_r2(np.asarray(D_G.flow(start, high, 0.0)), net, mean=mean),
        "r2_empirical": sample_r2(drawn(D_M), net, mean=mean),
        "memorized": generalization(net, train).memorized,
    }
    rank = max(1, min(256, len(D_G.lam), len(test) // 10))
    D_L = distill(D, test, grid, key=key, samples=PAIRS, base=D_G, rank=rank)
    return found | {"r2_linear": sample_r2(drawn(D_L), net, mean=mean)}


class _Kept:
    """The numbers found so far, in a file if there is one; each is written as it is added."""

    def __init__(self, path: str | Path | None, inputs: str):
        self.path, self.inputs, self.found = path, inputs, {}
        if path is not None and Path(path).exists():
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            if record.get("inputs") != inputs:
                raise ValueError(
                    f"{path} holds numbers of other inputs; needs the same denoiser and images, or no file"
                )
            self.found = record["found"]

    def add(self, name: str, value) -> None:
        self.found[name] = value
        if self.path is not None:
            files.write(self.path, json.dumps({"inputs": self.inputs, "found": self.found}, indent=1) + "\n")


def _fingerprint(D, other, train, test, levels, key, samples, seen) -> str:
    """One of all inputs, so that a file of others is not gone on with."""
    found = hashlib.blake2b(digest_size=16)
    for leaf in (*jax.tree.leaves(D), *jax.tree.leaves(other), train, test, jax.random.key_data(key)):
        found.update(np.ascontiguousarray(leaf).tobytes())
    for E in (D, other):
        if isinstance(E, NetworkDenoiser):  # how it is read is no array
            found.update(repr((E.kind, E.schedule is not None and E.schedule.preserving)).encode())
    found.update(repr((levels, samples, seen, STEPS, PAIRS, ALIGNED, POINTS)).encode())
    return found.hexdigest()


def _forecast(D, x0, levels, left, samples) -> str:
    """How long the numbers that are left take, from two calls of D."""
    x, level = jnp.asarray(x0[: min(64, len(x0))]), jnp.float32(levels[0])
    jax.block_until_ready(apply(D, x, level))
    begin = time.perf_counter()
    jax.block_until_ready(apply(D, x, level))
    each = (time.perf_counter() - begin) / len(x)
    calls = left * 2 * len(x0) + samples * (2 * STEPS - 1) + PAIRS * STEPS
    minutes = each * calls / 60
    said = f"about {minutes:.0f} min" if minutes > 1 else "less than a minute"
    return f"{left} numbers, {said} for the calls of D alone"
