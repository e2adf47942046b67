"""How well a net denoises and what its samples are: the same images, levels and noise for every net."""

import jax
import jax.numpy as jnp
import numpy as np

from diffgauss._core import Denoiser
from diffgauss.loss import dsm_loss
from diffgauss.metrics import generalization
from diffgauss.ode import sample
from diffgauss.runs import LEVEL_SEED, noise
from diffgauss.schedule import karras_sigmas, lognormal_sigmas
from diffgauss.train import TrainConfig


def score(
    D: Denoiser, images: np.ndarray, test: np.ndarray, *, config: TrainConfig | None = None
) -> dict[str, float]:
    """How well D does: its weighted loss (equation 3) on training and on test images, GL and memorized share.

    The losses are means over 1024 pairs of an image and a noise, the scores over 100 samples of 18 Heun steps,
    with the same noise for every net of this shape. config: as of ``weighted_loss``.
    """
    GL, memorized = generalization(sample(D, noise(event=images.shape[1:]), karras_sigmas(18)), images)
    seen, new = (weighted_loss(D, x0, config=config) for x0 in (images, test))
    return {"train": seen, "test": new, "GL": GL, "memorized": memorized}


def weighted_loss(D: Denoiser, images: np.ndarray, *, k: int = 1024, config: TrainConfig | None = None) -> float:
    """Equation 3 with EDM's weights, the mean over k images (repeated if there are fewer), levels and noises.

    config: where the law of the levels and sigma_data come from, by default that of the zoo.
    """
    config = TrainConfig(steps=1) if config is None else config
    x0 = jnp.asarray(images[np.arange(k) % len(images)])
    level, noise = jax.random.split(jax.random.key(LEVEL_SEED))
    sigma = lognormal_sigmas(k, key=level, mean=config.sigma_mean, std=config.sigma_std)
    return float(_dsm_loss(D, x0, sigma, jax.random.normal(noise, x0.shape), config.sigma_data))


_dsm_loss = jax.jit(dsm_loss, static_argnames="sigma_data")
