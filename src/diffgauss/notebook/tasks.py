"""The functions that readers write: the kernel of each, and the arguments on which an answer is tried."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffgauss.adapters.networks import Kind, NetworkDenoiser, NoiseSchedule
from diffgauss.beyond.local import LocalDenoiser
from diffgauss.beyond.mixture import MixtureDenoiser
from diffgauss.beyond.theory import effective_noise
from diffgauss.denoisers.empirical import EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.measures.agreement import sample_cosine, sample_pearson
from diffgauss.measures.bias import excess_of, position_of, pull_of, skill_of
from diffgauss.measures.distance import generalization, rmse
from diffgauss.measures.linearity import linearity, linearity_deviation
from diffgauss.moments import Moments, fit
from diffgauss.notebook import inputs
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


def _value(measure: Callable) -> Callable:
    """The value of an estimate, of differences as arrays of shape (n, d)."""
    return lambda *differences: measure(*(np.asarray(v, float) for v in differences)).value


def _classes(x, sigma, pi, u, U, lam):
    return MixtureDenoiser(jnp.log(pi), u, U, lam)(x, sigma)


def _pixel(x, sigma, y, row, column, half):
    D = LocalDenoiser.from_data(np.asarray(y)[..., None], size=2 * int(half) + 1)
    return D(x[None, ..., None], sigma)[0, int(row), int(column), 0]


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


def _mix(x1, x2, alpha, u):
    return mixture(x1 - u[None], x2 - u[None], alpha) + u[None]


def _linearity(D, x1, x2, sigma, u):
    return linearity(D, x1, x2, sigma, mean=u)


def _deviation(D, x1, x2, sigma, u):
    return linearity_deviation(D, x1, x2, sigma, mean=u)


def _answer(F, x, t):
    return F


def _predicted(kind: Kind) -> Callable:
    """D at x of a network that answered F, as an adapter computes it."""
    schedule = NoiseSchedule.vp([0.9, 0.5])
    return lambda x, sigma, F: NetworkDenoiser(jax.tree_util.Partial(_answer, F), schedule, kind)(x, sigma)


def _time(sigma, sigmas, times):
    return NoiseSchedule(jnp.asarray(sigmas), jnp.asarray(times), True).time(jnp.asarray(sigma))


TASKS = {
    "score": Task(_score, "jax.grad of the log density", inputs.clusters, 1e-3),
    "velocity": Task(velocity, "dg.velocity", lambda rng: inputs.step(rng)[:3], 1e-4),
    "euler": Task(euler, "dg.euler", inputs.step, 1e-4),
    "heun": Task(heun, "dg.heun", inputs.step, 1e-4),
    "grid": Task(
        _grid,
        "dg.karras_sigmas",
        lambda rng: (rng.integers(3, 30), rng.uniform(10, 80), 0.01, rng.uniform(2, 9)),
        1e-2,
    ),
    "D_M": Task(
        _empirical,
        "dg.EmpiricalDenoiser",
        lambda rng: (2 * inputs.images(rng, 3), np.float32(rng.uniform(0.5, 2)), inputs.images(rng, 5)),
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
        lambda rng: (2 * inputs.images(rng, 3), np.float32(rng.uniform(0.5, 2)), *inputs.moments(rng)),
        1e-3,
    ),
    "flow": Task(
        _flow,
        "dg.GaussianDenoiser.flow",
        lambda rng: (
            9 * inputs.images(rng, 3),
            np.float32(9),
            np.float32(rng.uniform(0, 2)),
            *inputs.moments(rng),
        ),
        1e-2,
    ),
    "GL": Task(_distance, "dg.generalization", lambda rng: (inputs.images(rng, 4), inputs.images(rng, 6)), 1e-4),
    "scalings": Task(
        _scalings, "dg.edm_scalings", lambda rng: (rng.uniform(0.01, 9, 4).astype("f4"), rng.uniform(0.2, 2)), 1e-4
    ),
    "dsm_loss": Task(_dsm_loss, "diffgauss.train.dsm_loss", inputs.loss, 1e-4),
    "train_step": Task(_train_step, "a step of dg.train_steps", inputs.training, 1e-4),
    "average": Task(
        _average,
        "optax.incremental_update",
        inputs.two_networks,
        1e-4,
    ),
    "mix": Task(
        _mix,
        "a mixture of the same noise level",
        lambda rng: (
            inputs.images(rng, 3),
            inputs.images(rng, 3),
            np.float32(rng.uniform(0.2, 0.9)),
            inputs.images(rng, 1)[0],
        ),
        1e-4,
    ),
    "linearity": Task(_linearity, "dg.linearity", inputs.pairs, 1e-4),
    "deviation": Task(_deviation, "dg.linearity_deviation", inputs.pairs, 1e-4),
    "normal_equations": Task(_normal_equations, "the least squares of dg.distill", inputs.regression, 1e-3),
    "wiener": Task(
        wiener,
        "the matrix of dg.GaussianDenoiser",
        lambda rng: (*inputs.moments(rng)[1:], np.float32(rng.uniform(0.5, 2))),
        1e-4,
    ),
    "cross_fit": Task(
        _cross_fit,
        "the product of two fits in dg.linear_distance",
        lambda rng: (*inputs.regression(rng), *inputs.regression(rng), inputs.regression(rng, 20)[0]),
        1e-2,
    ),
    "skill": Task(_value(skill_of), "dg.skill", lambda rng: inputs.differences(rng, 2), 1e-4),
    "excess": Task(_value(excess_of), "dg.excess", lambda rng: inputs.differences(rng, 2), 1e-4),
    "pull": Task(_value(pull_of), "dg.pull", lambda rng: inputs.differences(rng, 3), 1e-4),
    "position": Task(_value(position_of), "dg.position", lambda rng: inputs.differences(rng, 2), 1e-4),
    "gap": Task(lambda a, b: rmse(np.asarray(a), np.asarray(b))[0].mean(), "dg.gap", inputs.answers, 1e-4),
    "agreement": Task(
        lambda x, y, u: sample_cosine(x, y, mean=u).value,
        "dg.sample_cosine",
        lambda rng: (*inputs.differences(rng, 2), rng.standard_normal(5).astype("f4")),
        1e-4,
    ),
    "effective_noise": Task(
        lambda lam, sigma, N: effective_noise(lam, float(sigma), int(N)),
        "theory.effective_noise",
        lambda rng: (rng.uniform(0.1, 4, 12), rng.uniform(0.5, 2), rng.integers(8, 40)),
        1e-3,
    ),
    "D_classes": Task(_classes, "dg.MixtureDenoiser", inputs.kinds, 1e-3),
    "local_pixel": Task(_pixel, "dg.LocalDenoiser", inputs.window, 1e-3),
    "median_r2": Task(
        lambda x, y: sample_pearson(x, y).value,
        "dg.sample_pearson",
        lambda rng: inputs.differences(rng, 2),
        1e-4,
    ),
    "predicted_gap": Task(
        lambda q, mse: np.sqrt(q * mse),
        "the root of q times the error",
        lambda rng: (rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)),
        1e-4,
    ),
    "explained": Task(
        lambda net, other: 1 - ((net - other) ** 2).sum() / (net**2).sum(),
        "one less the squares left over those of the network",
        lambda rng: inputs.differences(rng, 2),
        1e-4,
    ),
    "collapse": Task(
        lambda delta, N: delta / np.sqrt(2 * np.log(N)),
        "the distance over the root of twice the logarithm",
        lambda rng: (rng.uniform(1, 20), rng.integers(10, 10**5)),
        1e-4,
    ),
    "from_eps": Task(_predicted("eps"), "dg.from_network", inputs.predicted, 1e-4),
    "from_v": Task(_predicted("v"), "dg.from_network", inputs.predicted, 1e-4),
    "time": Task(_time, "dg.NoiseSchedule", inputs.schedule, 1e-2),
    "memorized": Task(_memorized, "dg.generalization", inputs.copies, 1e-4),
}
