"""How well a net denoises, whom it resembles and what it draws: the same images, levels and noise for every net."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffgauss.core import Denoiser, apply
from diffgauss.denoisers.empirical import EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.measures import bias
from diffgauss.measures.agreement import sample_cosine, sample_r2
from diffgauss.measures.distance import generalization
from diffgauss.measures.linearity import linearity, linearity_deviation
from diffgauss.ode import sample
from diffgauss.schedule import karras_sigmas, lognormal_sigmas
from diffgauss.train import TrainConfig, dsm_loss
from diffgauss.zoo.runs import LEVEL_SEED, noise

SKILL, POSITION = slice(2, 6), slice(2, 5)
"""Of a judge's six levels those of skill and excess, 4.07 to .117, and those of the position, 4.07 to .470."""

PAIRS = 1000
"""Noisy images of each kind at each level."""


class Judge:
    """Scores any denoiser of one training set; what does not depend on the denoiser is computed once.

    images: (N, *event), the training set, whose D_G and D_M are compared with; held: (M, *event), M ≥ 200, other
    images of the same law, shuffled; whole: all images that networks of this kind are trained on, whose D_G is the
    unit of the loss; config: as of ``weighted_loss``.
    """

    def __init__(self, images: np.ndarray, held: np.ndarray, whole: np.ndarray, config: TrainConfig | None = None):
        self.images, self.held, self.config = images, held, config
        self.levels = [float(s) for s in karras_sigmas(10)[2:8]]  # the paper's, from 21.1 to .117
        self.D_G, D_M = GaussianDenoiser.from_data(images), EmpiricalDenoiser.from_data(images)
        D_whole = self.D_G if len(whole) == len(images) else GaussianDenoiser.from_data(whole)
        self.gaussian_loss = weighted_loss(D_whole, held, config=config)
        self.start = noise(event=images.shape[1:])
        drawn = self.D_G.flow(self.start, 80.0, 0.0), sample(D_M, self.start, karras_sigmas(18))
        self.drawn = dict(zip(("D_G", "D_M"), map(np.asarray, drawn), strict=True))
        self.inputs = {}  # kind of image → for each level x₀, x, D_G(x; σ) and D_M(x; σ) − D_G(x; σ)
        for kind, of in (("training", images), ("held-out", held)):
            x0 = of[np.arange(PAIRS if kind == "training" else min(PAIRS, len(of))) % len(of)]
            self.inputs[kind] = []
            for i, s in enumerate(self.levels):
                eps = jax.random.normal(jax.random.fold_in(jax.random.key(LEVEL_SEED), i), x0.shape)
                x = np.asarray(x0 + np.float32(s) * eps)
                base, memory = (_answers(D, x, s) for D in (self.D_G, D_M))
                self.inputs[kind].append((x0, x, base, memory - base))

    def __call__(self, D: Denoiser) -> dict[str, Any]:
        """All scores of D, in JSON's types and to five digits; intervals as [value, low, high].

        train, test: ``weighted_loss``; loss_ratio: test over that of the D_G of whole; GL, memorized: of 100
        samples of 18 Heun steps; skill, excess: equations 32 and 33 on held-out images; position: equation 35 on
        training images, with the share off the line; rmse: equation 6 to D_G and D_M for each kind of image; r2,
        cosine: of D_G's (exact flow) and D_M's samples with D's, from the same noise; linearity: least centred and
        raw score and largest deviation (equations 8, 8b) over 40 levels and 100 pairs of held-out images (or as
        many as there are).
        """
        drawn = np.asarray(sample(D, self.start, karras_sigmas(18)))
        GL, memorized = generalization(drawn, self.images)
        seen, new = (weighted_loss(D, x0, config=self.config) for x0 in (self.images, self.held))
        found: dict[str, Any] = {"train": seen, "test": new, "loss_ratio": new / self.gaussian_loss}
        found |= {"GL": GL, "memorized": memorized, "skill": [], "excess": [], "position": [], "rmse": {}}
        for kind, levels in self.inputs.items():
            rmse: dict[str, list[float]] = {"D_G": [], "D_M": []}
            for i, (s, (x0, x, base, m)) in enumerate(zip(self.levels, levels, strict=True)):
                v, g, m = (
                    (part.astype(float)).reshape(len(x), -1) for part in (_answers(D, x, s) - base, x0 - base, m)
                )
                for name, apart in (("D_G", v), ("D_M", v - m)):
                    rmse[name].append(float(np.sqrt((apart**2).mean(-1)).mean()))
                if kind == "held-out" and i in range(6)[SKILL]:
                    found["skill"].append(bias.skill_of(v, g))
                    found["excess"].append(bias.excess_of(v, g))
                if kind == "training" and i in range(6)[POSITION]:
                    p = bias.position_of(v, m)
                    found["position"].append([*p, p.off])
            found["rmse"][kind] = rmse
        for name, agree in (("r2", sample_r2), ("cosine", sample_cosine)):
            found[name] = {E: agree(x, drawn, mean=self.D_G.mean) for E, x in self.drawn.items()}
        found["linearity"] = self._linearity(D)
        return _rounded(found)

    def _linearity(self, D: Denoiser) -> dict[str, float]:
        key, found = jax.random.fold_in(jax.random.key(LEVEL_SEED), len(self.levels)), []
        pairs = min(100, len(self.held) // 2)
        x0 = self.held[: 2 * pairs].reshape(2, pairs, *self.held.shape[1:])
        for i, s in enumerate(karras_sigmas(40)):
            x1, x2 = x0 + s * jax.random.normal(jax.random.fold_in(key, i), x0.shape)
            found.append(_linear(D, x1, x2, s, self.D_G.mean))
        centred, raw, deviation = np.asarray(found, float).T
        return {"centred": float(centred.min()), "raw": float(raw.min()), "deviation": float(deviation.max())}


@jax.jit
def _linear(D, x1, x2, s, u):  # in one call, so that D(x1) and D(x2) serve all three
    centred, raw = (linearity(D, x1, x2, s, mean=mean) for mean in (u, None))
    return centred, raw, linearity_deviation(D, x1, x2, s)


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


def _answers(D: Denoiser, x: np.ndarray, sigma: float, block: int = 250) -> np.ndarray:
    """D(x; σ) in blocks of one shape, the last filled up."""
    blocks = [x[np.arange(start, start + block) % len(x)] for start in range(0, len(x), block)]
    return np.concatenate([np.asarray(apply(D, jnp.asarray(rows), jnp.float32(sigma))) for rows in blocks])[
        : len(x)
    ]


def _rounded(found: Any) -> Any:
    """Numbers to five digits, in lists and dictionaries."""
    if isinstance(found, dict):
        return {key: _rounded(value) for key, value in found.items()}
    return [_rounded(value) for value in found] if isinstance(found, list | tuple) else float(f"{found:.5g}")
