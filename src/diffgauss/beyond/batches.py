"""Large batches in the memory of small ones, and on all cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax


def in_batches(f: Callable[[Any, Any], Any], x: Any, sigma: Any, size: int) -> Any:
    """f(x, σ) by at most so many members at a time, so that memory does not grow with the batch. σ: () or (b,)."""
    if len(x) <= size:
        return f(x, sigma)
    levels = jnp.broadcast_to(sigma, x.shape[:1])
    return lax.map(lambda one: jax.tree.map(lambda a: a[0], f(one[0][None], one[1])), (x, levels), batch_size=size)


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(f: Callable[[Any, Any, Any], Any], D: Any, x: Any, sigma: Any, at_least: int) -> Any:
    """f(D, x, σ) with an equal share of the batch for each core, of at_least members or more; σ: () or (b,).

    f: compiled, a pytree of arrays (b, …), each member by itself. The first share is called here, so that what has
    to be compiled is compiled once, the others in threads that end with the call. Copies of the last member fill up
    the last share. Under a trace, in float64 (a thread has JAX's default precision), on several devices or other
    ones than processors, and with one core, it is just f(D, x, σ).
    """
    n = min(cores(), len(x) // at_least)
    zero = jnp.zeros(())  # traced under jit, also where what f closes over is and x is not
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((D, x, sigma, zero)))
    whole = n < 2 or traced or zero.dtype != jnp.float32
    if whole or jax.device_count() > 1 or jax.default_backend() != "cpu":
        return f(D, x, sigma)
    rows = np.minimum(np.arange(-(-len(x) // n) * n), len(x) - 1).reshape(n, -1)
    levels = np.asarray(sigma)[rows] if np.ndim(sigma) else [sigma] * n
    shares = list(zip(np.asarray(x)[rows], levels, strict=True))
    with ThreadPoolExecutor(n - 1) as pool:
        found = [f(D, *shares[0]), *pool.map(lambda share: f(D, *share), shares[1:])]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[: len(x)], *found)


def in_shares(f: Callable[[Any], Any], x: Any, at_least: int = 32) -> Any:
    """f(x) with an equal share of the batch for each processor core, as in

        dg.in_shares(lambda x: dg.sample(D, x, sigmas), x)

    f: a compiled function of a batch (b, …) that treats each member by itself and gives a pytree of arrays (b, …);
    at_least: members of a share. It helps networks, whose many small steps leave cores idle, and gains nothing for
    the two products of D_M. With a GPU, several devices or float64, and under ``jax.jit``, it is f(x);
    a derivative in what f closes over needs the ``jit`` inside.
    """
    return in_threads(lambda _, x, __: f(x), None, x, 1.0, at_least)
