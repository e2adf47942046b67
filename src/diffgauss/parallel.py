"""Several devices, of one process or of many: one mesh over all of them, data split along its only axis."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxtyping import Array

AXIS = "data"


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """All devices (of all processes, after ``jax.distributed.initialize``) or those given, in a row."""
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (AXIS,))


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """A pytree of arrays, the same in every process, with a copy on each device; without mesh, on the default."""
    tree = jax.tree.map(jnp.asarray, tree)
    return tree if mesh is None else jax.tree.map(lambda leaf: _put(np.asarray(leaf), mesh, P()), tree)


def split(rows: np.ndarray, mesh: Mesh | None, fill: float = 0.0) -> Array:
    """Host rows (N, …), the same in every process, in equal shares on the devices, padded with fill at the end."""
    if mesh is None:
        return jnp.asarray(rows)
    more = -len(rows) % mesh.size
    padding = np.full((more, *rows.shape[1:]), fill, rows.dtype)
    return _put(np.concatenate([rows, padding]) if more else rows, mesh, P(AXIS))


def over(f: Callable, mesh: Mesh) -> Callable:
    """f of each device's own share of its arguments, jointly: f must return the same on all (psum, all_gather)."""
    return jax.shard_map(f, mesh=mesh, in_specs=P(AXIS), out_specs=P(), check_vma=False)


def batch(x: Array, mesh: Mesh | None) -> Array:
    """x (b, …) inside jit with its members spread over the devices; x itself for no mesh."""
    return x if mesh is None else lax.with_sharding_constraint(x, NamedSharding(mesh, P(AXIS)))


def merge(mean: Array, log_z: Array) -> tuple[Array, Array]:
    """Inside ``over``: the softmax average of all shares from each one's mean (b, …) and log Z (b,)."""
    top = lax.pmax(lax.stop_gradient(log_z), AXIS)
    weight = jnp.exp(log_z - top)
    total = lax.psum(weight, AXIS)
    mean = lax.psum(mean * weight.reshape(weight.shape + (1,) * (mean.ndim - 1)), AXIS)
    return mean / total.reshape(total.shape + (1,) * (mean.ndim - 1)), top + jnp.log(total)


def float64() -> Any:
    """A context with JAX in double precision, whatever its default; older versions have it elsewhere."""
    return (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64(True)  # type: ignore[attr-defined]


def _put(array: np.ndarray, mesh: Mesh, spec: P) -> Array:
    """A process sends only what its own devices hold."""
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])
