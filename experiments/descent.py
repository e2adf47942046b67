"""Gradient descent (the paper's recipe) against the closed form: one net, three levels, written to data/results.

python experiments/descent.py                  finds a rate for each level, then runs it: half an hour of one core
python experiments/descent.py --steps 512      a trial

Per level: short runs try RATES, the longest run takes the one with the least loss. Both maps are compared on
the same pairs of held-out images and noise that no fit has seen. The closed form is timed for growing numbers of
pairs, up to the first that is as good as the descent. Seconds are those of all cores together; those of the descent
include a few of compiling it. Notebook 5 reads the result.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from record import save

import diffgauss as dg
from diffgauss.results import folder
from diffgauss.zoo import runs

NET, LEVELS = "n60000", (3, 5, 7)  # of the ten: 9.72, 1.50, 0.117
RATES = {3: (1e-3, 3e-3, 1e-2), 5: (3e-3, 1e-2, 3e-2), 7: (3e-2, 1e-1, 3e-1)}
TRIAL = 128
PAIRS = tuple(1024 * 2**k for k in range(9))


def squared_error(D, D_L, images, sigma) -> float:
    """E ‖D_L(y) − D(y)‖²/d over 2000 held-out images with their own noise."""
    y = jnp.asarray(images) + sigma * jax.random.normal(jax.random.key(7), images.shape)
    return float(np.mean([jnp.mean((D_L(part, sigma) - D(part, sigma)) ** 2) for part in jnp.split(y, 8)]))


def timed(f):
    """(what f returns, core-seconds), with everything computed."""
    start = time.process_time()
    return jax.block_until_ready(f()), time.process_time() - start


def level(D, D_G, fitted, held, sigma, rates, steps) -> dict:
    """Both ways at one level."""

    def descend(rate, steps):
        return dg.distill_sgd(D, fitted, sigma, key=jax.random.key(1), steps=steps, rate=rate)

    tried = {rate: float(descend(rate, TRIAL).losses[-32:].mean()) for rate in rates}
    rate = min(tried, key=tried.__getitem__)
    found, seconds = timed(lambda: descend(rate, steps))
    linear = dg.LinearDenoiser(jnp.array([sigma]), found.W[None], found.b[None])
    mse = squared_error(D, linear, held, sigma)

    def distilled(pairs):
        return dg.distill(D, fitted, [sigma], key=jax.random.key(2), samples=pairs, base=D_G)

    closed, map_ = [], distilled(PAIRS[0])  # compiled before it is timed
    for pairs in PAIRS:
        map_, spent = timed(lambda: distilled(pairs))  # noqa: B023
        closed.append({"pairs": pairs, "seconds": spent, "mse": squared_error(D, map_, held, sigma)})
        if closed[-1]["mse"] <= mse:
            break
    reached = closed[-1]["seconds"] if closed[-1]["mse"] <= mse else None
    y = jnp.asarray(held[:512]) + sigma * jax.random.normal(jax.random.key(8), held[:512].shape)
    marks = np.unique(np.geomspace(1, steps, 120).astype(int))
    losses = [float(found.losses[max(0, int(m * 0.9) - 1) : m].mean()) for m in marks]
    return {
        "sigma": sigma,
        "rate": rate,
        "rates_tried": {f"{r:g}": v for r, v in tried.items()},
        "steps": marks.tolist(),
        "losses": losses,
        "seconds_descent": seconds,
        "mse_descent": mse,
        "mse_closed": closed[-1]["mse"],
        "closed": closed,
        "seconds_closed_to_reach_it": reached,
        "rmse_apart": float(dg.score_rmse(linear, map_, y, sigma)),
        "rmse_gaussian": float(dg.score_rmse(linear, D_G, y, sigma)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4096, help="of 256 pairs with fresh noise, a level")
    parser.add_argument("--out", type=Path, default=folder() / "descent.json")
    args = parser.parse_args()
    D, images, test = dg.zoo.load(NET), dg.zoo.data(NET), runs.held_out(NET)
    D_G, sigmas = dg.GaussianDenoiser.from_data(images), np.asarray(dg.karras_sigmas(10), float)
    found = []
    for i in LEVELS:
        found.append(level(D, D_G, test[:8000], test[8000:], float(sigmas[i]), RATES[i], args.steps))
        print({k: v for k, v in found[-1].items() if k not in ("steps", "losses")}, flush=True)
    what = "Linear distillation by gradient descent, to compare with the closed form."
    numbers = {"net": NET, "batch": 256, "steps": args.steps, "runs": found}
    save(args.out, what, "python experiments/descent.py", numbers)


if __name__ == "__main__":
    main()
