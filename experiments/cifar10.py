"""Measure the claims on natural colour images, and write the numbers to data/results/cifar10.json.

python experiments/cifar10.py [PART ...]     the parts: by default all, see PARTS

Needs the images: DIFFGAUSS_CIFAR10 names a folder or archive, or there is a network. The record holds numbers
only, so that the notebook and RESULTS.md do without them. The criteria are those of docs/claims.md;
`cifar10_claims` judges.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path

import cifar10_claims
import dimension
import jax
import jax.numpy as jnp
import numpy as np
from record import before, changed, kept, save
from scipy.linalg import eigh

import diffgauss as dg
from diffgauss import apply
from diffgauss.results import folder
from diffgauss.zoo import runs, scoring

PATH = folder() / "cifar10.json"
WHAT = "The claims on natural colour images (CIFAR-10, a copy re-encoded as JPEG): numbers only."
COMMAND = "DIFFGAUSS_CIFAR10=FOLDER python experiments/cifar10.py"
MANY, SECOND, FEW = "cifar-n50000", "cifar-n50000-seed1", "cifar-n256"
WIDE, MANY_WIDE = "cifar-n256-w32", "cifar-n50000-w32"
HALVES = "cifar-n25000", "cifar-n25000-other"
LEVELS = np.asarray(dg.karras_sigmas(10))
NETS = [name for name in dg.zoo.shipped() if runs.run(name).dataset == "cifar10"]
MIDDLE = LEVELS[2:7]  # 21.1 … 0.470
RANK, PAIRS = 1024, 16384  # W − W_G acts on so many components, fitted to so many pairs a level

key = jax.random.key(0)
data, gauss = cache(runs.data), cache(lambda name: dg.GaussianDenoiser.from_data(data(name)))


@cache
def test() -> tuple[np.ndarray, np.ndarray]:
    """8000 test images to fit D_L to, and 2000 for all that is called held-out; shuffled, as they come by class."""
    images = runs.held_out(MANY)
    images = images[np.random.default_rng(0).permutation(len(images))]
    return images[:8000], images[8000:]


def noisy(images: np.ndarray, s: float, part: int, k: int = 256) -> jax.Array:
    """``dg.noisy`` with the key of a part."""
    return dg.noisy(images, s, k, key=jax.random.fold_in(key, part))


def outputs(D, images: np.ndarray, levels: Iterable[float] = LEVELS) -> np.ndarray:
    """(levels, 256, d): the answers to the same noisy images for every D."""
    return np.stack([np.asarray(apply(D, noisy(images, s, 20), s)).reshape(256, -1) for s in levels])


def rmse(a: np.ndarray, b: np.ndarray) -> list[list[float]]:
    """``dg.rmse`` in JSON's types."""
    return np.stack(dg.rmse(a, b)).tolist()


def timed(call) -> tuple:
    """What call returns, and the core-seconds it took."""
    start = time.process_time()
    found = jax.block_until_ready(call())
    return found, time.process_time() - start


def resemblance() -> dict:
    """C4, C5, C6, explained variance, held-out losses; core-seconds and the peak of memory."""
    held, images, levels = test()[1], data(MANY), (0.5, 1.0, 2.0, 5.0)
    D_G, covariance = timed(lambda: gauss(MANY))
    D_M = memory()
    apply(D_M, noisy(held, 1.0, 20), 1.0)
    _, batch = timed(lambda: apply(D_M, noisy(held, 1.0, 20), 1.0))
    D_L, distilled = timed(linear_map)
    denoisers = {"D_θ": dg.zoo.load(MANY), "D_L": D_L, "D_G": D_G, "D_M": D_M}
    apart, L_to_G, explained = {}, {}, {}
    for kind, x in (("training", images), ("held-out", held)):
        out = {name: outputs(E, x) for name, E in denoisers.items()}
        apart[kind] = {name: rmse(y, out["D_θ"]) for name, y in out.items() if name != "D_θ"}
        L_to_G[kind] = rmse(out["D_L"], out["D_G"])
        out = {name: outputs(E, x, levels) for name, E in denoisers.items()}
        net = out.pop("D_θ")
        explained[kind] = {
            name: (1 - ((y - net) ** 2).sum((1, 2)) / (net**2).sum((1, 2))).tolist() for name, y in out.items()
        }
    W = np.asarray(D_L.W)
    config = runs.run(MANY).config
    return {
        "sigmas": LEVELS.tolist(), "rmse": apart, "rmse of D_L and D_G": L_to_G,
        "nmse": [float((a**2).sum() / (gain(D_G, s) ** 2).sum()) for a, s in zip(W, LEVELS, strict=True)],
        "aligned": [aligned(D_L, D_G, i) for i in range(8)],
        "explained": {"sigmas": levels} | explained,
        "loss": {name: scoring.weighted_loss(E, held, config=config) for name, E in denoisers.items()},
        "cost": {"covariance": covariance, "D_M, 256 images": batch, "distillation, a level": distilled / 10,
                 "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20},
    }  # fmt: skip


def again(name: str) -> dict:
    """Another network of 50000 images beside the first: C6 at the two levels that decide it, loss and samples."""
    held, D, levels = test()[1], dg.zoo.load(name), LEVELS[6:8]
    ratio = {}
    for kind, x in (("training", data(MANY)), ("held-out", held)):
        net = outputs(D, x, levels)
        far, near = (rmse(outputs(E, x, levels), net)[0] for E in (memory(), gauss(MANY)))
        ratio[kind] = np.divide(far, near).tolist()
    one, other = draw(MANY), draw(name)
    return {
        "ratio at .470, .117": ratio,
        "to the first": rmse(outputs(D, held), outputs(dg.zoo.load(MANY), held)),
        "loss": scoring.weighted_loss(D, held, config=runs.run(name).config),
        "cosine": dg.sample_cosine(other, one, mean=data(MANY).mean(0)),
        "R²": dg.sample_r2(other, one, mean=data(MANY).mean(0)),
    }


@cache
def memory() -> dg.EmpiricalDenoiser:
    """D_M of 50000 images."""
    return dg.EmpiricalDenoiser.from_data(data(MANY))


@cache
def linear_map() -> dg.LinearDenoiser:
    """D_L of the first network of 50000 images."""
    D, base = dg.zoo.load(MANY), gauss(MANY)
    part = jax.random.fold_in(key, 21)
    return dg.distill(D, test()[0], LEVELS, key=part, samples=PAIRS, base=base, rank=RANK)


def gain(D_G, s: float) -> np.ndarray:
    """Wiener's factors λ/(λ + σ²)."""
    lam = np.asarray(D_G.lam, float)
    return lam / (lam + s**2)


def aligned(D_L, D_G, i: int) -> float:
    """The mean correlation of the first ten left singular vectors of W with the components.

    The vectors are eigenvectors of WWᵀ, of which ten are found without the other three thousand.
    """
    U = np.asarray(D_G.U, float)
    W = (U * gain(D_G, LEVELS[i])) @ U.T + np.asarray(D_L.W[i], float) @ np.asarray(D_L.V, float).T
    _, Q = eigh(W @ W.T, subset_by_index=[len(W) - 10, len(W) - 1])
    return float(abs((U[:, :10] * Q[:, ::-1]).sum(0)).mean())


def linearity() -> dict:
    """C3: the least score, raw and centred, and the largest deviation over twenty levels."""
    held = jnp.asarray(test()[1][:200])
    found = {}
    for name in (FEW, HALVES[0], MANY, SECOND):
        D, u = dg.zoo.load(name), jnp.asarray(data(name).mean(0))
        score = {"raw": [], "centred": [], "deviation": []}
        for s in np.geomspace(0.01, 80, 20):
            eps = jax.random.normal(jax.random.fold_in(key, 10), (2, 100, *held.shape[1:]))
            pair = held[:100] + s * eps[0], held[100:200] + s * eps[1]
            score["raw"].append(float(dg.linearity(D, *pair, s)))
            score["centred"].append(float(dg.linearity(D, *pair, s, mean=u)))
            score["deviation"].append(float(dg.linearity_deviation(D, *pair, s)))
        found[name] = score
    return {"sigmas": np.geomspace(0.01, 80, 20).tolist()} | found


def gap(D, G, images: np.ndarray) -> list[float]:
    """``dg.gap`` over the middle levels."""
    return list(dg.gap(D, G, images, MIDDLE, key=jax.random.fold_in(key, 30)))


def stopping() -> dict:
    """C2 and C9c: the gap to D_G over training, what a perfect memory would have, and GL of real images."""
    held, few = test()[1], data(FEW)
    kinds = {"training": few, "held-out": held}

    def course(name: str) -> dict:
        steps = runs.run(name).snapshots
        gaps = {kind: [gap(dg.zoo.load(name, t), gauss(FEW), x) for t in steps] for kind, x in kinds.items()}
        return {"steps": steps, "gap": gaps}

    return course(FEW) | {
        "wide": course(WIDE),
        "gap of D_M": gap(dg.EmpiricalDenoiser.from_data(few), gauss(FEW), few),
        "gap, many": {"training": gap(dg.zoo.load(MANY), gauss(MANY), data(MANY)),
                      "held-out": gap(dg.zoo.load(MANY), gauss(MANY), held)},
        "GL of real images": {name: dg.generalization(held[:100], data(name)).GL for name in NETS},
        "scores": {name: dg.zoo.record(name)["scores"] for name in NETS},
    }  # fmt: skip


def draw(D) -> np.ndarray:
    """Samples of a denoiser, or of a network by its name, from the same 100 noises: ten Euler steps."""
    D = dg.zoo.load(D) if isinstance(D, str) else D
    return np.asarray(dg.sample(D, dg.zoo.noise(100, (32, 32, 3)), jnp.asarray(LEVELS), step=dg.euler))


def samples() -> dict:
    """C11: agreement of the network's samples with those of the others from the same noise."""
    net, u = draw(MANY), data(MANY).mean(0)
    made = {name: draw(D) for name, D in (("D_L", linear_map()), ("D_G", gauss(MANY)), ("D_M", memory()))}
    return {"cosine": {name: dg.sample_cosine(x, net, mean=u) for name, x in made.items()},
            "R²": {name: dg.sample_r2(x, net, mean=u) for name, x in made.items()}}  # fmt: skip


def halves() -> dict:
    """C10: agreement of two networks that share no image; and with other noises, and with few images."""
    one, other, u = draw(HALVES[0]), draw(HALVES[1]), data(MANY).mean(0)
    config, held = runs.run(MANY).config, test()[1]
    return {
        "D_θ": dg.sample_cosine(one, other, mean=u),
        "other noises": dg.sample_cosine(np.roll(one, 1, 0), other, mean=u),
        "N = 256 and 25000": dg.sample_cosine(draw(FEW), one, mean=u),
        "loss": {name: scoring.weighted_loss(dg.zoo.load(name), held, config=config) for name in HALVES},
    }


def learnt() -> dict:
    """Squared error on held-out images at each level less that of D_G: below 0 the network knows more.

    Each with half of its 95 % interval, over the squared error of D_G; the same noisy images for both.
    """
    held = test()[1]
    pick = np.random.default_rng(1).choice(len(held), 1000)
    x0, found = held[pick], {name: [[], []] for name in (MANY, SECOND, MANY_WIDE, *HALVES)}
    for i, s in enumerate(LEVELS):
        y = jnp.asarray(x0) + s * jax.random.normal(jax.random.fold_in(key, 40 + i), x0.shape)
        base = np.asarray(((apply(gauss(MANY), y, s) - x0) ** 2).mean((1, 2, 3)))
        for name, (mean, half) in found.items():
            more = np.asarray(((apply(dg.zoo.load(name), y, s) - x0) ** 2).mean((1, 2, 3))) - base
            mean.append(float(more.mean() / base.mean()))
            half.append(float(1.96 * more.std() / len(more) ** 0.5 / base.mean()))
    return {"sigmas": LEVELS.tolist()} | found


PARTS = {"resemblance": resemblance, "linearity": linearity, "stopping": stopping, "samples": samples,
         "halves": halves, "seed": partial(again, SECOND), "wide": partial(again, MANY_WIDE), "learnt": learnt,
         "dimension": dimension.measure}  # fmt: skip


def main() -> int:
    """1 where a verdict is not the recorded one; the record is written all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--out", type=Path, default=PATH)
    options = parser.parse_args()
    record, lines = before(options.out), list[str]()
    for part in options.parts or PARTS:
        record[part] = PARTS[part]()
        if set(PARTS) <= set(record):
            claims = cifar10_claims.judge(record)
            record["claims"], lines = kept(claims), changed(claims, cifar10_claims.RECORDED)
            record["caution"] = cifar10_claims.caution(record)
        save(options.out, WHAT, COMMAND, record)
        print(part, "done", flush=True)
    for line in lines:
        print(f"✗ verdict {line}")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
