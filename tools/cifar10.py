"""Measure the claims on natural colour images, and write the numbers to data/zoo/cifar10.json.

python tools/cifar10.py [PART ...]     the parts: resemblance linearity stopping samples dimension; by default all

Needs the images: DIFFGAUSS_CIFAR10 names a folder or archive, or there is a network. The record holds numbers
only, so that the notebook and RESULTS.md do without them. The criteria are those of docs/claims.md;
`cifar10_claims` judges.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterable
from functools import cache

import cifar10_claims
import dimension
import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import eigh

import diffgauss as dg
from diffgauss import evaluate, runs

PATH = runs.folder() / "cifar10.json"
MANY, FEW = "cifar-n50000", "cifar-n256"
LEVELS = np.asarray(dg.karras_sigmas(10))
NETS = [name for name, this in runs.entries().items() if this.dataset == "cifar10"]
MIDDLE = LEVELS[2:7]  # 21.1 … 0.470
RANK, PAIRS = 1024, 16384  # W − W_G acts on so many components, fitted to so many pairs a level

key = jax.random.key(0)
apply = jax.jit(lambda D, x, s: D(x, s))
data, gauss = cache(runs.data), cache(lambda name: dg.GaussianDenoiser.from_data(data(name)))


@cache
def test() -> tuple[np.ndarray, np.ndarray]:
    """8000 test images to fit D_L to, and 2000 for all that is called held-out; shuffled, as they come by class."""
    images = runs.held_out(MANY)
    images = images[np.random.default_rng(0).permutation(len(images))]
    return images[:8000], images[8000:]


def noisy(images: np.ndarray, s: float, part: int, k: int = 256) -> jax.Array:
    """k images drawn by chance, with noise."""
    pick, noise = jax.random.split(jax.random.fold_in(key, part))
    x0 = jnp.asarray(images[np.asarray(jax.random.randint(pick, (k,), 0, len(images)))])
    return x0 + s * jax.random.normal(noise, x0.shape)


def outputs(D, images: np.ndarray, levels: Iterable[float] = LEVELS) -> np.ndarray:
    """(levels, 256, d): the answers to the same noisy images for every D."""
    return np.stack([np.asarray(apply(D, noisy(images, s, 20), s)).reshape(256, -1) for s in levels])


def rmse(a: np.ndarray, b: np.ndarray) -> list[list[float]]:
    """Equation 6 for each level, and half of its 95 % interval over the images."""
    each = np.sqrt(((a - b) ** 2).mean(-1))
    return np.stack([each.mean(1), 1.96 * each.std(1) / each.shape[1] ** 0.5]).tolist()


def timed(call) -> tuple:
    """What call returns, and the core-seconds it took."""
    start = time.process_time()
    found = jax.block_until_ready(call())
    return found, time.process_time() - start


def resemblance() -> dict:
    """C4, C5, C6, explained variance, held-out losses; core-seconds and the peak of memory."""
    fitted, held = test()
    D, second, images = dg.zoo.load(MANY), dg.zoo.load(f"{MANY}-seed1"), data(MANY)
    D_G, covariance = timed(lambda: gauss(MANY))
    D_M = dg.EmpiricalDenoiser.from_data(images)
    apply(D_M, noisy(held, 1.0, 20), 1.0)
    _, batch = timed(lambda: apply(D_M, noisy(held, 1.0, 20), 1.0))
    D_L, distilled = timed(lambda: linear_map())
    cost = {"covariance": covariance, "D_M, 256 images": batch, "distillation, a level": distilled / len(LEVELS)}
    denoisers = {"D_θ": D, "D_θ, seed 1": second, "D_L": D_L, "D_G": D_G, "D_M": D_M}
    apart, second_apart, L_to_G, explained = {}, {}, {}, {}
    for kind, x in (("training", images), ("held-out", held)):
        out = {name: outputs(E, x) for name, E in denoisers.items()}
        apart[kind] = {name: rmse(y, out["D_θ"]) for name, y in out.items() if name != "D_θ"}
        second_apart[kind] = {name: rmse(out[name], out["D_θ, seed 1"]) for name in ("D_G", "D_M")}
        L_to_G[kind] = rmse(out["D_L"], out["D_G"])
        levels = (0.5, 1, 2, 5)
        net = outputs(D, x, levels)
        explained[kind] = {
            name: (1 - ((outputs(E, x, levels) - net) ** 2).sum((1, 2)) / (net**2).sum((1, 2))).tolist()
            for name, E in denoisers.items() if name != "D_θ"
        }  # fmt: skip
    W = np.asarray(D_L.W)
    return {
        "sigmas": LEVELS.tolist(), "rmse": apart, "rmse to seed 1": second_apart, "rmse of D_L and D_G": L_to_G,
        "nmse": [float((a**2).sum() / (gain(D_G, s) ** 2).sum()) for a, s in zip(W, LEVELS, strict=True)],
        "aligned": [aligned(D_L, D_G, i) for i in range(8)],
        "explained": {"sigmas": [0.5, 1, 2, 5]} | explained,
        "loss": {n: evaluate.weighted_loss(E, held, config=runs.run(MANY).config) for n, E in denoisers.items()},
        "cost": cost | {"peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20},
    }  # fmt: skip


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
    held = test()[1]
    found = {}
    for name in (FEW, "cifar-n25000", MANY, f"{MANY}-seed1"):
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
    """Equation 16, and half of its 95 % interval over 256 images."""
    each = [np.sqrt(((apply(D, y, s) - apply(G, y, s)) ** 2).mean((1, 2, 3)))
            for s in MIDDLE for y in [noisy(images, s, 30)]]  # fmt: skip
    g = np.mean(each, 0)
    return [float(g.mean()), float(1.96 * g.std() / len(g) ** 0.5)]


def stopping() -> dict:
    """C2 and C9c: the gap to D_G over training, what a perfect memory would have, and GL of real images."""
    held, few = test()[1], data(FEW)
    steps = runs.run(FEW).snapshots
    kinds = {"training": few, "held-out": held}
    return {
        "steps": steps,
        "gap": {kind: [gap(dg.zoo.load(FEW, t), gauss(FEW), x) for t in steps] for kind, x in kinds.items()},
        "gap of D_M": gap(dg.EmpiricalDenoiser.from_data(few), gauss(FEW), few),
        "gap, many": {"training": gap(dg.zoo.load(MANY), gauss(MANY), data(MANY)),
                      "held-out": gap(dg.zoo.load(MANY), gauss(MANY), held)},
        "GL of real images": {n: dg.generalization(held[:100], data(n)).GL for n in NETS},
        "scores": {n: dg.zoo.record(n)["scores"] for n in NETS},
    }  # fmt: skip


def samples() -> dict:
    """C10 and C11: agreement of samples from the same 100 noises, ten Euler steps."""
    start, u = dg.zoo.noise(100, (32, 32, 3)), data(MANY).mean(0)

    def draw(D):
        return np.asarray(dg.sample(D, start, jnp.asarray(LEVELS), step=dg.euler))

    nets = {name: draw(dg.zoo.load(name)) for name in NETS}
    half, other = "cifar-n25000", "cifar-n25000-other"
    D_M = dg.EmpiricalDenoiser.from_data(data(MANY))
    stand_ins = {name: draw(D) for name, D in (("D_L", linear_map()), ("D_G", gauss(MANY)), ("D_M", D_M))}
    stand_ins["D_θ, seed 1"] = nets[f"{MANY}-seed1"]
    return {
        "cosine": {n: dg.sample_cosine(x, nets[MANY], mean=u) for n, x in stand_ins.items()},
        "R²": {n: dg.sample_r2(x, nets[MANY], mean=u) for n, x in stand_ins.items()},
        "halves": {
            "D_θ": dg.sample_cosine(nets[half], nets[other], mean=u),
            "D_G": dg.sample_cosine(draw(gauss(half)), draw(gauss(other)), mean=u),
            "other noises": dg.sample_cosine(np.roll(nets[half], 1, 0), nets[other], mean=u),
            "N = 256 and 50000": dg.sample_cosine(nets[FEW], nets[MANY], mean=u),
        },
    }


PARTS = {"resemblance": resemblance, "linearity": linearity, "stopping": stopping, "samples": samples,
         "dimension": dimension.measure}  # fmt: skip


def rounded(x):
    """Floats to five digits: a record is read by people too."""
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [rounded(v) for v in x]
    return float(f"{x:.5g}") if isinstance(x, float) else x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    record = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    for part in parser.parse_args().parts or PARTS:
        record[part] = rounded(PARTS[part]())
        record["computer"] = runs.computer()
        if set(PARTS) <= set(record):
            record["claims"] = [claim._asdict() for claim in cifar10_claims.judge(record)]
        PATH.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(part, "done", flush=True)


if __name__ == "__main__":
    main()
