"""Where D_M collapses onto one image and where D_G overtakes it, against the dimension: crops and down-scalings.

No network is needed. For the best denoiser D* of new images E‖D − D*‖² is the squared error of D on them less that
of D*, so the order of two denoisers as stand-ins for D* is the order of their errors on held-out images.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

import diffgauss as dg
from diffgauss import apply

LEVELS = np.geomspace(40, 0.05, 20)
IMAGES = 128
FULL = {"fashion-mnist": "n60000", "cifar10": "cifar-n50000"}

key = jax.random.key(5)


def views(side: int) -> Iterator[tuple[str, int, Callable]]:
    """(kind, side, map of images) of the whole picture, centred crops, and means of blocks of pixels."""
    yield "whole", side, lambda x: x
    for s in (8, 16, 24):
        a = (side - s) // 2
        yield "crop", s, lambda x, a=a, s=s: x[:, a : a + s, a : a + s]
    for b in (2, 4):
        s = side // b
        yield "down-scaled", s, lambda x, b=b, s=s: x.reshape(len(x), s, b, s, b, -1).mean((2, 4), dtype=np.float32)


def crossing(levels: np.ndarray, y: np.ndarray) -> float | None:
    """The lowest level at which y, falling with σ, reaches 0, linear in log σ in between; None where it does not.

    The lowest, since two errors that are nearly equal at high σ cross there by chance.
    """
    for i in reversed(range(len(levels) - 1)):
        if y[i] > 0 >= y[i + 1]:
            t = y[i] / (y[i] - y[i + 1])
            return float(levels[i] * (levels[i + 1] / levels[i]) ** t)
    return None


def measure() -> dict:
    """One row for each view of each data set, and the levels of all curves."""
    rows = [row for name in FULL for row in of_dataset(name)]
    return {"sigmas": LEVELS.tolist(), "images": IMAGES, "rows": rows}


def of_dataset(name: str) -> Iterator[dict]:
    """The rows of all views of one data set; the whole pictures also with its network."""
    train, held = dg.load(name), dg.load(name, "test")
    held = held[np.random.default_rng(0).permutation(len(held))[:IMAGES]]
    for kind, side, view in views(train.shape[1]):
        net = dg.zoo.load(FULL[name]) if kind == "whole" else None
        yield {"data": name, "kind": kind, "side": side} | curves(view(train), view(held), net)


def curves(train: np.ndarray, held: np.ndarray, net=None) -> dict:
    """Errors of D_G and D_M on held-out images, effective number of images, and the levels where they turn.

    collapse: where the median effective number of training images behind D_M falls to 2; predicted: median distance
    of a held-out image to the nearest training image, over √(2 ln N); swap: above it D_M has the smaller error,
    below it D_G; swap of the network: the same for the RMSE to D_θ.
    """
    D_G, D_M = dg.GaussianDenoiser.from_data(train), dg.EmpiricalDenoiser.from_data(train)
    errors, apart, number = {"D_G": [], "D_M": []}, {"D_G": [], "D_M": []}, []
    for i, s in enumerate(LEVELS):
        y = jnp.asarray(held) + s * jax.random.normal(jax.random.fold_in(key, i), held.shape)
        number.append(float(np.exp(np.median(D_M.entropy(y, s)))))
        answers = {"D_G": apply(D_G, y, s), "D_M": apply(D_M, y, s)}
        for name, x in answers.items():
            errors[name].append(float(((x - held) ** 2).mean()))
            if net is not None:
                apart[name].append(float(np.sqrt(((x - apply(net, y, s)) ** 2).mean((1, 2, 3))).mean()))
    distance = float(np.median(dg.nearest(held, train).distances))
    found = {
        "d": int(held[0].size), "N": len(train), "distance": distance, "images behind D_M": number, "error": errors,
        "predicted": distance / np.sqrt(2 * np.log(len(train))),
        "collapse": crossing(LEVELS, np.log(number) - np.log(2)),
        "swap": crossing(LEVELS, np.log(errors["D_G"]) - np.log(errors["D_M"])),
    }  # fmt: skip
    if net is not None:
        found |= {
            "apart": apart,
            "swap of the network": crossing(LEVELS, np.log(apart["D_G"]) - np.log(apart["D_M"])),
        }
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in found.items()}
