"""Weights on disk: one .safetensors file with its facts in the header, written whole or not at all."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import safetensors
import safetensors.numpy

from diffgauss import files

T = TypeVar("T")
SCHEMA = 2
"""Since 2 the facts are under the digest too; files of 1 are read."""


def save(path: str | Path, tree: Any, **facts: Any) -> None:
    """Write the arrays of a pytree, each named by its path, and facts (anything JSON holds) to one file.

    A kill at any moment leaves the old file or the new one. The header records the schema and a SHA-256 of the
    facts and of all names, types, shapes and values.
    """
    arrays, facts = _named(tree), json.loads(json.dumps(facts))
    record = {"schema": SCHEMA, "sha256": _digest(arrays, facts), "facts": facts}
    files.write(path, safetensors.numpy.save(arrays, {"diffgauss": json.dumps(record)}))


def facts(path: str | Path) -> dict[str, Any]:
    """What ``save`` was told besides the arrays. Raises as ``load``."""
    return _read(Path(path))[1]


def load(path: str | Path, like: T) -> T:
    """The pytree that ``save`` wrote, in the structure of like (arrays or ``jax.eval_shape`` of them).

    Raises ValueError for a file that is damaged, truncated, foreign, of a newer schema, or whose arrays do not
    have the names, shapes and types of like; FileNotFoundError for a missing one.
    """
    arrays, _ = _read(Path(path))
    wanted = {jax.tree_util.keystr(k): leaf for k, leaf in jax.tree_util.tree_leaves_with_path(like)}
    if wanted.keys() != arrays.keys():
        odd = sorted(wanted.keys() ^ arrays.keys())
        raise ValueError(f"{path} holds {len(arrays)} arrays; needs {len(wanted)}; not in both: {odd[:3]}")
    for name, leaf in wanted.items():
        if (leaf.shape, leaf.dtype) != (arrays[name].shape, arrays[name].dtype):
            got = f"{arrays[name].dtype}{arrays[name].shape}"
            raise ValueError(f"{path}: {name} is {got}; needs {leaf.dtype}{leaf.shape}")
    return jax.tree.unflatten(jax.tree.structure(like), [jax.device_put(arrays[name]) for name in wanted])


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; needs a checkpoint that diffgauss wrote")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:  # type: ignore[no-untyped-call]
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or no .safetensors file ({error}); needs a whole one") from error
    try:
        record = json.loads(header["diffgauss"])
        schema, digest, known = record["schema"], record["sha256"], dict(record["facts"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} has no diffgauss header; needs a checkpoint that diffgauss wrote") from error
    if schema not in (1, SCHEMA):
        raise ValueError(f"{path} has schema {schema!r}; this version of diffgauss needs {SCHEMA}")
    if (got := _digest(arrays, None if schema == 1 else known)) != digest:
        raise ValueError(f"{path} is damaged: its arrays and facts have sha256 {got}; needs {digest}")
    return arrays, known


def _named(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(k): np.asarray(leaf, order="C") for k, leaf in leaves}


def _digest(arrays: dict[str, np.ndarray], facts: dict[str, Any] | None) -> str:
    total = hashlib.sha256(b"" if facts is None else json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        total.update(arrays[name].tobytes())
    return total.hexdigest()
