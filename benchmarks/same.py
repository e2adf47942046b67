"""That the network in PyTorch is ours, and what both are run on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from parts import agree
from worker import Worker

import diffgauss as dg
from diffgauss.denoisers.network import EDMDenoiser
from diffgauss.nets.unet import UNet
from diffgauss.train import TrainConfig, TrainState, dsm_loss, train_steps
from diffgauss.zoo.runs import LEVEL_SEED
from diffgauss.zoo.scoring import weighted_loss

CONFIG = TrainConfig(steps=1)
STEPS = 4  # of training that both must agree on


def prepare(width: int, size: int, sampler_batch: int, levels: int, folder: Path) -> float:
    """Write the images, weights and batches that both sides read; the held-out loss of D_G."""
    images, test = dg.load(), dg.load(split="test")
    model, sigmas = denoiser(width, size), dg.karras_sigmas(levels)
    draw = np.random.default_rng(0)
    noise = np.asarray(sigmas)[0] * draw.standard_normal((sampler_batch, size, size, 1), np.float32)
    arrays = {"images": images, "sigmas": sigmas, "noise": noise}
    for prefix, batch in (("check", batches(images)), ("test", held_out(test))):
        arrays |= {f"{prefix}_{k}": a for k, a in zip(("x0", "sigma", "eps"), batch, strict=True)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(array))
    other = jax.tree.map(lambda a: a + 0.05 * draw.standard_normal(a.shape, np.float32), model)
    np.savez(folder / "initial.npz", **named(model))  # pyright: ignore[reportArgumentType]
    # no weight of the other is 0: nothing hides behind a zero factor
    np.savez(folder / "other.npz", **named(other))  # pyright: ignore[reportArgumentType]
    settings = {"size": size, "net": {"width": width, "mix": 4 * width}} | asdict(CONFIG)
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    np.savez(folder / "ours.npz", **expected(other, images, noise[:4], sigmas))
    D_G = dg.GaussianDenoiser.from_data(images)
    return weighted_loss(D_G, test)


def check(folder: Path, torch: Worker) -> None:
    """Stop unless torch's network, loss, gradient, training and sampler are ours."""
    torch.ask("check")
    got, want = (dict(np.load(folder / f"{name}.npz")) for name in ("theirs", "ours"))
    if missing := want.keys() ^ got.keys():
        raise SystemExit(f"not in both networks: {sorted(missing)[:3]}")
    worst = float(np.abs(got["D"] - want["D"]).max())
    if not worst < 1e-4:
        raise SystemExit(f"the outputs of the two networks differ by {worst:.1e}, more than 1e-4")
    start = {f"ema {name}": array for name, array in np.load(folder / "other.npz").items()}
    parts = {
        "D": ("output", 1e-5),
        "loss": ("loss", 1e-5),
        "gradient": ("gradient", 1e-4),
        "losses": (f"losses of {STEPS} steps", 1e-4),
        "ema": (f"change of the averaged weights in {STEPS} steps", 1e-2),
        "sample": ("sample", 1e-3),
    }
    for kind, (what, tolerance) in parts.items():
        names = [name for name in want if name.split()[0] == kind]
        ours, theirs = (np.concatenate([np.ravel(a[n] - start.get(n, 0)) for n in names]) for a in (want, got))
        agree(f"{what} in torch and in diffgauss", theirs, ours, tolerance)


def expected(model: EDMDenoiser, images: np.ndarray, noise: np.ndarray, sigmas: jax.Array) -> dict[str, Any]:
    """Our side of the check."""
    x0, sigma, eps = (part[0] for part in batches(images))
    gradient_of = jax.jit(lambda D, *batch: jax.value_and_grad(dsm_loss)(D, *batch, CONFIG.sigma_data))
    loss, gradient = gradient_of(model, x0, sigma, eps)
    D = jax.jit(lambda D, x, sigma: D(x, sigma))(model, x0 + sigma[:, None, None, None] * eps, sigma)
    state, losses = train_steps(TrainState.start(model, CONFIG), jnp.asarray(images), config=CONFIG, n=STEPS)
    found = {"D": D, "loss": loss, "losses": losses, "sample": dg.sample(model, jnp.asarray(noise), sigmas)}
    found |= {f"gradient {name}": array for name, array in named(gradient).items()}
    return found | {f"ema {name}": array for name, array in named(state.ema).items()}


def batches(images: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
    """x0, sigma and eps that ``train_steps`` draws for its first steps: (STEPS, batch, …)."""

    def draw(t):
        pick, level, noise = jax.random.split(jax.random.fold_in(jax.random.key(jnp.uint32(CONFIG.seed)), t), 3)
        x0 = jnp.asarray(images)[jax.random.randint(pick, (CONFIG.batch,), 0, len(images))]
        sigma = dg.lognormal_sigmas(CONFIG.batch, key=level, mean=CONFIG.sigma_mean, std=CONFIG.sigma_std)
        return x0, sigma, jax.random.normal(noise, x0.shape)

    x0, sigma, eps = (jnp.stack(part) for part in zip(*map(draw, range(STEPS)), strict=True))
    return x0, sigma, eps


def held_out(test: np.ndarray, k: int = 1024) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The pairs of ``evaluate.weighted_loss``."""
    level, noise = jax.random.split(jax.random.key(LEVEL_SEED))
    x0 = jnp.asarray(test[:k])
    sigma = dg.lognormal_sigmas(k, key=level, mean=CONFIG.sigma_mean, std=CONFIG.sigma_std)
    return x0, sigma, jax.random.normal(noise, x0.shape)


def denoiser(width: int, size: int) -> EDMDenoiser:
    return EDMDenoiser(UNet.tiny(size, 1, width=width, rngs=nnx.Rngs(0)), CONFIG.sigma_data)


def named(tree: Any) -> dict[str, np.ndarray]:
    """Weights by their path, such as net.first.kernel."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(k[:-1], simple=True, separator="."): np.asarray(leaf) for k, leaf in leaves}


def operations(width: int, size: int, batch: int) -> int:
    """Multiplications and additions in the products and convolutions of one call of the net."""
    x, sigma = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((batch, size, size, 1), (batch,)))
    return _operations(jax.make_jaxpr(denoiser(width, size))(x, sigma).jaxpr)


def _operations(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, (out, *_), inputs = equation.primitive.name, equation.outvars, equation.invars
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * out.aval.size * int(np.prod([inputs[0].aval.shape[d] for d in contracted]))
        elif name == "conv_general_dilated":
            total += 2 * out.aval.size * int(np.prod(inputs[1].aval.shape[:-1]))  # HWIO
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            total += _operations(inner) if hasattr(inner, "eqns") else 0
    return total
