"""The parts of the table: each checks that its candidates agree, gives them turns, and returns rows."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from inputs import Inputs, Settings
from reference import empirical64, products, products_in_blocks, solve, solve64
from report import Row, ratio
from timing import cores, in_turns, seconds
from worker import Peers

import diffgauss as dg

ONE = jnp.float32(1)
NO_PROC = "the system reports no peak of resident memory"


def turn(call: Callable[[], Any], calls: int = 1) -> Callable[[], float]:
    """A turn of a JAX candidate; the first call, which compiles, happens now."""
    jax.block_until_ready(call())
    return lambda: seconds(lambda: jax.block_until_ready(call()), calls)


def at_levels(D: Callable[[Any, Any], Any], pairs: list[tuple[Any, Any]]) -> Callable[[], Any]:
    """One call of D after the other, each waited for."""
    return lambda: [jax.block_until_ready(D(x, sigma)) for x, sigma in pairs]


def agree(what: str, got: Any, want: Any, tolerance: float) -> None:
    """Stop unless two candidates compute the same thing: ‖got − want‖/‖want‖ over the batch."""
    got, want = np.ravel(got), np.ravel(want)
    difference = float(np.linalg.norm(got - want) / np.linalg.norm(want))
    if not difference <= tolerance:
        raise SystemExit(f"{what}: the outputs differ by {difference:.1e}, more than {tolerance:.0e}")
    print(f"{what}: the outputs agree to {difference:.1e}", file=sys.stderr)


def empirical(s: Settings, i: Inputs, peers: Peers) -> list[Row]:
    """D_M against its two matrix products and against three that hold all N logits at once."""
    ours = i.D_M(i.x, ONE)
    agree("D_M and float64", ours[:4], empirical64(i.points, np.asarray(i.x[:4])), 1e-3)
    x, y = i.x.reshape(len(i.x), -1), jnp.asarray(i.points.reshape(len(i.points), -1))
    turns = {
        "D_M": turn(lambda: i.D_M(i.x, ONE)),
        "jax products": turn(lambda: products(x, y)),
        "jax products in blocks": turn(lambda: products_in_blocks(x, i.D_M.points)),
    }
    whole = {
        "softmax of products": ("torch", "one-shot torch softmax, from products"),
        "softmax of distances": ("torch", "one-shot torch softmax, from distances"),
        "IdealDenoiser": ("smalldiffusion", "smalldiffusion's IdealDenoiser"),
    }
    grown = {name: peers.growth(name) for name in whole if name in peers.calls}  # first, in a fresh process
    for name in grown:
        agree(f"D_M and {name}", ours, peers.output(name), 1e-3)
        turns[name] = peers.turn(name)
    if "products" in peers.calls:
        turns["torch products"] = peers.turn("products")
    times = in_turns(turns, s.rounds)
    jax_text = "D_M / its two matrix products in jax"
    rows = [
        ratio("D_M", f"{jax_text}, at once", times, "D_M", "jax products", goal=("≤", 1.1)),
        ratio("D_M", f"{jax_text}, in blocks", times, "D_M", "jax products in blocks"),
        ratio("D_M", "D_M / its two matrix products in torch", times, "D_M", "torch products",
              note=peers.missing.get("torch", "")),
    ]  # fmt: skip
    for name, (package, text) in whole.items():
        why = peers.missing.get(package, "")
        rows.append(ratio("D_M", f"{text} / D_M", times, name, "D_M", goal=("≥", 2.4), note=why))
    for name, (package, text) in whole.items():
        growth = grown.get(name)
        rows.append(Row("D_M", f"{text}: growth of resident memory", [] if growth is None else [growth], "MB",
                        note=peers.missing.get(package, NO_PROC)))  # fmt: skip
    return rows


def growing(s: Settings, i: Inputs) -> list[Row]:
    """Time and memory of D_M as N grows."""
    turns, rows = {}, []
    script = Path(__file__).with_name("resident.py")
    for n in s.sizes:
        D = dg.EmpiricalDenoiser.from_data(i.points[:n])
        turns[str(n)] = turn(lambda D=D: D(i.x, ONE), calls=1 if n > 10_000 else 5)
        plan = jax.jit(lambda D, x, sigma: D(x, sigma)).lower(D, i.x, ONE).compile().memory_analysis()
        temporary = [] if plan is None else [plan.temp_size_in_bytes / 1e6]
        rows.append(Row("D_M by N", f"N = {n}: temporary memory of the compiled call", temporary, "MB",
                        goal=("≤", 64), note="the compiler reports none"))  # fmt: skip
        command = [sys.executable, script, i.folder, str(n)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        grown = [] if answer == "None" else [float(answer)]
        rows.append(Row("D_M by N", f"N = {n}: growth of resident memory in its first call", grown, "MB",
                        goal=("≤", 64), note=NO_PROC))  # fmt: skip
    times = in_turns(turns, s.rounds)
    for n in s.sizes:
        cost = [1e9 * t / (n * s.batch) for t in times[str(n)]]
        rows.append(Row("D_M by N", f"N = {n}: time for an image and a training point", cost, "ns"))
    return rows


def sampler(s: Settings, i: Inputs, peers: Peers) -> list[Row]:
    """sample against the calls of D it makes, and against another package's sampler."""
    rows, n = [], len(i.sigmas)
    for name, D, batch in (("D_G", i.D_G, s.batch), ("D_M", i.D_M, s.sampler_batch)):
        start = i.noise[:batch]
        path = list(zip(dg.trajectory(D, start, i.sigmas), i.sigmas, strict=True))
        turns = {
            "sample": turn(lambda D=D, start=start: dg.sample(D, start, i.sigmas)),
            f"{n} calls": turn(at_levels(D, path)),
        }
        if name == "D_G" and "sample_heun" in peers.calls:
            agree("sample and sample_heun", dg.sample(D, start, i.sigmas), peers.output("sample_heun"), 1e-3)
            turns["sample_heun"] = peers.turn("sample_heun")
        times, text = in_turns(turns, s.rounds), f"sample with {name}, batch {batch}"
        rows.append(ratio("sampler", f"{text} / {2 * n - 1} calls of {name}", times, "sample", f"{n} calls",
                          goal=("≤", 1.05), scale=n / (2 * n - 1)))  # fmt: skip
        if name == "D_G":
            rows.append(ratio("sampler", f"{text} / k-diffusion's sample_heun", times, "sample", "sample_heun",
                              goal=("≤", 1), note=peers.missing.get("k-diffusion", "")))  # fmt: skip
    one, other = dg.disjoint_halves(i.points, 1_000, seed=1)
    for kind in (dg.GaussianDenoiser, dg.EmpiricalDenoiser):
        again = retraces(kind.from_data(one), kind.from_data(other), i.noise[:2], i.sigmas)
        rows.append(Row("sampler", f"traces for a second {kind.__name__}", [again], "traces", goal=("≤", 0)))
    return rows


def retraces(first: dg.Denoiser, second: dg.Denoiser, x: jax.Array, sigmas: jax.Array) -> int:
    """How often sample traces a second denoiser of the first one's structure."""
    traced = []

    def counted(D, x, sigma):
        traced.append(1)
        return D(x, sigma)

    dg.sample(jax.tree_util.Partial(counted, first), x, sigmas)
    before = len(traced)
    dg.sample(jax.tree_util.Partial(counted, second), x, sigmas)
    return len(traced) - before


def gaussian(s: Settings, i: Inputs) -> list[Row]:
    """D_G against a dense solve for each level; and what its one diagonalisation costs."""
    D, n = i.D_G, len(i.sigmas)
    U, lam = np.asarray(D.U, np.float64), np.asarray(D.lam, np.float64)
    mean, x, cov64 = np.asarray(D.mean), np.asarray(i.x), (U * lam) @ U.T
    cov32, levels = jnp.asarray(cov64, jnp.float32), list(i.sigmas)
    for sigma in (levels[0], ONE, levels[-1]):
        want, at = solve64(cov64, mean, x, float(sigma)), f"at σ = {float(sigma):.3g}"
        agree(f"D_G and a float64 solve {at}", D(i.x, sigma), want, 1e-4)
        agree(f"float32 and float64 solve {at}", solve(cov32, D.mean, i.x, sigma), want, 1e-3)
    times = in_turns({
        "D_G": turn(at_levels(D, [(i.x, t) for t in levels])),
        "jax solves": turn(at_levels(lambda x, t: solve(cov32, D.mean, x, t), [(i.x, t) for t in levels])),
        "numpy solves": turn(at_levels(lambda x, t: solve64(cov64, mean, x, t), [(x, float(t)) for t in levels])),
    }, s.rounds)  # fmt: skip
    times |= in_turns({
        "build": turn(lambda: dg.GaussianDenoiser.from_data(i.points)),
        "numpy solve": turn(lambda: solve64(cov64, mean, x, 1.0), calls=5),
    }, min(s.rounds, 3))  # fmt: skip
    return [
        ratio("D_G", f"dense float32 solves in jax / D_G, at {n} levels", times, "jax solves", "D_G"),
        ratio("D_G", f"dense float64 solves in numpy / D_G, at {n} levels", times, "numpy solves", "D_G"),
        ratio("D_G", "building D_G / one dense float64 solve in numpy", times, "build", "numpy solve"),
    ]


def distillation(s: Settings, i: Inputs) -> list[Row]:
    """Closed-form distillation of a network of the zoo with default arguments, against the calls of it alone."""
    D, sigmas, key = dg.zoo.load("n60000"), dg.karras_sigmas(s.distilled), jax.random.key(0)
    x = jnp.asarray(i.points[:256])
    held = s.pairs // 5  # pairs that choose the ridge have calls of their own
    calls = [(x, sigma) for sigma in sigmas for _ in range(-(-(s.pairs - held) // 256) + -(-held // 256))]
    times = in_turns({
        "distill": turn(lambda: dg.distill(D, i.points, sigmas, key=key, samples=s.pairs, base=i.D_G).W),
        "calls": turn(at_levels(lambda x, sigma: dg.apply(D, x, sigma), calls)),
    }, min(s.rounds, 3))  # fmt: skip
    what = f"n60000 at {s.distilled} level(s), {s.pairs} pairs each"
    return [
        Row("distillation", f"{what}, on {cores()} core(s)", times["distill"], "s", goal=("≤", 60)),
        ratio("distillation", f"{what} / its {len(calls)} calls of the network", times, "distill", "calls"),
    ]
