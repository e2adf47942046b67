"""Part a of gpu.py: what the device answers, against float64 on the processor, from the same images and noise."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gpu_call import Call
from jax.tree_util import Partial

import diffgauss as dg
from diffgauss.data import labels
from diffgauss.parallel import float64

LEVELS = (0.05, 0.5, 2.0, 20.0)
PRODUCTS = {"float32": "highest", "TF32": "tensorfloat32"}
RIGHT = {"float32": 1e-3, "TF32": 5e-2}
"""Largest difference, relative to the size of the answer, of a kernel that is not wrong."""

CURVE = 1e-2
"""The same of the first eight losses of training in float32: later ones magnify rounding step by step."""

CPU = jax.devices("cpu")[0]
Answers = Callable[[], Any]


def agreement(call: Call) -> None:
    """Each kernel's relative difference, ‖got − want‖/‖want‖ at the worst level, by precision of the products."""
    call.note("differences", "‖got − want‖/‖want‖; of the losses of training, the largest |got/want − 1|")
    call.measure("first losses of training", lambda: losses(call.quick), needs=30)
    judge(call, "first losses of training", {"float32, 8": CURVE})
    kernels, references = cases(call.quick)
    for name, answers in kernels.items():
        call.measure(name, lambda answers=answers, name=name: differences(answers, references.get(name, answers)))
        judge(call, name, RIGHT)


def judge(call: Call, name: str, most: dict[str, float]) -> None:
    """What differs by more than it may is wrong."""
    for label in most.keys() & call.found[name].keys():
        if not (apart := call.found[name][label]) < most[label]:
            call.wrong.append(f"{name} is wrong in {label}: off by {apart:.1e}; may be by {most[label]:g}")


def products() -> dict[str, str]:
    """The precisions that the device has."""
    return {label: PRODUCTS[label] for label in PRODUCTS if label == "float32" or jax.devices()[0] != CPU}


def differences(answers: Answers, reference: Answers) -> dict[str, float]:
    """The worst of all levels."""
    with float64(), on_processor():
        want = np.asarray(reference(), float)
    found = {}
    for label, precision in products().items():
        with jax.default_matmul_precision(precision):
            got = np.asarray(answers(), float)
        found[label] = max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(got, want, strict=True))
    return {label: float(apart) for label, apart in found.items()}


def on_processor() -> Any:
    """A context in which new arrays are the processor's."""
    return nullcontext() if jax.devices()[0] == CPU else jax.default_device(CPU)


def cases(quick: bool) -> tuple[dict[str, Answers], dict[str, Answers]]:
    """What each kernel answers, (levels, …), in whatever precision and on whatever device JAX then uses.

    Second, references in NumPy for some; the others are compared with themselves in float64.
    """
    n, few, steps = (400, 40, 3) if quick else (20000, 256, 18)
    train, test, kinds = dg.load()[:n], dg.load(split="test"), labels()[:n]
    if quick:
        train, test = (images[:, 8:20, 8:20] for images in (train, test))
    draw, event = np.random.default_rng(1), test.shape[1:]
    noisy = {s: (test[:32] + s * draw.standard_normal(test[:32].shape)).astype(np.float32) for s in LEVELS}
    start = 80 * draw.standard_normal((4, *event))
    net = perturbed(small_net(event)) if quick else dg.zoo.load("n60000")
    with float64(), on_processor():
        base = dg.GaussianDenoiser.from_data(train)

    def at_levels(make: Callable[[], Any], k: int = 32) -> Answers:
        def answers():
            D = make()
            return [dg.apply(D, jnp.asarray(x[:k], float), s) for s, x in noisy.items()]

        return answers

    def D() -> dg.EDMDenoiser:
        return cast(net)

    def D_G() -> dg.GaussianDenoiser:
        return cast(base)

    def linear() -> dg.LinearDenoiser:
        grid = LEVELS[::-1]
        W, b = zip(*(dg.affine(D_G(), event, s) for s in grid), strict=True)
        return dg.LinearDenoiser(jnp.asarray(grid, float), jnp.stack(W), jnp.stack(b))

    def drawn(make: Callable[[], Any]) -> Answers:
        return lambda: [dg.sample(make(), jnp.asarray(start, float), dg.karras_sigmas(steps))]

    def distilled() -> Any:
        """W less that of D_G, by least squares on 64 components; the pairs are the same in every precision."""
        wide, pairs = Partial(lambda D, x, s: D(x.astype(float), s), D()), 128 if quick else 4096
        settings = {"key": jax.random.key(0), "samples": pairs, "rank": 64, "ridge": 1e-2}
        return dg.distill(wide, test[:2000], [2.0, 0.5], **settings).W

    def gains() -> Any:
        """uᵀJu along ten components at one level."""
        return [dg.jacobian_gains(D(), jnp.asarray(noisy[2.0][:2], float), 2.0, D_G().U[:, :10])]

    kernels = {
        "D_M": at_levels(lambda: dg.EmpiricalDenoiser.from_data(train)),
        "screened D_M": at_levels(lambda: dg.ScreenedDenoiser.from_data(train)),
        "D_G": at_levels(D_G),
        "network": at_levels(D, 8),
        "mixture of classes": at_levels(lambda: dg.MixtureDenoiser.from_data(train, kinds)),
        "local, windows of 7": at_levels(lambda: dg.LocalDenoiser.from_data(train[:few], size=7)),
        "linear": at_levels(linear),
        "sampler with D_G": drawn(D_G),
        "sampler with the network": drawn(D),
        "distilled network": distilled,
        "Jacobian of the network": gains,
    }
    references: dict[str, Answers] = {}
    for formula, names in ((empirical, ("D_M", "screened D_M")), (gaussian, ("D_G", "linear"))):
        answers = [formula(train, x, s) for s, x in noisy.items()]
        references |= {name: lambda answers=answers: answers for name in names}
    return kernels, references


def cast(D: Any) -> Any:
    """The same denoiser in the present precision, on the present device."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), float), D)


def empirical(images: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """Σᵢ wᵢ yᵢ, w = softmax(−‖x − yᵢ‖²/2σ²), in float64."""
    y, z = (a.reshape(len(a), -1).astype(float) for a in (images, x))
    logits = (z @ y.T - (y**2).sum(1) / 2) / sigma**2
    share = np.exp(logits - logits.max(1, keepdims=True))
    return (share / share.sum(1, keepdims=True) @ y).reshape(x.shape)


def gaussian(images: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """u + Σ(Σ + σ²I)⁻¹(x − u), in float64."""
    y, z = (a.reshape(len(a), -1).astype(float) for a in (images, x))
    u, covariance = y.mean(0), np.cov(y, rowvar=False, bias=True)
    W = np.linalg.solve(covariance + sigma**2 * np.eye(len(u)), covariance)
    return (u + (z - u) @ W).reshape(x.shape)


def small_net(event: tuple[int, ...]) -> dg.EDMDenoiser:
    return dg.EDMDenoiser(dg.ResNet(event[0], event[-1], width=4, layers=3, rngs=nnx.Rngs(0)), 0.7)


def perturbed(D: dg.EDMDenoiser, by: float = 0.05) -> dg.EDMDenoiser:
    """No weight of it is 0, so that nothing hides behind a zero factor."""
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda a: a + by * draw.standard_normal(a.shape, np.float32), D)


def losses(quick: bool) -> dict[str, float]:
    """Largest relative difference of the first losses of training from the processor's in float32."""
    n, train = (32, dg.load()[:64, 8:20, 8:20]) if quick else (64, dg.zoo.data("n60000"))
    config = dg.TrainConfig(steps=n) if quick else dg.zoo.run("n60000").config

    def first(device: Any) -> np.ndarray:
        D = small_net(train.shape[1:]) if quick else dg.zoo.untrained(dg.zoo.run("n60000"))
        state = jax.device_put(dg.TrainState.start(D, config), device)
        return dg.fit(state, train, config, until=n, progress=False)[1]

    with on_processor(), jax.default_matmul_precision("highest"):
        want = first(CPU)
    found = {}
    for label, precision in products().items():
        with jax.default_matmul_precision(precision):
            apart = np.abs(first(jax.devices()[0]) / want - 1)
        found |= {f"{label}, 8": float(apart[:8].max()), f"{label}, {n}": float(apart.max())}
    return found
