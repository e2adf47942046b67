"""`python benchmarks/screened.py [--quick]`: the screened D_M against the scan of all images, in Markdown.

By σ: seconds of both, in turns, their least over the rounds and their ratio, the share of blocks visited, the
largest bound on what was left out, and the largest error of a pixel of the mean against float64; and the error of
two shortcuts: a fixed number of nearest images at every σ, and softmaxes of mini-batches, averaged. By N: images
beside shifted and mirrored copies. Nothing here is a test.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from timing import in_turns, seconds

import diffgauss as dg

SIGMAS = (2.0, 1.0, 0.5, 0.25, 0.1, 0.02)


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


def times(D, D_M, x, sigma, rounds) -> tuple[float, float]:
    """Least seconds of the scan and of the screened call, taking turns."""
    calls = {
        "scan": lambda: jax.block_until_ready(D_M(x, sigma)),
        "screened": lambda: jax.block_until_ready(D(x, sigma)),
    }
    for call in calls.values():
        call()
    found = in_turns({name: lambda call=call: seconds(call) for name, call in calls.items()}, rounds)
    return min(found["scan"]), min(found["screened"])


def main(quick: bool) -> None:
    images, fresh = dg.load(), dg.load(split="test")[: 64 if quick else 256]
    images = images[: 6000 if quick else None]
    eps = np.random.default_rng(0).standard_normal(fresh.shape).astype(np.float32)
    D_M, D, rounds = (
        dg.EmpiricalDenoiser.from_data(images),
        dg.ScreenedDenoiser.from_data(images),
        3 if quick else 7,
    )
    y = images.reshape(len(images), -1)
    print(f"{len(images)} images, batch {len(fresh)}\n")
    titles = ["σ", "scan s", "screened s", "ratio", "blocks visited", "largest bound"]
    titles += [f"error: {name}" for name in ("screened", "scan", "100 nearest", "mini-batches of 1024")]
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for sigma in SIGMAS:
        x = jnp.asarray(fresh + np.float32(sigma) * eps)
        scan, screened = times(D, D_M, x, sigma, rounds)
        mean, bound = D.posterior(x, sigma)
        logits, want = exact(np.asarray(x), images, sigma)

        def error(got, want=want):
            return abs(np.asarray(got).reshape(want.shape) - want).max()

        others = nearest_only(logits, y, 100), by_mini_batch(logits, y, 1024)
        errors = [error(got) for got in (mean, D_M(x, sigma), *others)]
        rows = [scan, screened, scan / screened, float(D.visited(x, sigma).mean()), float(bound.max()), *errors]
        print(f"| {sigma} | " + " | ".join(f"{v:.3g}" for v in rows) + " |", flush=True)
    print("\n| N | scan s | screened s | ratio at σ = 0.1 |\n|---|---|---|---|")
    for n in (3000, 12000) if quick else (60_000, 240_000, 1_000_000):
        data, x = augmented(images, n), jnp.asarray(fresh + np.float32(0.1) * eps)
        D_M, D = dg.EmpiricalDenoiser.from_data(data), dg.ScreenedDenoiser.from_data(data)
        scan, screened = times(D, D_M, x, 0.1, 3)
        print(f"| {n} | {scan:.3g} | {screened:.3g} | {scan / screened:.3g} |", flush=True)


if __name__ == "__main__":
    main("--quick" in sys.argv)
