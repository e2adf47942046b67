"""The functions that readers write: the kernel of each, and the arguments on which an answer is tried."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from diffgauss.denoisers.empirical import EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.measures.distance import generalization
from diffgauss.measures.linearity import linearity, linearity_deviation
from diffgauss.moments import Moments, fit
from diffgauss.notebook.solutions import effective_number, mixture, wiener
from diffgauss.ode import euler, heun, velocity
from diffgauss.schedule import edm_scalings, karras_sigmas
from diffgauss.train import dsm_loss


class Task(NamedTuple):
    """kernel: takes the same arguments; name: what the notebook calls it; draw: arguments; allowed: difference."""

    kernel: Callable[..., Any]
    name: str
    draw: Callable[[np.random.Generator], tuple]
    allowed: float


def _empirical(x, sigma, y):
    return EmpiricalDenoiser.from_data(np.asarray(y))(x, sigma)


def _gaussian(x, sigma, u, U, lam):
    return GaussianDenoiser(u, U, lam)(x, sigma)


def _flow(x, sigma, sigma_next, u, U, lam):
    return GaussianDenoiser(u, U, lam).flow(x, sigma, sigma_next)


def _distance(x, y):
    return generalization(np.asarray(x), np.asarray(y)).GL


def _score(x, sigma, centres, shares, width):
    def log_p(x):
        return jax.nn.logsumexp(jnp.log(shares) - ((x[None] - centres) ** 2).sum(-1) / (2 * (width**2 + sigma**2)))

    return jax.vmap(jax.grad(log_p))(x)


def _grid(n, top, bottom, rho):
    return karras_sigmas(int(n), sigma_max=float(top), sigma_min=float(bottom), rho=float(rho))


def _clusters(rng: np.random.Generator) -> tuple:
    x, centres = rng.normal(0, 2, (5, 2)).astype("f4"), rng.normal(0, 1, (3, 2)).astype("f4")
    return x, np.float32(rng.uniform(0.5, 2)), centres, rng.dirichlet(np.ones(3)).astype("f4"), np.float32(0.2)


def _bend(x, sigma):
    return jnp.tanh(x) / (1 + sigma)


def _step(rng: np.random.Generator) -> tuple:
    return (
        Partial(_bend),
        _images(rng, 3),
        np.float32(rng.uniform(2, 3)),
        np.float32(rng.uniform(1, 2)),
    )


def _images(rng: np.random.Generator, k: int) -> np.ndarray:
    return rng.uniform(-1, 1, (k, 4, 4, 1)).astype(np.float32)


def _moments(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z = rng.standard_normal((16, 16))
    return _images(rng, 1)[0], np.linalg.qr(z)[0].astype("f4"), np.sort(rng.uniform(0.1, 9, 16))[::-1].astype("f4")


def _scalings(sigma, sigma_data):
    return edm_scalings(sigma, float(sigma_data))[:3]


def _dsm_loss(D, x0, sigma, eps, sigma_data):
    return dsm_loss(D, x0, sigma, eps, float(sigma_data))


@jax.jit
def _train_step(D, moments, x0, sigma, eps, rate):
    loss, gradient = jax.value_and_grad(dsm_loss)(D, x0, sigma, eps, 0.7)
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    updates, moments = chain.update(gradient, moments)
    return optax.apply_updates(D, updates), moments, loss


@jax.jit
def _average(ema, D, decay):
    return optax.incremental_update(D, ema, 1 - decay)


def _memorized(x, y):
    return generalization(np.asarray(x), np.asarray(y)).memorized


def _normal_equations(x, a):
    W, b = fit(Moments.of(np.asarray(x), np.asarray(a)), 0.0)
    return W, b


def _cross_fit(x1, r1, x2, r2, x):
    one, two = (np.asarray(x) @ A.T + a for A, a in (_normal_equations(x1, r1), _normal_equations(x2, r2)))
    return (one * two).mean()


def _regression(rng: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and answers that depend on them through a matrix, an offset and a bend."""
    x = rng.normal(1, 2, (n, 6)).astype("f4")
    return x, (x @ rng.normal(0, 1, (6, 6)) + rng.normal(0, 1, 6) + np.tanh(x)).astype("f4")


def _mix(x1, x2, alpha, u):
    return mixture(x1 - u[None], x2 - u[None], alpha) + u[None]


def _linearity(D, x1, x2, sigma, u):
    return linearity(D, x1, x2, sigma, mean=u)


def _deviation(D, x1, x2, sigma, u):
    return linearity_deviation(D, x1, x2, sigma, mean=u)


def _pairs(rng: np.random.Generator) -> tuple:
    """A denoiser that is not linear, noisy images in pairs, a level, and a mean."""
    sigma = np.float32(rng.uniform(0.3, 1))
    return Partial(_bend), _images(rng, 4), _images(rng, 4), sigma, 0.3 * _images(rng, 1)[0]


def _scaled(a, x, sigma):
    return a[None] * x / (1 + sigma[:, None, None, None])


def _batch(rng: np.random.Generator) -> tuple:
    """A denoiser of one trained number for each pixel, clean images, levels and noise."""
    D = Partial(_scaled, rng.uniform(0.1, 0.9, (4, 4, 1)).astype("f4"))
    return D, _images(rng, 5), rng.uniform(0.2, 3, 5).astype("f4"), rng.standard_normal((5, 4, 4, 1)).astype("f4")


def _training(rng: np.random.Generator) -> tuple:
    D, x0, sigma, eps = _batch(rng)
    moments = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.0)).init(D)  # type: ignore[arg-type]
    return D, moments, x0, sigma, eps, np.float32(rng.uniform(0.01, 0.1))


def _copies(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y = _images(rng, 6)
    return np.concatenate([y[:3] + 0.01 * _images(rng, 3), _images(rng, int(rng.integers(2, 6)))]), y


TASKS = {
    "score": Task(_score, "jax.grad of the log density", _clusters, 1e-3),
    "velocity": Task(velocity, "dg.velocity", lambda rng: _step(rng)[:3], 1e-4),
    "euler": Task(euler, "dg.euler", _step, 1e-4),
    "heun": Task(heun, "dg.heun", _step, 1e-4),
    "grid": Task(
        _grid,
        "dg.karras_sigmas",
        lambda rng: (rng.integers(3, 30), rng.uniform(10, 80), 0.01, rng.uniform(2, 9)),
        1e-2,
    ),
    "D_M": Task(
        _empirical,
        "dg.EmpiricalDenoiser",
        lambda rng: (2 * _images(rng, 3), np.float32(rng.uniform(0.5, 2)), _images(rng, 5)),
        1e-3,
    ),
    "effective_number": Task(
        effective_number,
        "dg.EmpiricalDenoiser's entropy",
        lambda rng: (np.append(rng.normal(0, 2, (3, 6)), np.full((3, 1), -300.0), 1).astype("f4"),),
        1e-3,
    ),
    "D_G": Task(
        _gaussian,
        "dg.GaussianDenoiser",
        lambda rng: (2 * _images(rng, 3), np.float32(rng.uniform(0.5, 2)), *_moments(rng)),
        1e-3,
    ),
    "flow": Task(
        _flow,
        "dg.GaussianDenoiser.flow",
        lambda rng: (9 * _images(rng, 3), np.float32(9), np.float32(rng.uniform(0, 2)), *_moments(rng)),
        1e-2,
    ),
    "GL": Task(_distance, "dg.generalization", lambda rng: (_images(rng, 4), _images(rng, 6)), 1e-4),
    "scalings": Task(
        _scalings, "dg.edm_scalings", lambda rng: (rng.uniform(0.01, 9, 4).astype("f4"), rng.uniform(0.2, 2)), 1e-4
    ),
    "dsm_loss": Task(_dsm_loss, "diffgauss.train.dsm_loss", lambda rng: (*_batch(rng), rng.uniform(0.2, 2)), 1e-4),
    "train_step": Task(_train_step, "a step of dg.train_steps", _training, 1e-4),
    "average": Task(
        _average, "optax.incremental_update", lambda rng: (_batch(rng)[0], _batch(rng)[0], rng.uniform()), 1e-4
    ),
    "mix": Task(
        _mix,
        "a mixture of the same noise level",
        lambda rng: (_images(rng, 3), _images(rng, 3), np.float32(rng.uniform(0.2, 0.9)), _images(rng, 1)[0]),
        1e-4,
    ),
    "linearity": Task(_linearity, "dg.linearity", _pairs, 1e-4),
    "deviation": Task(_deviation, "dg.linearity_deviation", _pairs, 1e-4),
    "normal_equations": Task(_normal_equations, "the least squares of dg.distill", _regression, 1e-3),
    "wiener": Task(
        wiener,
        "the matrix of dg.GaussianDenoiser",
        lambda rng: (*_moments(rng)[1:], np.float32(rng.uniform(0.5, 2))),
        1e-4,
    ),
    "cross_fit": Task(
        _cross_fit,
        "the product of two fits in dg.linear_distance",
        lambda rng: (*_regression(rng), *_regression(rng), _regression(rng, 20)[0]),
        1e-2,
    ),
    "memorized": Task(_memorized, "dg.generalization", _copies, 1e-4),
}
