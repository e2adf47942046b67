"""`python benchmarks/distill_scale.py`: closed-form distillation at the paper's d = 12288, its time and memory.

A network with random weights on random images of 64×64×3 stands in for a trained one: the work is the same. W − W_G
acts on the leading components only, so that no d×d matrix is made and the result is low-rank. It shows the seconds
of each part, the peak of resident memory against `--limit`, and the distance from D (root mean square over pixels)
of the result and of D_G on fresh pairs. `--side 8 --images 60 --samples 600 --rank 20` is a smoke test.
"""

import argparse
import resource
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import diffgauss as dg


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=64, help="pixels of a side, of three channels")
    parser.add_argument("--images", type=int, default=4000, help="how many; D_G has one component less")
    parser.add_argument("--samples", type=int, default=20_000, help="pairs of an image and a noise a level")
    parser.add_argument("--rank", type=int, default=1000, help="components that W − W_G acts on")
    parser.add_argument("--levels", type=int, default=10, help="noise levels")
    parser.add_argument("--width", type=int, default=16, help="channels of the network")
    parser.add_argument("--batch", type=int, default=64, help="pairs a call of the network")
    parser.add_argument("--limit", type=float, default=24.0, help="GiB that may be used")
    return parser.parse_args(arguments)


def images(n: int, side: int) -> np.ndarray:
    """Smooth random images (n, side, side, 3) in [-1, 1], their spectrum falling as that of photographs."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    gain = 1 / np.maximum(frequency, 1 / side)
    out = np.empty((n, side, side, 3), np.float32)
    for image in out:  # one by one: the spectra of all would be the largest arrays of the run
        noise = np.fft.rfft2(rng.standard_normal((side, side, 3)), axes=(0, 1)) * gain[..., None]
        image[:] = np.fft.irfft2(noise, (side, side), axes=(0, 1))
    return np.tanh(out / out.std())


def network(side: int, width: int) -> dg.EDMDenoiser:
    """A U-Net with random weights, those of its last layer too: without them D would be affine."""
    D = dg.EDMDenoiser(dg.UNet(side, 3, width=width, patch=2, rngs=nnx.Rngs(0)), 0.5)
    leaves, structure = jax.tree.flatten(D)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [w + 0.05 * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, noisy)


def peak() -> float:
    """The most resident memory of this process so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run, print, and return the figures; exit with an error above the limit."""
    chosen, clock, found = options(arguments), time.perf_counter(), {}

    def lap(name: str) -> None:
        nonlocal clock
        found[name], clock = time.perf_counter() - clock, time.perf_counter()
        print(f"{name:>10} {found[name]:8.1f} s   peak {peak():5.2f} GiB", flush=True)

    data, D = images(chosen.images, chosen.side), network(chosen.side, chosen.width)
    print(f"d = {data[0].size}, {chosen.levels} levels, {chosen.samples} pairs each, rank {chosen.rank}")
    lap("images")
    D_G = dg.GaussianDenoiser.from_data(data)
    lap("D_G")
    sigmas, key = dg.karras_sigmas(chosen.levels), jax.random.key(0)
    rank, samples = min(chosen.rank, len(D_G.lam)), chosen.samples
    D_L = dg.distill(D, data, sigmas, key=key, samples=samples, base=D_G, rank=rank, batch=chosen.batch)
    lap("distill")
    for k in (0, chosen.levels // 2, chosen.levels - 1):
        noise = jax.random.normal(jax.random.key(2), (chosen.batch, *data.shape[1:]))
        y = jnp.asarray(data[: chosen.batch]) + sigmas[k] * noise[: len(data)]
        found[f"D_L {k}"], found[f"D_G {k}"] = (float(dg.score_rmse(E, D, y, sigmas[k])) for E in (D_L, D_G))
        print(f"σ = {float(sigmas[k]):8.3f}   D_L to D {found[f'D_L {k}']:.4f}   D_G to D {found[f'D_G {k}']:.4f}")
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(D_L)) / 2**30
    found["result"], found["peak"] = size, peak()
    verdict = "within" if found["peak"] <= chosen.limit else "ABOVE"
    print(f"the result holds {size:.2f} GiB; the peak of {found['peak']:.2f} GiB is {verdict} {chosen.limit} GiB")
    if found["peak"] > chosen.limit:
        raise SystemExit(1)
    return found


if __name__ == "__main__":
    main()
