"""What denoisers that no training made score by the criteria of docs/claims.md: data/results/nulls.json.

python experiments/nulls.py [--out PATH]

D_G, D_M and ten Gaussians, one a class, take the place of the network of 60000 clothes, and where a criterion asks
for smaller sets, of those too. A criterion that all of them meet says nothing of networks; one that D_G alone meets
asks for a Gaussian. The Jacobian of D_M is that of its first 4096 images. About 15 core-minutes.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from record import save
from scipy.stats import spearmanr

import diffgauss as dg
from diffgauss.results import folder

WHAT = "Denoisers that no training made, judged by the criteria for networks."
TEN, GRID = np.asarray(dg.karras_sigmas(10)), dg.karras_sigmas(18)
ENDS, MIDDLE = [0, 1, 2, 7, 8, 9], [3, 4, 5, 6]
SIZES = (64, 1024, 60000)
KEY = jax.random.key(70)
KINDS = ("held-out", "training")

Found = dict[str, dict[str, tuple[str, bool]]]


def made(name: str, n: int, part: slice = slice(None)) -> dg.Denoiser:
    """The null denoiser of that name of n of the clothes; part: of all images, for halves."""
    images = dg.zoo.data(f"n{n}")[part]
    if name == "D_G":
        return dg.GaussianDenoiser.from_data(images)
    if name == "D_M":
        return dg.EmpiricalDenoiser.from_data(images)
    everything = dg.load()
    order = {image.tobytes(): label for image, label in zip(everything, dg.data.labels(), strict=True)}
    return dg.MixtureDenoiser.from_data(images, np.array([order[image.tobytes()] for image in images]))


def outputs(D: dg.Denoiser, images: np.ndarray, levels=TEN) -> np.ndarray:
    """Answers to 256 noisy images at each level, (levels, 256, d); the same noises for every denoiser."""
    seen = [dg.noisy(images, s, 256, key=KEY) for s in levels]
    return np.stack([np.asarray(dg.apply(D, x, s)).reshape(256, -1) for x, s in zip(seen, levels, strict=True)])


def drawn(D: dg.Denoiser, k: int = 100) -> np.ndarray:
    start = dg.zoo.noise(k)
    if isinstance(D, dg.GaussianDenoiser):
        return np.asarray(D.flow(start, 80.0, 0.0))
    return np.asarray(dg.sample(D, start, GRID))


def several(values, digits: int = 2) -> str:
    return " / ".join(f"{v:.{digits}f}" for v in values)


def judge(nulls: dict[str, dg.Denoiser]) -> Found:
    """{claim: {null: (what it measured, whether it meets the criterion)}}."""
    test, train = dg.load(split="test"), dg.zoo.data("n60000")
    fitted, held = test[:8000], test[8000:]
    images = dict(zip(KINDS, (held, train), strict=True))
    G, M = nulls["D_G"], nulls["D_M"]
    out = {(kind, name): outputs(D, images[kind]) for kind in KINDS for name, D in nulls.items()}
    x = np.stack([np.asarray(dg.noisy(held, s, 256, key=KEY)).reshape(256, -1) for s in TEN])
    ten = outputs(dg.GaussianDenoiser.from_data(train, rank=10), held)
    pictures, u = {name: drawn(D) for name, D in nulls.items()}, train.mean(0)
    real, U = dg.generalization(held[:100], train).GL, np.asarray(G.U)  # type: ignore[attr-defined]
    found: Found = {}

    def note(claim: str, name: str, text: str, passes: bool) -> None:
        found.setdefault(claim, {})[name] = (text, bool(passes))
        print(claim, name, text, bool(passes), flush=True)

    for name, D in nulls.items():
        copies = dg.generalization(pictures[name], train)
        note("C2", name, f"copies {copies.memorized:.0%}, GL {copies.GL / real:.2f} of held-out images'",
             copies.memorized <= 0.02 and copies.GL >= 0.8 * real)  # fmt: skip
        L = dg.distill(D, fitted, TEN, key=KEY, samples=4096, base=G)  # type: ignore[arg-type]
        linear = {kind: outputs(L, images[kind]) for kind in KINDS}
        own = np.stack([dg.rmse(linear[kind], out[kind, name])[0] for kind in KINDS]).max(0)
        note("C4", name, f"RMSE ≤ {own[ENDS].max():.3f} at the six outer levels, ≤ {own[MIDDLE].max():.3f} between",
             own[ENDS].max() <= 0.05 and own[MIDDLE].max() <= 0.2)  # fmt: skip
        apart = np.stack([dg.rmse(linear[kind], out[kind, "D_G"])[0] for kind in KINDS]).max(0)
        W = [np.asarray(w, float) for w in L.W]
        W_G = [np.asarray(dg.affine(G, (28, 28, 1), s)[0], float) for s in TEN]  # type: ignore[arg-type]
        nmse = [float(dg.weight_nmse(a, b)) for a, b in zip(W, W_G, strict=True)]
        note("C5", name, f"RMSE ≤ {apart.max():.3f}, weight NMSE ≤ {max(nmse):.2f}; without the singular vectors",
             apart.max() <= 0.05 and sum(v <= 0.2 for v in nmse) >= 6)  # fmt: skip
        tilt = max(np.linalg.norm(w - w.T) / np.linalg.norm(w + w.T) for w in W[:8])
        note("C14", name, f"asymmetry ≤ {tilt:.3f}; without the singular values", bool(tilt <= 0.1))
        ratio = {}
        for kind in KINDS:
            to_M, to_G = (dg.rmse(out[kind, other], out[kind, name])[0][6:8] for other in ("D_M", "D_G"))
            ratio[kind] = to_M / np.maximum(to_G, 1e-9)
        text = "; ".join(f"{k} {several(r)}" if r.max() < 1e3 else f"{k} ∞" for k, r in ratio.items())
        note("C6", name, text, min(r.min() for r in ratio.values()) >= 1.5)
        near = [dg.sample_cosine(pictures[other], pictures[name], mean=u) for other in ("D_G", "D_M")]
        note("C11", name, f"cosine with D_G's {near[0].value:.2f}, with D_M's {near[1].value:.2f}",
             near[0].low > near[1].high)  # fmt: skip
        ends = dg.rmse(out["held-out", name], x)[0][8:], dg.rmse(out["held-out", name], ten)[0][:2]
        note("C12", name, f"to the input ≤ {ends[0].max():.3f}, to D_G of ten components ≤ {ends[1].max():.3f}",
             ends[0].max() <= 0.02 and ends[1].max() <= 0.05)  # fmt: skip
        smaller = dg.EmpiricalDenoiser.from_data(train[:4096]) if D is M else D
        align = []
        for s in TEN[[0, 2, 5]]:
            V = dg.jacobian_svd(smaller, dg.noisy(held, s, 2, key=KEY), s, 10, key=KEY)[1]
            align.append(float(np.mean(dg.subspace_alignment(U[:, :10], V))))
        note("C13", name, f"alignment {several(align[:2])} at 80, 21.1, {align[2]:.2f} at 1.50",
             min(align[:2]) >= 0.9 and align[2] <= 0.6)  # fmt: skip
    for name in nulls:
        families(name, nulls, held, u, note)
    return found


def families(name: str, nulls: dict[str, dg.Denoiser], held: np.ndarray, u: np.ndarray, note) -> None:
    """C3, C8, C9a and C10: null denoisers of sets of several sizes. Ten Gaussians need 1024 images or more."""
    sizes = SIZES[1:] if name == "mixture" else SIZES
    family = {n: nulls[name] if n == 60000 else made(name, n) for n in sizes}
    gauss = {n: nulls["D_G"] if n == 60000 else made("D_G", n) for n in sizes}
    labels = f"N = {', '.join(map(str, sizes))}"
    least = []
    for n, D in family.items():
        mean = dg.zoo.data(f"n{n}").mean(0)  # of its own images
        scores = []
        for s in TEN[2:7]:
            one, two = (dg.noisy(held, s, 100, key=jax.random.fold_in(KEY, i)) for i in (1, 2))
            scores.append(float(dg.linearity(D, one, two, s, mean=jax.numpy.asarray(mean))))
        least.append(min(scores))
    rises = np.diff(least).min() > 0.005
    note("C3", name, f"least centred score {several(least)} at {labels}", rises)
    gaps = []
    for n, D in family.items():
        own = dg.zoo.data(f"n{n}")
        gaps.append(dg.gap(D, gauss[n], own, TEN[2:7], key=KEY)[0])
    falls = len(gaps) > 2 and float(np.asarray(spearmanr(sizes, gaps))[0]) <= -0.9
    note("C9a", name, f"gap {several(gaps, 3)} at {labels}", falls)
    if name != "mixture":
        far = []
        for n in (64, 60000):
            L = dg.distill(family[n], dg.load(split="test")[:8000], TEN, key=KEY, samples=4096, base=gauss[n])  # type: ignore[arg-type]
            far.append(dg.rmse(outputs(L, held), outputs(gauss[n], held))[0].max())
        note("C8", name, f"largest RMSE to D_G {several(far, 3)} at N = 64, 60000", far[0] >= 2 * far[1] > 1e-6)
        small = made(name, 64), another(name)
        large = [made(name, 60000, part) for part in (slice(0, 16384), slice(16384, 32768))]
        agree = [dg.sample_cosine(*map(drawn, two), mean=u).value for two in (large, small)]
        note("C10", name, f"agreement {several(agree)} for halves of 16384 and of 64",
             agree[0] >= 0.8 and agree[1] <= 0.5)  # fmt: skip


def another(name: str) -> dg.Denoiser:
    """The null denoiser of 64 images that n64 has not."""
    images = dg.zoo.data("n64-other")
    factory = dg.GaussianDenoiser if name == "D_G" else dg.EmpiricalDenoiser
    return factory.from_data(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=folder() / "nulls.json")
    options = parser.parse_args()
    found = judge({name: made(name, 60000) for name in ("D_G", "mixture", "D_M")})
    save(options.out, WHAT, "python experiments/nulls.py", {"claims": found})


if __name__ == "__main__":
    main()
