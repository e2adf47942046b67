"""What the section "One kind of image" of docs/claims.md is judged by, besides the scores in zoo.json.

python experiments/one_kind.py [PART ...] [--out PATH]     the parts: by default all, see PARTS

A network that is not in the zoo yet is left out, and so is one of X-rays or colour images that are not at hand
(DIFFGAUSS_PNEUMONIAMNIST, DIFFGAUSS_CIFAR10). The record says which were there.
"""

import argparse
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import jax
import numpy as np
import one_kind_claims
from record import before, changed, kept, save

import diffgauss as dg
from diffgauss.estimate import bootstrap
from diffgauss.results import folder
from diffgauss.zoo import runs

LEVELS = np.asarray(dg.karras_sigmas(10), float)
SEEDS = {
    "sneakers": ("sneaker-n3000", "sneaker-n3000-seed1", "sneaker-n3000-seed2"),
    "T-shirts": ("tshirt-n3000", "tshirt-n3000-seed1"),
    "X-rays": ("xray-n3400", "xray-n3400-seed1"),
    "ten classes": ("n60000", "n60000-seed1"),
    "colour": ("cifar-n50000", "cifar-n50000-seed1"),
}
"""Networks of the same images, which differ in weights, batches and noise."""
FLAGSHIP = "n60000-small"

ESTIMATED = {"sneakers": "sneaker-n3000", "ten classes": "n60000", "colour": "cifar-n50000"}
DISTILLED = (*SEEDS["sneakers"], *(f"sneaker-n{n}{seed}" for n in (64, 16) for seed in ("", "-seed1", "-seed2")))


def there(name: str) -> bool:
    """Whether the network is in the zoo and its images are at hand."""
    try:
        runs.data(name)
    except (FileNotFoundError, ModuleNotFoundError, ValueError):
        return False
    return name in dg.zoo.shipped()


def held(name: str, k: int | None = None) -> np.ndarray:
    """The held-out images, shuffled, or k of them."""
    images = runs.held_out(name)
    return dg.subset(images, min(k or len(images), len(images)), seed=runs.SUBSET_SEED)


def pull() -> dict:
    """a of equation 34 for each pair of seeds, and c* of each seed, on up to 4000 held-out images: {σ: …}."""
    found: dict[str, dict] = {}
    for kind, names in SEEDS.items():
        names = [name for name in names if there(name)]
        if len(names) < 2:
            continue
        x0, D_G = held(names[0], 4000), dg.GaussianDenoiser.from_data(dg.zoo.data(names[0]))
        nets, key = {name: dg.zoo.load(name) for name in names}, jax.random.key(40)
        found[kind] = {"images": len(x0), "pull": {}, "excess": {}}
        for i, s in enumerate(LEVELS[4:8]):
            own = jax.random.fold_in(key, i)
            found[kind]["pull"][f"{s:.3g}"] = {
                f"{a}, {b}": dg.pull(nets[a], nets[b], D_G, x0, s, key=own) for a, b in combinations(names, 2)
            }
            found[kind]["excess"][f"{s:.3g}"] = {n: dg.excess(D, D_G, x0, s, key=own) for n, D in nets.items()}
        print(kind, found[kind]["pull"], flush=True)
    return found


def cosine() -> dict:
    """Median centred cosine of the samples of two networks (C10s), of the same noises and of different ones."""
    pairs = {
        "halves": [("sneaker-n3000", "sneaker-n3000-other")],
        "64": list(combinations([f"sneaker-n64{s}" for s in ("", "-seed1", "-seed2")], 2)),
        "256": list(combinations([f"sneaker-n256{s}" for s in ("", "-seed1", "-seed2")], 2)),
        "256, width 4": list(combinations([f"sneaker-n256-w4{s}" for s in ("", "-seed1", "-seed2")], 2)),
    }
    drawn, found = {}, {}
    for kind, both in pairs.items():
        for pair in both:
            if not all(map(there, pair)):
                continue
            for name in pair:
                if name not in drawn:
                    drawn[name] = np.asarray(dg.sample(dg.zoo.load(name), dg.zoo.noise(), dg.karras_sigmas(18)))
            a, b = (drawn[name] for name in pair)
            mean = (runs.data(pair[0]).mean(0) + runs.data(pair[1]).mean(0)) / 2
            found.setdefault(kind, {})[", ".join(pair)] = {
                "same noise": dg.sample_cosine(a, b, mean=mean),
                "other noise": dg.sample_cosine(a, np.roll(b, 1, 0), mean=mean),
            }
    return found


def distilled() -> dict:
    """C4s, C5s and C8s: the plain D_L of each network, its distance from D_θ and, cross-fit, from D_G."""
    found = {}
    for name in filter(there, DISTILLED):
        D, D_G = dg.zoo.load(name), dg.GaussianDenoiser.from_data(dg.zoo.data(name))
        images, key = held(name), jax.random.key(41)
        fitted, fresh = np.split(images, [3 * len(images) // 4])
        D_L = dg.distill(D, fitted, LEVELS, key=key, samples=16384, base=D_G, ridge=0)
        rows = []
        for i, s in enumerate(LEVELS):
            own = jax.random.fold_in(key, i)
            apart = dg.linear_distance(D, D_G, images, s, key=own)
            x = dg.noisy(fresh, s, 1000, key=own)
            rows.append({
                "sigma": float(s), "D_L to D_θ": float(dg.score_rmse(D_L, D, x, s)),
                "D_G to D_θ": float(dg.score_rmse(D_G, D, x, s)), "square": apart, "nmse": apart.nmse,
                "components": float(np.diag(dg.pc_similarity(D_L.W[i], D_G.U, k=10)).mean()),
            })  # fmt: skip
            print(name, rows[-1], flush=True)
        found[name] = rows
    return found


def estimates() -> dict:
    """How far D_L is from D_G by three estimates of D_L, at each level: {kind: [level, …]}.

    shrunk: as notebooks use it, drawn towards D_G (equation 5b), in colour along 1024 components alone, so that
    W = W_G on the other 2048 by construction; plain: least squares of as many pairs; unbiased: products of two
    plain fits to disjoint images. rmse: of D_L and D_G on fresh images; square: its mean square with an interval.
    Colour has six of the levels, a coarser jackknife and only the distances: a fit there has 3073 unknowns.
    """
    found: dict[str, list] = {}
    for kind, name in ESTIMATED.items():
        if not there(name):
            continue
        D, D_G, images = dg.zoo.load(name), dg.GaussianDenoiser.from_data(dg.zoo.data(name)), held(name)
        fitted, fresh = np.split(images, [4 * len(images) // 5])
        ways = {"shrunk": (fitted, {"rank": 1024 if kind == "colour" else None}), "plain": (fitted, {"ridge": 0.0})}
        if kind != "colour":
            ways |= {"one": (fitted[::2], {"ridge": 0.0}), "two": (fitted[1::2], {"ridge": 0.0})}
        found[kind], levels, groups = [], LEVELS, 8
        if kind == "colour":
            levels, groups = LEVELS[[0, 2, 4, 5, 6, 7]], 4
        for i, s in enumerate(levels):
            key, W = jax.random.fold_in(jax.random.key(45), i), {}
            row: dict[str, Any] = {"sigma": float(s)}
            x, W_G = dg.noisy(fresh, s, 1000, key=key), dg.affine(D_G, images.shape[1:], s)[0]
            for label, (of, options) in ways.items():
                own = jax.random.fold_in(key, len(W))
                D_L = dg.distill(D, of, [s], key=own, base=D_G, **options)
                W[label] = np.asarray(D_L.W[0] if D_L.V is None else W_G + D_L.W[0] @ D_L.V.T, float)
                if label in ("shrunk", "plain"):
                    row[label] = {"rmse": float(dg.score_rmse(D_L, D_G, x, s))}
                    row[label] |= products(W[label], W[label], D_G, W_G, s)
            apart = dg.linear_distance(D, D_G, images, s, key=key, groups=groups)
            row["unbiased"] = {} if kind == "colour" else products(W["one"], W["two"], D_G, W_G, s)
            row["unbiased"] |= {"square": apart, "nmse": apart.nmse}
            found[kind].append(row)
            print(kind, row, flush=True)
    return found


def products(A: np.ndarray, B: np.ndarray, D_G: dg.GaussianDenoiser, W_G: jax.Array, s: float) -> dict[str, float]:
    """Squares of A − W_G where A is B; unbiased for them where A and B are independent fits of one map.

    nmse: of the weights (equation 10); asymmetry: ‖W − Wᵀ‖²/‖W + Wᵀ‖²; gains: the mean square difference of uⱼᵀWuⱼ
    from Wiener's factor, over a hundred components.
    """
    G, U, lam = np.asarray(W_G, float), np.asarray(D_G.U[:, :100], float), np.asarray(D_G.lam[:100], float)
    a, b = ((((M @ U) * U).sum(0) - lam / (lam + s**2)) for M in (A, B))
    return {
        "nmse": float(((A - G) * (B - G)).sum() / (G**2).sum()),
        "asymmetry": float(((A - A.T) * (B - B.T)).sum() / ((A + A.T) * (B + B.T)).sum()),
        "gains": float((a * b).mean()),
    }


def skill() -> dict:
    """Qs: the root mean square of D_θ − D_G, and √(q mse(D_G)) with q of the other seed: {σ: {name: [both]}}."""
    found: dict[str, dict] = {}
    for kind, names in SEEDS.items():
        if not all(map(there, names[:2])):
            continue
        x0, D_G = held(names[0], 4000), dg.GaussianDenoiser.from_data(dg.zoo.data(names[0]))
        key, found[kind] = jax.random.key(43), {}
        for i, s in enumerate(LEVELS[5:7]):
            own, apart, q = jax.random.fold_in(key, i), {}, {}
            x = x0 + np.float32(s) * np.asarray(jax.random.normal(own, x0.shape))
            base = answers(D_G, x, s)
            error = ((base - x0) ** 2).mean()
            for name in names[:2]:
                D = answers(dg.zoo.load(name), x, s)
                apart[name] = float(np.sqrt(((D - base) ** 2).mean()))
                q[name] = float(1 - ((D - x0) ** 2).mean() / error)
            found[kind][f"{s:.3g}"] = {
                a: [apart[a], float(np.sqrt(max(q[b], 0) * error))] for a, b in permutations(names[:2])
            }
        print(kind, found[kind], flush=True)
    return found


def answers(D: dg.Denoiser, x: np.ndarray | jax.Array, s: float) -> np.ndarray:
    """D(x; σ) in blocks, in float64."""
    return np.concatenate(
        [np.asarray(dg.apply(D, part, np.float32(s)), float) for part in np.array_split(np.asarray(x), 10)]
    )


def flagship() -> dict:
    """FL1 and FL2 of the network at full resolution, the slope of smaller ones towards it, and its neighbours.

    spectrum: the mean power of 1000 samples at 1 to 14 cycles an image over that of held-out images, of the images
    as they are and less the mean image of the held-out ones; slope: E⟨D_θ − D_G, D − D_G⟩/E‖D − D_G‖² on held-out
    images with the flagship as D, where 1 is a network that has gone as far along D − D_G as it has.
    """
    best, images, x0 = dg.zoo.load(FLAGSHIP), dg.zoo.data(FLAGSHIP), dg.load(split="test")
    scores = dg.zoo.record(FLAGSHIP)["scores"]
    found: dict = {"loss over D_G's": scores[max(scores, key=int)]["loss_ratio"], "spectrum": {}, "slope": {}}
    for name in (*SEEDS["ten classes"], FLAGSHIP):
        start = np.split(np.asarray(runs.noise(1000)), 10)
        drawn = np.concatenate([dg.sample(dg.zoo.load(name), z, dg.karras_sigmas(18)) for z in start])
        found["spectrum"][name] = {
            label: (radial_power(drawn - mean) / radial_power(x0 - mean)).tolist()
            for label, mean in (("as they are", 0.0), ("less the mean", x0.mean(0)))
        }
    D_G, key = dg.GaussianDenoiser.from_data(images), jax.random.key(44)
    for i, s in enumerate(LEVELS[4:8]):
        x = dg.noisy(x0, s, 4000, key=jax.random.fold_in(key, i))
        base = answers(D_G, x, s)
        towards = (answers(best, x, s) - base).reshape(len(x), -1)
        for name in SEEDS["ten classes"]:
            v = (answers(dg.zoo.load(name), x, s) - base).reshape(len(x), -1)
            above, below = (v * towards).sum(1), (towards**2).sum(1)
            slope = bootstrap(lambda rows, a=above, b=below: a[rows].sum(-1) / b[rows].sum(-1), len(x))
            found["slope"].setdefault(f"{s:.3g}", {})[name] = slope
    print(found, flush=True)
    return found


def radial_power(images: np.ndarray) -> np.ndarray:
    """The mean of |FFT|² over grey images and over the frequencies that round to 1, 2, … 14 cycles an image."""
    power = (abs(np.fft.fft2(np.asarray(images, float)[..., 0])) ** 2).mean(0)
    k = np.fft.fftfreq(len(power), 1 / len(power))
    radius = np.rint(np.hypot(k[:, None], k)).astype(int)
    return np.array([power[radius == r].mean() for r in range(1, len(power) // 2 + 1)])


PARTS = {
    "pull": pull,
    "cosine": cosine,
    "distilled": distilled,
    "estimates": estimates,
    "skill": skill,
    "flagship": flagship,
}
WHAT = "Networks of one kind of image, and the larger one of all: numbers, and the verdicts that follow."


def bias(part: dict) -> str:
    """The verdict on sneakers, as docs/claims.md has it: found, excluded or undecided."""
    pairs = [e for s in ("1.5", "0.47") for e in part["sneakers"]["pull"][s].values()]
    if len(pairs) < 6:
        return "needs three seeds"
    if all(high < 1 for _, _, high in pairs):
        return "found"
    return "excluded" if all(low >= 0.98 for _, low, _ in pairs) else "undecided"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, "claims", []], help="default: all; claims: judge what the record has"
    )
    parser.add_argument("--out", type=Path, default=folder() / "one_kind.json")
    options = parser.parse_args()
    numbers = before(options.out)
    for part in PARTS if not options.parts else [part for part in options.parts if part != "claims"]:
        numbers[part] = PARTS[part]()
        save(options.out, WHAT, "python experiments/one_kind.py", numbers)
    if "pull" in numbers:
        numbers["bias"] = bias(numbers["pull"])
    claims = one_kind_claims.judge(dg.zoo.shipped(), numbers, dg.results("levels"))
    numbers |= {"claims": kept(claims), "networks": one_kind_claims.intervals(dg.zoo.shipped())}
    save(options.out, WHAT, "python experiments/one_kind.py", numbers)
    if lines := changed(claims, one_kind_claims.RECORDED):
        raise SystemExit("\n".join(lines))


if __name__ == "__main__":
    main()
