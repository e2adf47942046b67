"""Which points may be near a query: an order that puts neighbours together, bounds, visits where they need them."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from diffgauss.moments import principal_components

PADDED = 1e14
"""Half norms beyond this are those of padding. As a half distance it has the weight 0."""


def features(z: Float[Array, " b d"], basis: Float[Array, " d k"]) -> Float[Array, " b f"]:
    """(Pz, ‖Qz‖), so that z·w ≤ f(z)·f(w): coordinates along the basis and the length of what is left (f = k + 1).

    basis: orthonormal columns.  Ours, by Cauchy and Schwarz.
    """
    c = jnp.matmul(z, basis, precision="highest")
    rest = z - jnp.matmul(c, basis.T, precision="highest")
    return jnp.concatenate([c, jnp.sqrt((rest**2).sum(1, keepdims=True))], 1)


def half_distances(
    z: Float[Array, " b f"], y: Float[Array, " m f"], half_norm: Float[Array, " m"], *, images_first: bool = False
) -> Array:
    """(‖z − yᵢ‖² − ‖z‖²)/2 for a block, or a lower bound by ``features``: (b, m) or (m, b).  Equation 4."""
    if images_first:
        return half_norm[:, None] - jnp.matmul(y, z.T, precision="highest")
    return half_norm[None] - jnp.matmul(z, y.T, precision="highest")


def visit(need: Bool[Array, " n b"], carry: Any, step: Callable[[Any, Any, Any], Any], at_once: int = 16) -> Any:
    """step(carry, k, queries) for each block k of n, until all of its queries that are needed had their turn.

    Its cost follows the number that is needed. queries: the numbers of min(b, at_once) queries, or b for none,
    filling up the last turn: step must leave these as they are.
    """
    n, b = need.shape
    some = min(at_once, b)

    def over_queries(carry, block):
        k, wanted = block
        place = jnp.where(wanted, jnp.cumsum(wanted) - 1, b + some)
        order = jnp.full(b + some, b).at[place].set(jnp.arange(b), mode="drop")
        count = wanted.sum()

        def turn(state):
            start, carry = state
            return start + some, step(carry, k, lax.dynamic_slice(order, (start,), (some,)))

        return lax.while_loop(lambda state: state[0] < count, turn, (0, carry))[1], None

    return lax.scan(over_queries, carry, (jnp.arange(n, dtype=jnp.int32), need))[0]


def near_groups(
    blocks, group, f, variance, least, need, limit, reference, *, room: int = 1024
) -> tuple[Array, Array, Array, Array]:
    """The groups of the blocks that are needed whose half distance may be below the limit, for each query.

    blocks: features (n_blocks, m, f) and half norms (n_blocks, m), in groups of ``group``; f: (b, f) of queries;
    least: (n_blocks, b), a lower bound for each block; limit ≥ reference: (b,). Returns bounds and numbers of these
    groups, (b, room), ∞ and 0 for none; Σ e^{−(s − reference)/σ²} over all other points, at most, or ∞ where there
    are more groups than room, (b,); and the least bound of each block, (n_blocks, b).
    """
    fine, half_norms = blocks
    (n, m, _), b = fine.shape, len(f)
    room = min(room, n * m // group)

    def step(carry, k, rows):
        near, which, count, rest, lowest = carry
        half = half_distances(f[rows], fine[k], half_norms[k], images_first=True)
        bounds = half.reshape(-1, group, len(rows)).min(1).T
        here = bounds < limit[rows, None]
        place = rows[:, None], jnp.where(here, count[rows, None] + jnp.cumsum(here, 1) - 1, room)
        mass = jnp.where(here, 0, jnp.exp(-(bounds - reference[rows, None]) / variance[rows, None]))
        return (
            near.at[place].set(bounds, mode="drop"),
            which.at[place].set((k * (m // group) + jnp.arange(m // group, dtype=jnp.int32))[None], mode="drop"),
            count.at[rows].add(here.sum(1, dtype=jnp.int32)),
            rest.at[rows].add(group * mass.sum(1)),
            lowest.at[k, rows].set(bounds.min(1)),
        )

    rest = m * jnp.where(need, 0, jnp.exp(-(least - reference[None]) / variance[None])).sum(0)
    near, which = jnp.full((b, room), jnp.inf, f.dtype), jnp.zeros((b, room), jnp.int32)
    start = near, which, jnp.zeros(b, jnp.int32), rest, least
    near, which, count, rest, lowest = visit(need, start, step)
    return near, which, jnp.where(count > room, jnp.inf, rest), lowest


def mean_of_nearest(
    blocks, group, z, variance, bounds, which, known, margin, *, lists=(32, 256), at_once: int = 4
) -> tuple[Array, Array, Array]:
    """For each query the softmax mean over groups, from the nearest on, while bound < least + margin.

    blocks: points (n_blocks, m, d) and half norms (n_blocks, m), in groups of ``group``; bounds, which: (b, n), of
    groups lower bounds of half distances, ∞ for none, and their numbers; known: some point y₀ of theirs for each
    query, (b, d), and its half distance, (b,); lists: how many groups are put in order, multiples of at_once, more
    only for queries that get to the end of fewer; at_once: groups a turn. Returns the bound at which the walk ended
    (b,), the least half distance (b,), and the mean (b, d), NaN for a query that has no near group.
    """
    d, n_groups = z.shape[1], bounds.shape[1]
    points, half_norms = blocks[0].reshape(-1, group, d), blocks[1].reshape(-1, group)

    def one(query):
        z, variance, bounds, which, (y0, best), margin = query

        def walk(n, state):
            """Go on through the n nearest groups."""
            near, order = map(lax.optimization_barrier, lax.top_k(-bounds, n))  # else a processor sorts the row
            beyond = -near[-1] if n < n_groups else jnp.asarray(jnp.inf, z.dtype)
            near, order = jnp.pad(-near, (0, at_once), constant_values=beyond), jnp.pad(which[order], (0, at_once))

            def more(state):
                return (state[0] < n) & (near[state[0]] < state[2] + margin)

            def turn(state):
                start, _, least, total, mean = state
                rows, bound = (lax.dynamic_slice(part, (start,), (at_once,)) for part in (order, near))
                real = jnp.isfinite(bound) & (start + jnp.arange(at_once) < n)
                y, real = points[rows].reshape(-1, d), jnp.repeat(real, group) & (half_norms[rows].ravel() < PADDED)
                w = y - y0[None]  # (‖y − z‖² − ‖y₀ − z‖²)/2, which rounds less than either square
                s = best + (w**2).sum(1) / 2 + jnp.matmul(w, y0 - z, precision="highest")
                start = start + at_once
                return start, near[start], *online(least, total, mean, jnp.where(real, s, PADDED), y, variance)

            return lax.while_loop(more, turn, (state[0], near[state[0]], *state[2:]))

        sizes = sorted({min(n, n_groups) for n in (*lists, n_groups)})
        state = walk(sizes[0], (0, best, best, jnp.zeros_like(best), jnp.zeros_like(z)))
        for n in sizes[1:]:
            state = lax.cond(state[1] < state[2] + margin, lambda state, n=n: walk(n, state), lambda s: s, state)
        _, end, least, total, mean = state
        return end, least, mean / total

    return lax.map(one, (z, variance, bounds, which, known, margin))


def mean_of_blocks(blocks, z, variance, need):
    """The softmax mean of each query over the blocks that it needs, (b, d), NaN where none: need (n_blocks, b)."""
    points, half_norms = blocks

    def step(carry, k, rows):
        s = half_distances(z[rows], points[k], half_norms[k])
        least, total, mean = (part[rows] for part in carry)
        new = online(least, total, mean, s, points[k], variance[rows])
        return tuple(part.at[rows].set(value) for part, value in zip(carry, new, strict=True))

    start = jnp.full_like(variance, PADDED), jnp.zeros_like(variance), jnp.zeros_like(z)
    _, total, mean = lax.cond(need.any(), lambda: visit(need, start, step), lambda: start)
    return mean / total[:, None]


def online(least, total, mean, s, y, variance):
    """Σ e^{−(s − least)/σ²} and Σ e^{−(s − least)/σ²} y with more points: s (…, m), y (m, d).  Equation 4."""
    new = jnp.minimum(least, s.min(-1))
    w = jnp.exp(-(s - new[..., None]) / variance[..., None])
    shrink = jnp.exp(-(least - new) / variance)
    return new, total * shrink + w.sum(-1), mean * shrink[..., None] + jnp.matmul(w, y, precision="highest")


def by_neighbourhood(points: np.ndarray, block: int) -> np.ndarray:
    """An order in which the rows of a block are near each other: halved along the leading direction, repeatedly."""
    out, todo = [], [np.arange(len(points))]
    while todo:
        rows = todo.pop()
        if len(rows) <= block:
            out.append(rows)
            continue
        part = points[rows] - points[rows].mean(0)
        along = part @ principal_components(part, np.zeros(part.shape[1]))[0][:, 0]
        half = max(1, len(rows) // block // 2) * block
        split = np.argpartition(along, half - 1)
        todo += [rows[split[half:]], rows[split[:half]]]
    return np.concatenate(out)
