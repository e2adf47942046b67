"""Networks of three kinds, each trained at one noise level alone: claims F24 and B5m of docs/claims.md.

python experiments/levels.py [--kind KIND] [--data NAME] [--out PATH]     about an hour of one core

A network whose numbers are in the record is not trained again, so a stopped run goes on. X-rays need their file
(DIFFGAUSS_PNEUMONIAMNIST) and are left out without it.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from one_kind import held as held_out
from record import before, save
from scipy.stats import spearmanr

import diffgauss as dg
from diffgauss.beyond.theory import half_way
from diffgauss.core import Sigma, expand
from diffgauss.nets.layers import Conv, double, from_patches, halve, normal, to_patches, zero
from diffgauss.nets.unet import parameters
from diffgauss.results import folder
from diffgauss.train import TrainConfig, TrainState, fit, weight
from diffgauss.zoo import runs

WHAT = "Networks of three kinds, each trained at one noise level alone."
DATA = {"sneakers": "sneaker-n3000", "X-rays": "xray-n3400"}
"""Kind of image, and the run of the zoo that has the same images."""
LEVELS = np.asarray(dg.karras_sigmas(10), float)
STEPS, FIRST, COMPONENTS = 2048, 8, 100
"""Of training; gains are kept after FIRST·2^k of them; along so many principal components."""


class MLP(nnx.Module):
    """784 → 512 → 512 → 784, with SiLU."""

    def __init__(self, rngs: nnx.Rngs):
        sizes = (784, 512, 512, 784)
        starts = (normal, normal, zero)
        self.layers = nnx.data([
            nnx.Linear(n, m, kernel_init=start, rngs=rngs)
            for n, m, start in zip(sizes, sizes[1:], starts, strict=False)
        ])  # fmt: skip

    def __call__(self, x: Float[Array, " b 28 28 1"]) -> Float[Array, " b 28 28 1"]:
        first, *rest = self.layers
        h = first(x.reshape(len(x), -1))
        for layer in rest:
            h = layer(jax.nn.silu(h))
        return h.reshape(x.shape)


class Convolutional(nnx.Module):
    """3×3 convolutions on patches of 2×2 pixels, 14×14 → 7×7 → 14×14, with SiLU."""

    def __init__(self, rngs: nnx.Rngs):
        sizes = (4, 32, 64, 64, 32, 4)
        starts = (normal,) * 4 + (zero,)
        self.layers = nnx.data([
            Conv(n, m, rngs=rngs, kernel_init=start)
            for n, m, start in zip(sizes, sizes[1:], starts, strict=False)
        ])  # fmt: skip

    def __call__(self, x: Float[Array, " b 28 28 1"]) -> Float[Array, " b 28 28 1"]:
        one, two, three, four, last = self.layers
        h = halve(jax.nn.silu(one(to_patches(x, 2))))
        h = double(jax.nn.silu(three(jax.nn.silu(two(h)))))
        return from_patches(last(jax.nn.silu(four(h))), 2)


class Transformer(nnx.Module):
    """49 patches of 4×4 pixels, a place learnt for each, two blocks of attention (four heads) and dense layers."""

    def __init__(self, rngs: nnx.Rngs, width: int = 96):
        dense = lambda n, m, start=normal: nnx.Linear(n, m, kernel_init=start, rngs=rngs)  # noqa: E731
        self.into, self.out = dense(16, width), dense(width, 16, zero)
        self.place = nnx.Param(0.02 * normal(rngs.params(), (49, width)))
        self.blocks = nnx.data([
            (nnx.LayerNorm(width, rngs=rngs), dense(width, 3 * width), dense(width, width, zero),
             nnx.LayerNorm(width, rngs=rngs), dense(width, 2 * width), dense(2 * width, width, zero))
            for _ in range(2)
        ])  # fmt: skip

    def __call__(self, x: Float[Array, " b 28 28 1"]) -> Float[Array, " b 28 28 1"]:
        patches = to_patches(x, 4)
        h = self.into(patches.reshape(len(x), 49, 16)) + self.place[...][None]
        for norm1, attend, merge, norm2, widen, narrow in self.blocks:
            q, k, v = (part.reshape(len(x), 49, 4, -1) for part in jnp.split(attend(norm1(h)), 3, -1))
            h = h + merge(jax.nn.dot_product_attention(q, k, v).reshape(h.shape))
            h = h + narrow(jax.nn.silu(widen(norm2(h))))
        return from_patches(self.out(h).reshape(patches.shape), 4)


KINDS: dict[str, Callable] = {"convolutional": Convolutional, "MLP": MLP, "transformer": Transformer}


class Autoencoder(nnx.Module):
    """D(x; σ) = F(x/√(σ² + σ_data²)): one level's denoiser, which has no skip and is not told the level."""

    def __init__(self, net: nnx.Module, sigma_data: float):
        self.net, self.sigma_data = net, sigma_data

    def __call__(self, x: Float[Array, " b *event"], sigma: Sigma) -> Float[Array, " b *event"]:
        level = expand(sigma, x)
        return self.net(x / jnp.sqrt(level**2 + self.sigma_data**2))  # type: ignore[operator]


def trained(
    kind: str,
    images: np.ndarray,
    sigma: float,
    sigma_data: float,
    *,
    steps: int,
    keep: Callable | None = None,
    rate: float = 4e-3,
) -> tuple[Autoencoder, np.ndarray]:
    """The network of one kind and level, its weights averaged, and its losses, E‖D(x; σ) − x₀‖²/d of each step.

    The weight of equation 3 is one number at one level, and a step of Adam does not change with the loss's unit.
    rate: of 1e-3 and 4e-3 the one whose training loss after 256 steps was lower for all three kinds (σ = 1.50).
    """
    config = TrainConfig(
        steps=steps,
        rate=rate,
        cooldown=steps // 2,
        clip=1e30,
        sigma_mean=float(np.log(sigma)),
        sigma_std=0.0,
        sigma_data=sigma_data,
    )
    start = TrainState.start(Autoencoder(KINDS[kind](nnx.Rngs(0)), sigma_data), config)
    state, losses = fit(start, images, config, every=FIRST, keep=keep, progress=False)
    return state.ema, losses / float(weight(jnp.float32(sigma), sigma_data))


def gains(D: dg.Denoiser, x0: np.ndarray, D_G: dg.GaussianDenoiser, sigma: float) -> np.ndarray:
    """The slope of D's output on its input along the first principal components, over noisy x0."""
    U = np.asarray(D_G.U)[:, :COMPONENTS]
    x = dg.noisy(x0, sigma, len(x0), key=jax.random.key(6))
    z, out = (
        np.asarray(part - D_G.mean[None]).reshape(len(x), -1) @ U
        for part in (x, dg.apply(D, x, jnp.float32(sigma)))
    )
    return (z * out).sum(0) / (z**2).sum(0)


def measured(name: str, kind: str, i: int) -> dict:
    """All numbers of one network: its loss, q, p, RMSE to D_G and D_M, and for MLPs the gains over training."""
    run, sigma, began = runs.run(DATA[name]), float(LEVELS[i]), time.time()
    images, held = runs.data(DATA[name]), held_out(DATA[name], 1000)
    D_G, D_M = dg.GaussianDenoiser.from_data(images), dg.EmpiricalDenoiser.from_data(images)
    key, grown = jax.random.fold_in(jax.random.key(42), i), {}

    def keep(state: TrainState, losses: np.ndarray) -> None:
        step = len(losses)
        if kind == "MLP" and step % FIRST == 0 and (step // FIRST).bit_count() == 1 or step == STEPS:
            grown[step] = gains(state.ema, images[:1024], D_G, sigma)

    D, losses = trained(kind, images, sigma, run.config.sigma_data, keep=keep, steps=STEPS)
    found = {"sigma": sigma, "parameters": parameters(D), "loss": float(losses[-256:].mean())}
    found["skill"] = dg.skill(D, D_G, held, sigma, key=key)
    for inputs, x0 in (("held-out", held), ("training", images[:1000])):
        x = dg.noisy(x0, sigma, len(x0), key=key)
        found[f"rmse {inputs}"] = {
            to: float(dg.score_rmse(E, D, x, sigma)) for to, E in (("D_G", D_G), ("D_M", D_M))
        }
        if inputs == "training" and 0.2 < sigma < 10:
            p = dg.position(D, D_G, D_M, x, sigma)
            found["position"] = [*p, p.off]
    if kind == "MLP":
        steps, lam = [FIRST // 2, *grown], np.asarray(D_G.lam)[:COMPONENTS]
        curve = np.stack([np.zeros(COMPONENTS), *grown.values()])
        moved = abs(curve[-1] - curve[0]) >= 0.1
        found |= {"steps": steps, "gains": curve.T.tolist(), "moved": int(moved.sum())}
        if moved.sum() > 2:
            found["rank"] = float(np.asarray(spearmanr(lam[moved], half_way(steps, curve)[moved]))[0])
    return found | {"seconds": time.time() - began}


def verdicts(numbers: dict) -> dict[str, str]:
    """F24 and B5m by their criteria; "not yet" where a network is missing."""
    rows = {
        (name, kind): {round(row["sigma"], 2): row for row in numbers.get(f"{name}, {kind}", [])}
        for name in DATA for kind in KINDS
    }  # fmt: skip
    if any(len(of) < len(LEVELS) for of in rows.values()):
        return dict.fromkeys(("F24", "B5m"), "not yet")

    def near(of: dict) -> bool:
        ratio = {s: row["rmse held-out"]["D_M"] / row["rmse held-out"]["D_G"] for s, row in of.items()}
        return (
            min(ratio[0.47], ratio[0.12]) >= 1.5
            and min(ratio[4.07], ratio[1.5]) > 1
            and max(of[s]["position"][0] for s in (4.07, 1.5, 0.47)) < 0.5
        )

    kinds = sum(all(near(rows[name, kind]) for name in DATA) for kind in KINDS)
    ordered = [all(rows[name, "MLP"][s].get("rank", 0) <= -0.8 for name in DATA) for s in (4.07, 1.5)]
    return {
        "F24": "holds" if kinds == 3 else "holds in part" if kinds == 2 else "fails",
        "B5m": "holds" if all(ordered) else "holds in part" if any(ordered) else "fails",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, help="default: all")
    parser.add_argument("--data", choices=DATA, help="default: all whose images are at hand")
    parser.add_argument("--out", type=Path, default=folder() / "levels.json")
    options = parser.parse_args()
    for name in [options.data] if options.data else DATA:
        try:
            runs.data(DATA[name])
        except FileNotFoundError as error:
            print(f"{name} are left out: {error}")
            continue
        for kind in [options.kind] if options.kind else KINDS:
            for i in range(len(LEVELS)):
                numbers = before(options.out)
                done = numbers.setdefault(f"{name}, {kind}", [])
                if len(done) <= i:
                    done.append(measured(name, kind, i))
                    numbers |= verdicts(numbers)
                    save(options.out, WHAT, "python experiments/levels.py", numbers)
                    print(name, kind, {k: v for k, v in done[-1].items() if k != "gains"}, flush=True)


if __name__ == "__main__":
    main()
