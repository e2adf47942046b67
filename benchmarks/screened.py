"""The screened D_M against the scan of all images, written to data/zoo for notebook 8.

python benchmarks/screened.py                          about five minutes; 16 GB for a million images
python benchmarks/screened.py --cores 2                adds seconds by σ on two cores to the record: a minute
python benchmarks/screened.py --quick --out build/screened.json

All is measured on one core (Linux; elsewhere on those there are), but for the second command. By σ: seconds of
both, in turns, their least over the rounds and the ratio of these; the share of images visited, the largest bound
on what was left out, and the largest error of a pixel of the mean against float64; and the error of two shortcuts:
a fixed number of nearest images at every σ, and softmaxes of mini-batches, averaged. By N: images beside shifted
and mirrored copies, and the temporary memory of a call. On several cores: the scan, one screened call that
does not share its batch, and one that does. Nothing here is a test.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import in_turns, seconds

import diffgauss as dg
from diffgauss import files
from diffgauss.results import folder

sys.path.append(str(Path(__file__).parents[1] / "experiments"))
from record import before, save  # noqa: E402

SIGMAS = (4.0, 2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.1, 0.02)


def exact(x: np.ndarray, y: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """log weights (b, N) and posterior mean (b, d) in float64."""
    x, y = x.reshape(len(x), -1).astype(np.float64), y.reshape(len(y), -1)
    logits = np.empty((len(x), len(y)))
    for start in range(0, len(y), 4096):
        part = y[start : start + 4096].astype(np.float64)
        logits[:, start : start + 4096] = (x @ part.T - np.einsum("nd,nd->n", part, part) / 2) / sigma**2
    logits -= logits.max(1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(1, keepdims=True))
    return logits, np.exp(logits) @ y


def nearest_only(logits: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """The mean over the k nearest images alone."""
    best = np.argpartition(-logits, k, 1)[:, :k]
    w = np.exp(np.take_along_axis(logits, best, 1))
    return np.stack([row @ y[i] / row.sum() for row, i in zip(w, best, strict=True)])


def by_mini_batch(logits: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """The average over mini-batches of each one's own softmax average."""
    means = []
    for start in range(0, len(y), size):
        part = logits[:, start : start + size]
        w = np.exp(part - part.max(1, keepdims=True))
        means.append(w @ y[start : start + size] / w.sum(1, keepdims=True))
    return np.mean(means, 0)


def augmented(images: np.ndarray, n: int) -> np.ndarray:
    """n images: those given, then copies moved by up to two pixels and mirrored."""
    moves = [(f, a, b) for a in (0, 1, -1, 2, -2) for b in (0, 1, -1, 2, -2) for f in (1, -1)]
    copies = (np.roll(images, (a, b), (1, 2))[:, :, ::f] for f, a, b in moves)
    out = np.empty((n, *images.shape[1:]), images.dtype)
    for start, copy in zip(range(0, n, len(images)), copies, strict=False):
        out[start : start + len(images)] = copy[: n - start]
    return out


def times(D, D_M, x, sigma, rounds, cores=1) -> dict[str, float]:
    """Least seconds of the scan and of the screened call, taking turns, and their ratio.

    On several cores a direct call shares the batch among them; inside ``jax.jit`` it does not, which is the other
    time then, and the ratio is that of the direct call.
    """
    calls = {"scan": lambda: D_M(x, sigma), "screened": lambda: D(x, sigma)}
    if cores > 1:
        calls |= {"screened": lambda: alone(D, x, sigma), "shared": lambda: D(x, sigma)}
    for call in calls.values():
        jax.block_until_ready(call())
    turns = {name: lambda call=call: seconds(lambda: jax.block_until_ready(call())) for name, call in calls.items()}
    found = in_turns(turns, rounds)
    least = {name: min(found[name]) for name in calls}
    return least | {"ratio": least["scan"] / least.get("shared", least["screened"])}


alone = jax.jit(lambda D, x, sigma: D(x, sigma))


def temporary(D, x, sigma) -> float:
    """Megabytes that the compiled call needs beside its arguments and its result."""
    analysis = alone.lower(D, x, sigma).compile().memory_analysis()
    return analysis.temp_size_in_bytes / 1e6 if analysis else float("nan")


def by_sigma(images, fresh, eps, rounds) -> list[dict]:
    D_M, D = dg.EmpiricalDenoiser.from_data(images), dg.ScreenedDenoiser.from_data(images)
    y, rows = images.reshape(len(images), -1), []
    for sigma in SIGMAS:
        x = jnp.asarray(fresh + np.float32(sigma) * eps)
        row = {"sigma": sigma} | times(D, D_M, x, sigma, rounds)
        mean, bound = D.posterior(x, sigma)
        logits, want = exact(np.asarray(x), images, sigma)

        def error(got, want=want):
            return float(abs(np.asarray(got).reshape(want.shape) - want).max())

        row |= {"visited": float(D.visited(x, sigma).mean()), "bound": float(bound.max())}
        row |= {"error": error(mean), "error_scan": error(D_M(x, sigma))}
        row |= {"error_100_nearest": error(nearest_only(logits, y, 100))}
        rows.append(row | {"error_mini_batches": error(by_mini_batch(logits, y, 1024))})
        print(rows[-1], flush=True)
    return rows


def by_n(images, fresh, eps, counts) -> list[dict]:
    x, rows = jnp.asarray(fresh + np.float32(0.1) * eps), []
    for n in counts:
        data = augmented(images, n)
        D_M, D = dg.EmpiricalDenoiser.from_data(data), dg.ScreenedDenoiser.from_data(data)
        del data
        rows.append({"n": n} | times(D, D_M, x, 0.1, 3) | {"MB": temporary(D, x, 0.1)})
        print(rows[-1], flush=True)
        del D, D_M
    return rows


def on_cores(images, fresh, eps, cores) -> list[dict]:
    """Seconds by σ on several cores."""
    D_M, D, rows = dg.EmpiricalDenoiser.from_data(images), dg.ScreenedDenoiser.from_data(images), []
    for sigma in SIGMAS:
        x = jnp.asarray(fresh + np.float32(sigma) * eps)
        rows.append({"sigma": sigma} | times(D, D_M, x, sigma, 7, cores))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, few queries")
    parser.add_argument("--keep", action="store_true", help="measure by N alone, and keep the rest of the record")
    parser.add_argument("--cores", type=int, default=1, help="of more than one: seconds alone, added to the record")
    parser.add_argument("--counts", type=int, nargs="+", default=(15_000, 60_000, 240_000, 1_000_000))
    parser.add_argument("--out", type=Path, default=folder() / "screened.json")
    args = parser.parse_args()
    command = made = " ".join(["python benchmarks/screened.py", *sys.argv[1:]])
    if hasattr(os, "sched_setaffinity"):  # before JAX counts its cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    images, fresh = dg.load(), dg.load(split="test")[: 64 if args.quick else 256]
    images = images[: 6000 if args.quick else None]
    eps = np.random.default_rng(0).standard_normal(fresh.shape).astype(np.float32)
    if args.cores > 1:  # a part with a head of its own: it may be of another machine
        whole = json.loads(args.out.read_text(encoding="utf-8"))
        part = save(None, "Seconds on several cores.", command, {"rows": on_cores(images, fresh, eps, args.cores)})
        files.write(
            args.out, json.dumps(whole | {f"on {args.cores} cores": part}, indent=1, ensure_ascii=False) + "\n"
        )
        return
    if args.keep:
        record, made = before(args.out), json.loads(args.out.read_text(encoding="utf-8"))["command"]
    else:
        rows = by_sigma(images, fresh, eps, 3 if args.quick else 7)
        record: dict[str, Any] = {"images": len(images), "batch": len(fresh)}
        record["ratio"] = {f"{row['sigma']:g}": row["ratio"] for row in rows if row["sigma"] <= 0.25}
        record["by_sigma"] = rows
    record["command by N"] = command
    record["by_n"] = by_n(images, fresh, eps, (3000, 12000) if args.quick else args.counts)
    save(args.out, "The screened D_M against the scan of all images: time, error and bound.", made, record)


if __name__ == "__main__":
    main()
