"""A measured value with its interval."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A measured value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], k: int, seed: int = 0, resamples: int = 2000
) -> Estimate:
    """statistic(rows) of all k rows, and its 2.5 and 97.5 % points over rows drawn with repetition.

    statistic: of rows (…, k) → (…). Raises ValueError for resamples < 1.  Efron & Tibshirani (1993), Ch. 13.
    """
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}; needs at least 1")
    rng, each = np.random.default_rng(seed), max(1, 2**22 // k)  # at most 32 MB of row numbers at a time
    counts = [min(each, resamples - start) for start in range(0, resamples, each)]
    found = np.concatenate([statistic(rng.integers(0, k, (count, k))) for count in counts])
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(float(statistic(np.arange(k))), float(low), float(high))
