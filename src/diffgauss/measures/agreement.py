"""How far the samples of two denoisers from the same noise agree, with an interval."""

import numpy as np
from numpy.typing import ArrayLike

from diffgauss.core import check_points
from diffgauss.estimate import Estimate, bootstrap


def sample_r2(
    samples: ArrayLike, reference: ArrayLike, *, mean: ArrayLike | None = None, seed: int = 0, resamples: int = 2000
) -> Estimate:
    """R² = 1 − Σᵢ ‖xᵢ − x'ᵢ‖² / Σᵢ ‖x'ᵢ − u‖², pooled over samples xᵢ and references x'ᵢ of the same noise.

    samples, reference: (k, *event), k ≥ 2; mean: u, the training set's, by default the references'. 1 for equal
    sets, 0 for u itself, below 0 for worse. The interval is a percentile bootstrap over i, the same for one seed.
    Raises ValueError for other shapes, NaN, resamples < 1 or no spread.  Efron & Tibshirani (1993), Ch. 13.
    """
    x, y = _about(samples, reference, mean)
    error, spread = ((x - y) ** 2).sum(-1), (y**2).sum(-1)
    if not spread.any():
        raise ValueError("the references all equal the mean; needs some spread to explain")
    return bootstrap(lambda rows: 1 - error[rows].sum(-1) / spread[rows].sum(-1), len(x), seed, resamples)


def sample_cosine(
    samples: ArrayLike, reference: ArrayLike, *, mean: ArrayLike | None = None, seed: int = 0, resamples: int = 2000
) -> Estimate:
    """Medianᵢ cos∠(xᵢ − u, x'ᵢ − u), centred because images share a mean that would inflate it.

    Arguments, interval and errors as ``sample_r2``.  Efron & Tibshirani (1993), Ch. 13.
    """
    each = _cosines(*_about(samples, reference, mean), "equal to the mean; needs an angle")
    return bootstrap(lambda rows: np.median(each[rows], -1), len(each), seed, resamples)


def sample_pearson(samples: ArrayLike, reference: ArrayLike, *, seed: int = 0, resamples: int = 2000) -> Estimate:
    """Medianᵢ r²(xᵢ, x'ᵢ), r the correlation of the pixels of xᵢ and x'ᵢ, each about its own pixels' mean.

    Not ``sample_r2``: what all images have in common counts as agreement here, a wrong contrast or brightness does
    not count against it. Arguments, interval and errors as ``sample_r2``.  Kamb & Ganguli (2025), Table 1.
    """
    x, y = _about(samples, reference, np.zeros(np.shape(reference)[1:]))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    each = _cosines(x, y, "whose pixels are all equal; needs contrast") ** 2
    return bootstrap(lambda rows: np.median(each[rows], -1), len(each), seed, resamples)


def _cosines(x, y, otherwise):
    norms = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    if not norms.all():
        raise ValueError(f"pair {int(np.argmin(norms))} has a member {otherwise}")
    return (x * y).sum(-1) / norms


def _about(samples, reference, mean):
    """Both sets less u in float64: (k, d) each."""
    check_points(samples, "samples", at_least=2)
    check_points(reference, "reference", at_least=len(np.asarray(samples)))
    if np.shape(samples) != np.shape(reference):
        raise ValueError(f"samples {np.shape(samples)} and reference {np.shape(reference)}; needs the same shape")
    x, y = (np.asarray(part, np.float64) for part in (samples, reference))
    u = y.mean(0) if mean is None else np.asarray(mean, np.float64)
    if u.shape != x.shape[1:]:
        raise ValueError(f"mean has shape {u.shape}; needs {x.shape[1:]}")
    return (x - u).reshape(len(x), -1), (y - u).reshape(len(y), -1)
