"""Part b of gpu.py: seconds of kernels and training steps, beside the card's own limits and torch."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gpu_agreement import perturbed, products
from gpu_call import Call

import diffgauss as dg
from diffgauss.train import train_steps

FULL: dict[str, Any] = {
    "sets": {"60000x784": (60000, 28, 784), "50000x3072": (50000, 32, 1024)},  # images, side, components of D_L
    "queries": 256, "pairs": 16384, "product": 8192, "copied": 2**30, "steps": 32,
    "batches": {"tiny": (32, 256), "small": (32, 256), "paper": (256,)},
}  # fmt: skip
QUICK: dict[str, Any] = {
    "sets": {"grey": (2000, 12, 144), "colour": (500, 8, 32)},
    "queries": 32, "pairs": 2048, "product": 256, "copied": 2**22, "steps": 2, "batches": {"least": (8,)},
}  # fmt: skip

NETS: dict[str, dict[str, Any]] = {
    "tiny": {"width": 16, "mix": 64},
    "small": {"width": 32, "patch": 1, "multipliers": (1, 2, 4), "mix": 32},
    "paper": {"width": 128, "patch": 1, "multipliers": (1, 2, 2, 2), "blocks": 4},
    "least": {"width": 4, "multipliers": (1,)},
}
"""The presets, on grey images of 28×28, for ``dg.UNet`` and for torch's, and one that compiles in a moment."""

SIGMA, NEAR, RIDGE = 1.0, 0.1, 1e-3
BF16 = "ours: all inside the network; its weights, their average and moments in float32; torch: autocast"


def speed(call: Call) -> None:
    """Ours in three fifths of the time, then torch's, in a process of its own that may fail or be stopped."""
    size, until, python = QUICK if call.quick else FULL, call.until, torch_python()
    call.until -= 0.4 * call.left if python else 0
    with tempfile.TemporaryDirectory() as where:
        folder, card, train = Path(where), limits(size), dg.load()[:4000]
        call.note("the card's limits", card)
        for (kind, (n, side, components)), grey in zip(size["sets"].items(), (True, False), strict=True):
            images, source = pictures(n, side, grey=grey)
            call.note(f"{kind}: images", source)
            call.measure(kind, partial(kernels, images, components, size, card, folder / f"{kind}.npz"), needs=20)
        call.note("bfloat16", BF16)
        for preset, batches in size["batches"].items():
            for batch, half in [*((batch, False) for batch in batches), (batches[-1], True)]:
                what = f"{preset}, batch {batch}" + ", bfloat16" * half
                call.measure(what, partial(step, preset, batch, size, train, half=half), needs=30)
            if python:
                written(preset, folder)
        np.save(folder / "train.npy", train)
        call.until = until
        call.measure("torch", partial(torch, call, python, size, folder) if python else lambda: "not there")


def limits(size: dict[str, Any]) -> dict[str, float]:
    """Bytes/s of a copy, read and written, and operations/s of a large product in float32 and TF32."""
    a, b = jnp.zeros(size["copied"] // 4), jax.random.normal(jax.random.key(0), (size["product"],) * 2)
    found = {"bytes/s": 2 * a.nbytes / timed(jax.jit(lambda a: a + 1), a)}
    for label, precision in products().items():
        seconds = timed(jax.jit(lambda b, p=precision: jnp.matmul(b, b, precision=p)), b)
        found[f"{label} operations/s"] = 2 * size["product"] ** 3 / seconds
    return found


def kernels(
    images: np.ndarray, components: int, size: dict[str, Any], card: dict[str, float], path: Path
) -> dict[str, Any]:
    """Seconds of D_M, screened D_M, D_G and a distillation of D_M, and shares of the card's limits.

    What torch needs to do the same, and our answers, go to the file at that path.
    """
    n, event, d, b = len(images), images.shape[1:], images[0].size, size["queries"]
    draw, start = np.random.default_rng(2), time.perf_counter()
    x0, eps = images[draw.permutation(n)[:b]], draw.standard_normal((b, *event)).astype(np.float32)
    x, near = jnp.asarray(x0 + SIGMA * eps), jnp.asarray(x0 + NEAR * eps)
    D_M, D_G = dg.EmpiricalDenoiser.from_data(images), dg.GaussianDenoiser.from_data(images)
    found: dict[str, Any] = {"seconds of building D_M and D_G": time.perf_counter() - start, "queries": b}

    def shares(seconds: float, operations: float, read: float) -> dict[str, float]:
        return {
            "seconds": seconds,
            "of float32 operations/s": operations / seconds / card["float32 operations/s"],
            "of bytes/s": read / seconds / card["bytes/s"],
        }

    found["D_M"] = shares(timed(dg.apply, D_M, x, SIGMA), 4.0 * b * n * d, 4.0 * n * d)
    found["D_G"] = shares(timed(dg.apply, D_G, x, SIGMA), 4.0 * b * D_G.U.size, 4.0 * D_G.U.size)
    found["D_M, one block"] = {
        "seconds": timed(dg.apply, dg.EmpiricalDenoiser.from_data(images, block=n), x, SIGMA)
    }
    found[f"seconds at σ = {NEAR}"] = {
        "D_M": timed(dg.apply, D_M, near, NEAR),
        "screened D_M": timed(dg.apply, dg.ScreenedDenoiser.from_data(images), near, NEAR),
    }
    settings = {"base": D_G, "rank": None if components == d else components, "ridge": RIDGE}
    dg.distill(D_M, images, [SIGMA], key=jax.random.key(0), samples=256, **settings)  # compiles
    start = time.perf_counter()
    D_L = dg.distill(D_M, images, [SIGMA], key=jax.random.key(0), samples=size["pairs"], **settings)
    seconds = time.perf_counter() - start
    answers = {"D_M": dg.apply(D_M, x, SIGMA), "D_G": dg.apply(D_G, x, SIGMA), "D_L": dg.apply(D_L, x, SIGMA)}
    found["distillation"] = {
        "seconds": seconds, "pairs": size["pairs"], "components": components,
        "RMSE of D_L to D_G, 0 for endless pairs": float(jnp.sqrt(((answers["D_L"] - answers["D_G"]) ** 2).mean())),
    }  # fmt: skip
    arrays = answers | {"x": x, "images": images, "mean": D_G.mean, "U": D_G.U, "lam": D_G.lam}
    np.savez(path, **{k: np.asarray(a) for k, a in arrays.items()})  # type: ignore[arg-type]
    return found


def pictures(n: int, side: int, *, grey: bool) -> tuple[np.ndarray, str]:
    """Images of that side, and what they are; CIFAR-10 where it is at hand."""
    clothes, where = dg.load(), os.environ.get("DIFFGAUSS_CIFAR10")
    if grey:
        images, source = clothes[:n], "Fashion-MNIST"
    elif where and Path(where).exists():
        images, source = dg.load("cifar10")[:n], "CIFAR-10"
    else:
        source = "Fashion-MNIST, another garment in each channel"
        three = np.concatenate([clothes[np.arange(n) * k % len(clothes)] for k in (1, 7, 11)], -1)
        images = np.pad(three, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    edge = (images.shape[1] - side) // 2
    return images[:, edge : edge + side, edge : edge + side], source


def network(preset: str) -> dg.EDMDenoiser:
    return dg.EDMDenoiser(dg.UNet(28, 1, **NETS[preset], rngs=nnx.Rngs(0)), 0.7)


class InHalf(nnx.Module):
    """A network whose weights, kept in float32, and input are cast to bfloat16 at each call."""

    def __init__(self, net: nnx.Module):
        self.net = net

    def __call__(self, x: jax.Array, c_noise: jax.Array) -> jax.Array:
        net = jax.tree.map(lambda w: w.astype(jnp.bfloat16), self.net)
        return net(x.astype(jnp.bfloat16), c_noise.astype(jnp.bfloat16)).astype(x.dtype)  # type: ignore[operator]


def step(
    preset: str, batch: int, size: dict[str, Any], train: np.ndarray, *, half: bool = False
) -> dict[str, float]:
    """A training step, over calls of several: the fastest call after the first."""
    D, config, n = network(preset), dg.TrainConfig(steps=1, batch=batch), size["steps"]
    state = dg.TrainState.start(dg.EDMDenoiser(InHalf(D.net), D.sigma_data) if half else D, config)
    images, losses, ticks = jnp.asarray(train), [], []
    for _ in range(4):
        start = time.perf_counter()
        state, new = train_steps(state, images, config=config, n=n)
        losses.append(np.asarray(new).mean())
        ticks.append(time.perf_counter() - start)
    best = min(ticks[1:]) / n
    curve = {"first loss": float(losses[0]), "last loss": float(losses[-1])}
    return {"images/s": batch / best, "seconds a step": best, "seconds of the first call": ticks[0]} | curve


def timed(does: Callable[..., Any], *arguments: Any, rounds: int = 5) -> float:
    """Seconds of a call: the least of some, after one that compiles."""
    ticks = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        jax.block_until_ready(does(*arguments))
        ticks.append(time.perf_counter() - start)
    return min(ticks[1:])


def torch_python() -> str | None:
    """The Python that has torch: the one that DIFFGAUSS_PEERS names, or this one; None where neither has."""
    asked = "from importlib.util import find_spec; raise SystemExit(find_spec('torch') is None)"
    for python in filter(None, (os.environ.get("DIFFGAUSS_PEERS"), sys.executable)):
        if Path(python).is_file() and subprocess.run([python, "-c", asked], check=False).returncode == 0:
            return python
    return None


def written(preset: str, folder: Path) -> None:
    """Weights none of which is 0, by their names in the network, and the network's answers with them, for torch."""
    D, sigma = perturbed(network(preset), 0.02), np.geomspace(0.1, 20, 4).astype(np.float32)
    x = np.random.default_rng(3).standard_normal((4, 28, 28, 1)) * (1 + sigma[:, None, None, None])
    with jax.default_matmul_precision("highest"):
        answer = dg.apply(D, jnp.asarray(x, jnp.float32), jnp.asarray(sigma))
    leaves = jax.tree_util.tree_leaves_with_path(D)
    named = {jax.tree_util.keystr(k[:-1], simple=True, separator="."): np.asarray(leaf) for k, leaf in leaves}
    np.savez(folder / f"{preset}.weights.npz", **named)  # type: ignore[arg-type]
    np.savez(folder / f"{preset}.check.npz", x=x.astype(np.float32), sigma=sigma, D=np.asarray(answer))


def torch(call: Call, python: str, size: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What gpu_torch.py measures on the same card in the seconds that are left."""
    nets = {name: NETS[name] for name in size["batches"] if (folder / f"{name}.check.npz").exists()}
    settings = {"config": asdict(dg.TrainConfig(steps=size["steps"])), "nets": nets, "batches": size["batches"]}
    settings |= {"pairs": size["pairs"], "sigma": SIGMA, "ridge": RIDGE}
    settings["components"] = {
        name: k for name, (*_, k) in size["sets"].items() if (folder / f"{name}.npz").exists()
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    seconds = 300.0 if call.quick else max(call.left, 10.0)
    script = Path(__file__).with_name("gpu_torch.py")
    command = [python, "-W", "ignore", str(script), str(folder), str(seconds - 5)]
    ended = ""
    try:
        done = subprocess.run(command, timeout=seconds, stdout=sys.stderr, check=False)
        ended = f"status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        ended = "stopped: its time was over"
    result = folder / "torch.json"
    found = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    return found | ({"ended": ended} if ended else {})
