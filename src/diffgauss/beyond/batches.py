"""Large batches in the memory of small ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def in_batches(f: Callable[[Any, Any], Any], x: Any, sigma: Any, size: int) -> Any:
    """f(x, σ) by at most so many members at a time, so that memory does not grow with the batch. σ: () or (b,)."""
    if len(x) <= size:
        return f(x, sigma)
    levels = jnp.broadcast_to(sigma, x.shape[:1])
    return lax.map(lambda one: jax.tree.map(lambda a: a[0], f(one[0][None], one[1])), (x, levels), batch_size=size)
