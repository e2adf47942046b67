"""``diffgauss tour``: the whole analysis on the user's own images, in one command and one page."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from tqdm.auto import tqdm

from diffgauss import files
from diffgauss.adapters.diffusers import event, from_diffusers
from diffgauss.core import Denoiser, apply
from diffgauss.data import load, subset
from diffgauss.denoisers.empirical import EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.distill import distill
from diffgauss.schedule import karras_sigmas
from diffgauss.tour import bias, page, sections, training
from diffgauss.tour.case import DISTILLED, LEVELS, PAIRS, SAMPLES, Case, components, copies
from diffgauss.tour.page import Section
from diffgauss.train import TrainConfig

NEEDED = {"train": 64, "test": 16}
LARGEST = 64
"""How many images are needed, and the longest side."""

SOME = 1024
"""Images whose covariance is timed."""

SECTIONS = (
    sections.spectrum,
    sections.two_denoisers,
    sections.training,
    sections.linear,
    sections.distances,
    bias.shares,
    bias.linear_map,
    sections.samples,
)


def run(
    name: str, out: Path, *, size: int | None = None, grey: bool | None = None, minutes: float = 3.0,
    steps: int | None = None, seed: int = 0, model: Path | None = None, label: int | None = None,
    say: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Measure the images that ``load`` finds under name, and write the report to the file out.

    size, grey: as for ``load``; pictures in files are resized to 32 by default. The network trains for so many
    minutes, or steps; its state is kept beside the report, so that the same call goes on after a stop. model: a
    folder of diffusers, whose network (of the class label) is measured instead, at its own size and channels.
    Raises ValueError for images that cannot be used, and for too few of them, and as ``from_diffusers``.
    """
    if not 0 < minutes < 1e5 or (steps is not None and steps < 1):
        raise ValueError(f"minutes = {minutes}, steps = {steps}; needs more than 0, and minutes below 100000")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed = {seed}; needs 0 ≤ seed < 2³²")
    _check_page(out, name)
    with files.lock(out):
        _run(name, out, size, grey, minutes, steps, seed, model, label, say)


def _check_page(out: Path, name: str) -> None:
    """Raise ValueError unless the report can be written there, over nothing but an earlier report."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.is_dir() or not os.access(out.parent, os.W_OK) or (out.exists() and not os.access(out, os.W_OK)):
        raise ValueError(f"got {out} for the report; needs a file in a folder that can be written")
    if out.is_symlink() or (Path(name).exists() and out.exists() and out.samefile(name)):
        raise ValueError(f"got {out} for the report; needs a name that is no link and not that of the images")
    if out.exists() and not page.is_report(out):
        raise ValueError(f"{out} is there and no report of ours; needs another name, see --out")


def _run(
    name: str, out: Path, size: int | None, grey: bool | None, minutes: float, steps: int | None, seed: int,
    model: Path | None, label: int | None, say: Callable[[str], None],
) -> None:  # fmt: skip
    begun = time.monotonic()
    wanted = None if model is None else event(model)
    if wanted is not None:
        size, grey = size or wanted[0] or None, wanted[1] == 1 if grey is None else grey
    if size is None and name not in ("fashion-mnist", "cifar10") and Path(name).suffix not in (".npy", ".npz"):
        size = 32
    (train, found), (test, rest) = (load(name, split, size=size, grey=grey, report=True) for split in NEEDED)
    _check(train, test)
    if wanted is not None and train.shape[2:] != (wanted[0] or train.shape[2], wanted[1]):
        raise ValueError(
            f"images are {train.shape[1:]}; the model in {model} needs (side, side, channels) = {wanted}"
        )
    train, test = (subset(images, len(images), seed=seed) for images in (train, test))
    met = {f"files, {r.split}": str(r) for r in (found, rest) if r is not None}
    for line in met.values():
        say(line)
    if any(copied := copies(train, test)):
        say(f"exact copies: {copied[0]} training images of others, {copied[1]} held-out images of training images")
    say(f"{len(train)} training and {len(test)} held-out images of shape {train.shape[1:]}")
    say(f"their covariance first, about {_clock(_covariance(train))}")
    D_G, D_M = GaussianDenoiser.from_data(train), EmpiricalDenoiser.from_data(train)
    config = TrainConfig(steps=1, seed=seed, sigma_data=float(train.std()))
    parked = out.with_name(out.name + ".state.safetensors")

    def tell(D: Denoiser, start: int, steps: int, seconds: float) -> None:
        before, rest = time.monotonic() - begun, _rest(D, D_G, D_M, train, test)
        said = f"{steps} steps of training take"
        if start:
            said = f"training goes on from step {start}; the steps up to {steps} take"
        say(
            f"{said} about {_clock(seconds)} (measured on the first), the analysis about "
            f"{_clock(rest)} (from a timed call of each denoiser): {_clock(before + seconds + rest)} in all"
        )

    if model is None:
        D, losses = training.train(train, config, parked, seconds=60 * minutes, steps=steps, tell=tell)
    else:
        D, losses = _read(model, label, train), np.empty(0)
        say(f"the network of {model}; the analysis takes about {_clock(_rest(D, D_G, D_M, train, test))}")
    bar = tqdm(total=1 + len(SECTIONS), desc="distillation")
    key, rank = jax.random.key(seed), components(D_G, test)
    sigmas = karras_sigmas(LEVELS)
    D_L = distill(D, test, sigmas, key=jax.random.fold_in(key, 200), samples=DISTILLED, base=D_G, rank=rank)
    case = Case(train, test, D, D_L, D_G, D_M, config, losses, key, sigmas)
    told = []
    for measure in SECTIONS:
        bar.update()
        bar.set_description(measure.__name__)
        told.append(measure(case))
    bar.update()
    bar.close()
    seconds = time.monotonic() - begun
    title = f"A tour of {Path(name).resolve().name}".encode("utf-8", "backslashreplace").decode()
    short = Section("In short", "", [tuple(section.short for section in told)])
    limits = sections.limits(case, {"images": name, "seed": str(seed), "time of this run": _clock(seconds)} | met)
    pages = [short, sections.pictures(case), *told, limits]
    files.write(out, page.render(title, pages))
    parked.unlink(missing_ok=True)
    say(f"{out}: written after {_clock(seconds)}")


def _read(model: Path, label: int | None, train: np.ndarray) -> Denoiser:
    """The network of a folder. Raises ValueError where it was not trained at the highest level."""
    D, top = from_diffusers(model, label=label, images=train), float(karras_sigmas(LEVELS)[0])
    if D.schedule is not None and (high := float(D.schedule.sigmas[-1])) < top:
        raise ValueError(f"the schedule of {model} ends at σ = {high:.3g}; the tour needs {top:g}, dg.compare less")
    return D


def _check(train: np.ndarray, test: np.ndarray) -> None:
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(f"training images are {train.shape[1:]}, held-out ones {test.shape[1:]}; needs one shape")
    _, h, w, _ = train.shape
    if h != w or h > LARGEST:
        raise ValueError(f"images are {w}×{h} pixels; needs squares of at most {LARGEST}, see --size")
    if len(train) < NEEDED["train"] or len(test) < NEEDED["test"]:
        raise ValueError(
            f"got {len(train)} training and {len(test)} held-out images; needs at least {NEEDED['train']} and "
            f"{NEEDED['test']}, or {5 * NEEDED['test']} in one folder without train and test"
        )
    if not np.ptp(train, 0).any():
        raise ValueError("all training images are equal; needs images that differ")


def _covariance(train) -> float:
    """Seconds that the principal components take: those of some images, timed, by the operations of both."""
    some, d = train[:SOME], train[0].size

    def operations(n):
        return n * d * min(n, d) + 9 * min(n, d) ** 3

    begun = time.monotonic()
    GaussianDenoiser.from_data(some)
    return (time.monotonic() - begun) * operations(len(train)) / operations(len(some))


def _rest(D, D_G, D_M, train, test) -> float:
    """Seconds that the analysis takes: what each denoiser needs for an image times the images that it will see."""
    distances, d = len(bias.fitted(D_G, test, karras_sigmas(LEVELS))), train[0].size
    told, placed = (bias.SEEN * len(levels) for levels in (bias.TOLD, bias.PLACED))
    fitted, levels, drawn = DISTILLED * LEVELS, PAIRS * LEVELS, SAMPLES * 2 * LEVELS
    both = fitted + 9 * levels + drawn + 2 * told + placed + 3 * bias.points(d) * distances
    x, total = np.resize(train, (PAIRS, *train.shape[1:])), 0.0
    for denoiser, images in ((D, both), (D_G, both), (D_M, 5 * levels + drawn + placed)):
        first, second = _twice(lambda D=denoiser: apply(D, x, 1.0).block_until_ready())
        total += 17 * (first - second) + images / PAIRS * second  # about 17 compilations of each
    if distances:  # moments and products take twice as long as the solutions
        matrix = np.eye(d) + np.ones((d, d))
        total += 3 * distances * (2 * bias.GROUPS + 2) * _twice(lambda: np.linalg.solve(matrix, matrix))[1]
    return total


def _twice(call: Callable) -> tuple[float, float]:
    """Seconds of a first and of a second call."""
    ticks = [time.monotonic()]
    for _ in range(2):
        call()
        ticks.append(time.monotonic())
    return ticks[1] - ticks[0], ticks[2] - ticks[1]


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
