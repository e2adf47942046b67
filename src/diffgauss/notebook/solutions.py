"""The one source of the exercises' solutions: a reference, a test of an answer, and a hint for each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffgauss.core import expand
from diffgauss.ode import velocity


class Exercise(NamedTuple):
    """reference: the answer itself; agrees(answer): whether an answer is right; hint: one sentence."""

    reference: Any
    agrees: Callable[[Any], bool]
    hint: str


def midpoint(D, x, sigma, sigma_next):
    """x' = x + h v((σ + σ')/2) with the state there found by half an Euler step: order 2, two calls of D."""
    h, middle = expand(sigma_next - sigma, x), (sigma + sigma_next) / 2
    return x + h * velocity(D, x + h / 2 * velocity(D, x, sigma), middle)


def effective_number(logits):
    """exp(H) with H = −Σᵢ wᵢ log wᵢ and w = softmax(logits) along the last axis."""
    log_w = jax.nn.log_softmax(logits, axis=-1)
    return jnp.exp(-(jnp.exp(log_w) * log_w).sum(-1))


def mixture(x1, x2, alpha):
    """αx₁ + βx₂ with α² + β² = 1: independent noise of level σ in both gives noise of level σ."""
    return alpha * x1 + (1 - alpha**2) ** 0.5 * x2


def wiener(U, lam, sigma):
    """W_G = U diag(λ/(λ + σ²)) Uᵀ.  Equation 7."""
    return (U * (lam / (lam + sigma**2))[None]) @ U.T


def flow_factor(lam, sigma, sigma_next):
    """√((λ + σ'²)/(λ + σ²)): what the exact Gaussian flow does to each component.  Equation 11."""
    return jnp.sqrt((lam + sigma_next**2) / (lam + sigma**2))


def agreement(x, y, mean):
    """Medianᵢ cos∠(xᵢ − u, yᵢ − u)."""
    x, y = x - mean[None], y - mean[None]
    return jnp.median((x * y).sum(-1) / (jnp.linalg.norm(x, axis=-1) * jnp.linalg.norm(y, axis=-1)))


def left_out(half, best, sigma, keep):
    """Σ e^{−(hᵢ − h*)/σ²} over what is not kept: a bound on its probability, h* being the least half distance."""
    return jnp.where(keep, 0, jnp.exp(-(half - best) / sigma**2)).sum()


def explained(net, other):
    """1 − Σ‖D_θ − D‖²/Σ‖D_θ‖²: the share of the network's output that D explains.  Equation 28."""
    return 1 - ((net - other) ** 2).sum() / (net**2).sum()


def _number(reference: float, rtol: float, hint: str) -> Exercise:
    return Exercise(reference, lambda answer: bool(np.isclose(float(answer), reference, rtol=rtol)), hint)


def _choice(reference: str, hint: str) -> Exercise:
    return Exercise(reference, lambda answer: str(answer).strip().lower() == reference, hint)


def _function(reference: Callable, arguments: tuple, hint: str) -> Exercise:
    def agrees(answer):
        arrays = jax.tree.map(jnp.asarray, arguments)  # only now: importing the package starts no device
        got, want = np.asarray(answer(*arrays)), np.asarray(reference(*arrays))
        return got.shape == want.shape and bool(np.allclose(got, want, rtol=1e-4, atol=1e-5))

    return Exercise(reference, agrees, hint)


def _shrink(x, sigma):
    """A denoiser to test step rules on: that of N(0, I)."""
    return x / (1 + expand(sigma, x) ** 2)


EXERCISES: dict[str, Exercise] = {
    "1a": _number(
        35.0, 1e-6, "Heun calls D twice in each of the n − 1 steps between levels; the last step needs one call."
    ),
    "1b": _function(
        midpoint,
        (jax.tree_util.Partial(_shrink), np.array([[1, -2], [0.5, 3]], "f4"), np.float32(2), np.float32(1)),
        "Make half an Euler step to (σ + σ')/2, take the velocity there, and use it for the whole step from x.",
    ),
    "1c": _choice("b", "Ask where dx/dσ changes fastest: near the scales of the data, not near σ_max."),
    "2a": _number(
        float(np.exp(3.5)), 0.01, "The ratio of two weights is exp((d₂² − d₁²)/2σ²); the normalisation cancels."
    ),
    "2b": _choice("c", "What does D_M return for x = yᵢ + a little noise, when yᵢ is in the training set?"),
    "3a": _number(0.2, 1e-3, "c_skip = σ_data²/(σ² + σ_data²), and 1.4² is four times 0.7²."),
    "3b": _choice("b", "Which denoiser of notebook 2 has a small training loss and a large held-out loss?"),
    "4a": _number(
        float(np.sqrt(2) - 1),
        1e-3,
        "D of the mixture is b; the mixture of the denoised is (α + β) b with α = β = 1/√2.",
    ),
    "4b": _choice("b", "Which denoisers of the right panel in section 1 have a score near 1 at the largest σ?"),
    "5a": _number(0.5, 1e-3, "Wiener's factor λ/(λ + σ²), with σ² = 4."),
    "5b": _choice("a", "What would change in W if you swapped two vectors with equal singular values?"),
    "6a": _number(0.5, 1e-3, "The best linear estimate leaves λ − λ²/(λ + σ²) = λσ²/(λ + σ²)."),
    "6b": _function(
        flow_factor,
        (np.array([0.0, 1.0, 9.0], np.float32), np.float32(3), np.float32(1)),
        "d ln z = σ dσ/(λ + σ²) integrates to ½ ln(λ + σ²), from σ to σ'.",
    ),
    "6c": _choice("c", "What does the right panel of section 2 show at the same level?"),
    "7a": _number(0.0625, 1e-3, "Take the square root of 64/16384."),
    "7b": _function(
        agreement,
        (
            np.array([[2.0, 1.0], [1.0, 2.0], [0.0, 3.0]], np.float32),
            np.array([[2.0, 1.5], [3.0, 1.0], [1.0, 3.0]], np.float32),
            np.array([1.0, 1.0], np.float32),
        ),
        "Subtract the mean from both before you take norms, and use the median, not the mean.",
    ),
    "7c": _choice("b", "Sections 2 and 3 each have one."),
    "8a": _number(
        (1 + 5**0.5) / 2, 1e-3, "With λ = σ² = d/N = 1 it says κ − 1 = κ/(1 + κ), so κ² = κ + 1; take κ > 0."
    ),
    "8b": _function(
        left_out,
        (np.array([3, 3.5, 4, 9], "f4"), np.float32(3), np.float32(0.8), np.array([True, True, False, False])),
        "Z is at least e^{−h*/σ²}: divide each weight e^{−hᵢ/σ²} by that and sum over those that are not kept.",
    ),
    "8c": _choice("b", "How many images share the weight at σ = 2, and how many at σ = 0.02?"),
    "9a": _number(2.15, 5e-3, "2 ln 50000 = 21.6, and its root is 4.65."),
    "9b": _function(
        explained,
        (
            np.array([[2.0, 1.0], [1.0, 2.0], [0.0, 3.0]], np.float32),
            np.array([[2.0, 1.5], [3.0, 1.0], [1.0, 3.0]], np.float32),
        ),
        "Sum the squares over all images before you divide, and divide by those of the network.",
    ),
    "9c": _choice("b", "What does a larger N do to the distance, and what to the logarithm?"),
}  # fmt: skip
