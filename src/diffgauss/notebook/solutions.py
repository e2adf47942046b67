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
    "6b": _choice("c", "What does a perfect denoiser return for a training image with little noise?"),
    "7a": _number(0.0625, 1e-3, "Take the square root of 64/16384."),
    "7b": _number(
        (1 + 5**0.5) / 2, 1e-3, "With λ = σ² = d/N = 1 it says κ − 1 = κ/(1 + κ), so κ² = κ + 1; take κ > 0."
    ),
    "7c": _choice("b", "What did width and stopping do to the copies in sections 3 and 4?"),
    "8a": _number(float(1 / (1 + np.exp(0.5))), 1e-2, "The weights are softmaxes of −d²/2σ², with d² = 0 and 1."),
    "8b": _choice("b", "What did cutting the windows do to the two networks of section 4?"),
    "9a": _number(2.15, 5e-3, "2 ln 50000 = 21.6, and its root is 4.65."),
    "9b": _choice("b", "What does a larger N do to the distance, and what to the logarithm?"),
}  # fmt: skip
