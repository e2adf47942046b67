"""Which points may be near a query: bounds from few coordinates, an order by neighbourhood, visits where needed."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

BANDS = 8


def features(z: Float[Array, " b d"], basis: Float[Array, " d k"], rank: int) -> Float[Array, " b f"]:
    """z·w ≤ f(z)·f(w): the leading coordinates of z, and the lengths of its other parts, by Cauchy and Schwarz.

    basis: orthonormal columns, of which the first rank give coordinates and the others parts, band by band; a last
    part is what they do not span.
    """
    c = jnp.matmul(z, basis, precision="highest")
    rest = z - jnp.matmul(c, basis.T, precision="highest")
    edges = np.unique(np.linspace(rank, basis.shape[1], BANDS).astype(int))
    bands = [c[:, i:j] for i, j in zip(edges, edges[1:], strict=False)] + [rest]
    return jnp.concatenate([c[:, :rank], *(jnp.sqrt((part**2).sum(1, keepdims=True)) for part in bands)], 1)


def directions(z: np.ndarray) -> np.ndarray:
    """Principal directions of the rows of z as columns, first those along which they differ most."""
    if len(z) <= z.shape[1]:
        return np.linalg.svd(z, full_matrices=False)[2].T
    return np.linalg.eigh(z.T @ z)[1][:, ::-1]


def by_neighbourhood(points: np.ndarray, block: int) -> np.ndarray:
    """An order in which the rows of a block are near each other: halved along the leading direction, repeatedly."""
    out, todo = [], [np.arange(len(points))]
    while todo:
        rows = todo.pop()
        if len(rows) <= block:
            out.append(rows)
            continue
        part = points[rows] - points[rows].mean(0)
        along = part @ np.linalg.eigh(part.T @ part)[1][:, -1]
        half = max(1, len(rows) // block // 2) * block
        split = np.argpartition(along, half - 1)
        todo += [rows[split[half:]], rows[split[:half]]]
    return np.concatenate(out)


def visit(need: Bool[Array, " n b"], carry: Any, step: Callable[[Any, Any, Any], Any], at_once: int = 16) -> Any:
    """step(carry, k, queries) for each block k of n, until all of its queries that are needed had their turn.

    Its cost follows the number that is needed. queries: the numbers of min(b, at_once) queries, or b for none,
    filling up the last turn: step must leave these as they are.
    """
    n, b = need.shape
    some = min(at_once, b)
    place = jnp.where(need, jnp.cumsum(need, 1) - 1, b + some)
    order = jnp.full((n, b + some), b).at[jnp.arange(n)[:, None], place].set(jnp.arange(b)[None], mode="drop")
    counts = need.sum(1)

    def over_queries(carry, k):
        def turn(state):
            start, carry = state
            return start + some, step(carry, k, lax.dynamic_slice(order[k], (start,), (some,)))

        return lax.while_loop(lambda state: state[0] < counts[k], turn, (0, carry))[1], None

    return lax.scan(over_queries, carry, jnp.arange(n))[0]
