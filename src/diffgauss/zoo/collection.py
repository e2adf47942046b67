"""What is in the zoo: weights, losses and records of the shipped runs."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from diffgauss import files
from diffgauss.data import store
from diffgauss.denoisers.network import EDMDenoiser
from diffgauss.zoo import checkpoint, runs
from diffgauss.zoo.runs import Run, entries, run


def load(name: str, step: int | None = None) -> EDMDenoiser:
    """D_θ with the averaged weights after that many steps, or at the end: a shipped checkpoint.

    Raises ValueError for an unknown name, a step at which no snapshot was taken, or a damaged file;
    FileNotFoundError where the entry is not shipped; as ``data.store.fetch`` where its file is not here.
    """
    this = run(name)
    step = this.steps if step is None else step
    if step not in this.snapshots:
        raise ValueError(f"{name} has no snapshot of step {step}; needs one of {this.snapshots}")
    half = read(_shipped(name), this.facts, whole(this))[f"step {step}"]
    return jax.device_put(cast(half, np.float32))


def losses(name: str) -> Float[Array, " steps"]:
    """The recorded loss of each training step: (steps,). Raises as ``load``."""
    return read(_shipped(name), run(name).facts, whole(run(name)))["losses"]


def record(name: str) -> dict[str, Any]:
    """Settings, scores of each snapshot, seconds, processor and versions of a shipped run. Raises as ``load``."""
    return checkpoint.facts(_shipped(name))


def index(where: Path) -> dict[str, Any]:
    """The record of each finished run in a folder, with 64 means of its losses and the SHA-256 of its file.

    Scores that the folder's zoo.json, or else the shipped one, has beyond those in the file (``score``) stay while
    the file is the same.
    """
    own = where if (where / "zoo.json").exists() else runs.folder()
    found, known = {}, _listed(own) if (own / "zoo.json").exists() else {}
    for name, this in entries().items():
        path = where / f"{name}.safetensors"
        if path.exists():
            curve = np.asarray(read(path, this.facts, whole(this))["losses"], float).reshape(64, -1).mean(1)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = checkpoint.facts(path) | {"losses": curve.round(5).tolist(), "sha256": digest}
            if known.get(name, {}).get("sha256") == digest:
                scores = found[name]["scores"]
                found[name]["scores"] = {s: known[name]["scores"].get(s, {}) | scores[s] for s in scores}
    return found


def shipped() -> dict[str, Any]:
    """zoo.json: the ``index`` of the shipped runs. Raises FileNotFoundError, or ValueError for a damaged one."""
    return _listed(runs.folder())


def _listed(where: Path) -> dict[str, Any]:
    found = files.read_json(where / "zoo.json")
    for name, known in found.items():
        scores = known.get("scores") if isinstance(known, dict) else None
        if not isinstance(scores, dict) or not all(isinstance(of, dict) for of in scores.values()):
            raise ValueError(f"{where / 'zoo.json'} says odd things of {name}; needs it as it was written")
    return found


@cache
def untrained(this: Run) -> EDMDenoiser:
    """The net of a run before its first step."""
    side, _, channels = this.event
    return EDMDenoiser(this.net(side, channels, width=this.width, rngs=nnx.Rngs(this.seed)), this.config.sigma_data)


def _shipped(name: str) -> Path:
    run(name)  # raises for an unknown one
    return store.path(f"zoo/{name}.safetensors")


def read(path: Path, of: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a file, in the structure of like. Raises ValueError where the file is of another run."""
    if (got := checkpoint.facts(path).get("run")) != of:
        raise ValueError(f"{path} is of the run {got}; needs {of}")
    return checkpoint.load(path, like)


def whole(this: Run) -> dict[str, Any]:
    """What a finished file holds: the losses and the averaged weights of each snapshot."""
    half = cast(untrained(this), np.float16)
    return {"losses": jax.ShapeDtypeStruct((this.steps,), np.float32)} | {f"step {s}": half for s in this.snapshots}


def cast(D: Any, dtype: Any) -> Any:
    """The same net in another type. Snapshots are float16: half the bytes, each weight rounded by up to 5e-4."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), D)
