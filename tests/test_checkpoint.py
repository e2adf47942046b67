"""Weights on disk: what is written comes back, and nothing else is ever accepted."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from diffgauss import files
from diffgauss.zoo import checkpoint

TREE = {
    "a": jnp.arange(6.0).reshape(2, 3),
    "b": [jnp.int32(7), jnp.ones((0, 2))],
    "c": jnp.zeros(3).at[0].set(-0.0),
}


@pytest.fixture
def path(tmp_path):
    checkpoint.save(tmp_path / "deep" / "x.safetensors", TREE, step=3, losses=[0.5, 0.25])
    return tmp_path / "deep" / "x.safetensors"


def test_round_trip(path):
    back = checkpoint.load(path, jax.eval_shape(lambda: TREE))
    assert jax.tree.structure(back) == jax.tree.structure(TREE)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(TREE), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and (np.asarray(a) == np.asarray(b)).all()
    assert checkpoint.facts(path) == {"step": 3, "losses": [0.5, 0.25]}


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, jax.tree.map(lambda x: x + 1, TREE))
    assert path.read_bytes() == before


def test_every_flipped_byte_is_noticed(path):
    content = path.read_bytes()
    for place in (0, 9, len(content) // 2, len(content) - 2, len(content) - 30):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="needs"):
            checkpoint.load(path, TREE)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match="is damaged or no .safetensors file .*needs a whole one"):
        checkpoint.load(path, TREE)


def test_missing_foreign_pickled_and_newer(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="is missing; needs a checkpoint"):
        checkpoint.load(tmp_path / "none.safetensors", TREE)
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no diffgauss header"):
        checkpoint.load(tmp_path / "foreign.safetensors", TREE)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"no .safetensors file"):
        checkpoint.load(tmp_path / "x.pkl", TREE)
    record = {"schema": checkpoint.SCHEMA + 1, "sha256": "", "facts": {}}
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "new.safetensors", {"diffgauss": json.dumps(record)})
    with pytest.raises(ValueError, match=f"has schema {checkpoint.SCHEMA + 1}; .* needs {checkpoint.SCHEMA}"):
        checkpoint.load(tmp_path / "new.safetensors", TREE)


def test_the_wrong_checkpoint(path):
    with pytest.raises(ValueError, match="not in both"):
        checkpoint.load(path, {"a": TREE["a"]})
    with pytest.raises(ValueError, match=r"\['a'\] is float32\(2, 3\); needs float32\(3, 2\)"):
        checkpoint.load(path, TREE | {"a": jnp.zeros((3, 2))})
    with pytest.raises(ValueError, match="needs int32"):
        checkpoint.load(path, TREE | {"a": jnp.zeros((2, 3), int)})
