"""The analytic denoisers against networks of the zoo, for notebook 8: a table a network, written to data/zoo.

python experiments/leaderboard.py                    all of NETS: about an hour of one core
python experiments/leaderboard.py --nets n64         one of them; the tables of others stay as they are

Per denoiser: of 100 samples (ten Euler steps, the noises of the zoo) against the network's, the median r² of pixels
and R² about the mean image, with 95 % intervals; by level, on held-out images, R² = 1 − SSR/SST about the mean
image and explained variance 1 − ‖D_θ − D‖²/‖D_θ‖²; seconds an image and call. Test images 0-7999 distil D_L,
8000-8031 (for windows the first 8) choose sizes of windows and the denoiser of each level, some from 9000 on are
compared on (of 10000; of fewer the same shares). Networks of one class have no mixture. Where a denoiser cannot see
all images in reasonable time it gets the first of them, and the table says how many: LS and ELS those that make
WINDOWS windows for each pixel, so ELS many where windows are large and have few places, and few where they are
small. For the nets of FITTED there are also LS and ELS whose sizes are chosen by likeness to the network's outputs,
as Kamb & Ganguli (2025) choose theirs.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from record import save

import diffgauss as dg
from diffgauss import data
from diffgauss.beyond.local import shifts
from diffgauss.estimate import Estimate
from diffgauss.results import folder
from diffgauss.zoo import runs

NETS = ("n60000", "n60000-resnet", "n64", "sneaker-n3000")
FITTED = ("n60000-resnet",)
SIGMAS = np.asarray(dg.karras_sigmas(10))
WIENER, WINDOWS = 2048, 16384
SIZES = (1, 3, 5, 7, 11, 15, 21, 31, 55)  # 55 covers the image from each of its pixels
ELS_SIZES = (3, 5, 7, 11, 15, 21, 55)
AT_ONCE = 20
"""Queries a call of D: more hold more memory and are no faster."""


def windows(
    images: np.ndarray, calibrate: jax.Array, equivariant: bool, like: dg.Denoiser | None = None
) -> tuple[dg.ChosenDenoiser, list, list]:
    """LS or ELS with the best size for each level, those sizes, and how many images each of them sees."""
    side, sizes = images.shape[1], ELS_SIZES if equivariant else SIZES
    places = [len(shifts(side, side, size)) if equivariant else 1 for size in sizes]
    some = [images[: WINDOWS // many] for many in places]
    each = [
        dg.LocalDenoiser.from_data(y, size=k, equivariant=equivariant) for y, k in zip(some, sizes, strict=True)
    ]
    found = dg.ChosenDenoiser.by_error(each, calibrate[:8], SIGMAS, key=jax.random.key(5), like=like)
    best = np.asarray(found.choice)
    return found, [sizes[k] for k in best], [len(some[k]) for k in best]


def members(net: str, images: np.ndarray, test: np.ndarray) -> tuple[dict[str, dg.Denoiser], dict, dict, list[str]]:
    """The denoisers by name, sizes of windows, how many images are seen, and which one was chosen, by level."""
    D, D_G, cut = dg.zoo.load(net), dg.GaussianDenoiser.from_data(images), 8 * len(test) // 10
    calibrate = jnp.asarray(test[cut : cut + 32])
    found: dict[str, dg.Denoiser] = {
        "D_M": dg.EmpiricalDenoiser.from_data(images),
        "D_G": D_G,
        "D_L": dg.distill(D, test[:cut], SIGMAS, key=jax.random.key(6), samples=8192, base=D_G),
    }
    if runs.run(net).classes is None:
        labels = data.subset(data.labels(), len(images), seed=runs.SUBSET_SEED)
        found["mixture"] = dg.MixtureDenoiser.from_data(images, labels)
    sizes, sees = {}, {"Wiener-local": [min(WIENER, len(images))]}
    for name in ("LS", "ELS"):
        found[name], sizes[name], sees[name] = windows(images, calibrate, name == "ELS")
    found["Wiener-local"] = dg.LocalDenoiser.from_wiener(images[:WIENER], D_G.U, D_G.lam, SIGMAS)
    free = [name for name in found if name != "D_L"]  # D_L has seen the network
    if net in FITTED:
        for name in ("LS", "ELS"):
            to = f"{name}, fitted"
            found[to], sizes[to], sees[to] = windows(images, calibrate, name == "ELS", D)
    chosen = dg.ChosenDenoiser.by_error([found[name] for name in free], calibrate, SIGMAS, key=jax.random.key(7))
    return found | {"chosen by level": chosen}, sizes, sees, [free[k] for k in np.asarray(chosen.choice)]


@jax.jit
def apply(D, x, sigma):
    return D(x, sigma)


def in_parts(f, x: jax.Array) -> np.ndarray:
    """f of a few queries at a time."""
    return np.concatenate([np.asarray(f(part)) for part in jnp.split(x, len(x) // AT_ONCE)])


def interval(found: Estimate) -> list[float]:
    return [round(v, 5) for v in found]


def by_level(outputs: list[np.ndarray], reference: list[np.ndarray], mean: np.ndarray) -> list[float]:
    """1 − Σ‖D_θ − D‖²/Σ‖D_θ − mean‖² at each level."""
    pairs = zip(outputs, reference, strict=True)
    return [round(dg.sample_r2(*pair, mean=mean, resamples=1).value, 5) for pair in pairs]


def compare(net: str, k: int) -> dict:
    """The table of one network, by level on k held-out images."""
    images, test, D = dg.zoo.data(net), runs.held_out(net), dg.zoo.load(net)
    mean, grid = images.mean(0), jnp.asarray(SIGMAS)
    start, held = dg.zoo.noise(100), jnp.asarray(test[9 * len(test) // 10 :][:k])
    noise = jax.random.normal(jax.random.key(8), held.shape)

    def outputs(D):
        return [in_parts(lambda y: apply(D, y, s), held + s * noise) for s in grid]  # noqa: B023

    samples, each = in_parts(lambda x: dg.sample(D, x, grid, step=dg.euler), start), outputs(D)
    table, theirs, (found, sizes, sees, chosen) = {}, {}, members(net, images, test)
    for name, A in found.items():
        drawn = in_parts(lambda x: dg.sample(A, x, grid, step=dg.euler), start)  # noqa: B023
        if name == "chosen by level":
            theirs[name], seconds = [theirs[best][i] for i, best in enumerate(chosen)], None
        else:
            in_parts(lambda y: apply(A, y, grid[0]), start[:AT_ONCE])  # noqa: B023
            begin = time.perf_counter()
            theirs[name] = outputs(A)
            seconds = (time.perf_counter() - begin) / len(held) / len(grid)
        table[name] = {
            "sees": [f(sees.get(name, [len(images)])) for f in (min, max)],
            "median_r2": interval(dg.sample_pearson(drawn, samples)),
            "R2": interval(dg.sample_r2(drawn, samples, mean=mean)),
            "R2_by_level": by_level(theirs[name], each, mean),
            "explained_by_level": by_level(theirs[name], each, 0 * mean),
            "seconds": seconds,
        }
        print(net, name, table[name], flush=True)
    return {"net": net, "images": len(images), "held": k, "sizes": sizes, "chosen": chosen, "table": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--held", type=int, default=40, help="images to compare outputs on, a multiple of 20")
    parser.add_argument("--out", type=Path, default=folder() / "leaderboard.json")
    args = parser.parse_args()
    tables = (
        {t["net"]: t for t in json.loads(args.out.read_text(encoding="utf-8"))["nets"]} if args.out.exists() else {}
    )
    for net in args.nets:
        tables[net] = compare(net, args.held) | runs.computer()
        numbers = {"sigmas": SIGMAS.tolist(), "nets": list(tables.values())}
        what = "Which closed form predicts a network, by output and by sample."
        save(args.out, what, "python experiments/leaderboard.py", numbers)


if __name__ == "__main__":
    main()
