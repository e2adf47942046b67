"""Networks that a reader trained: kept, read again, and told from those that are not there or of another form."""

import jax
import numpy as np
import pytest
from flax import nnx

import diffgauss as dg
from diffgauss.zoo import mine


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def network(seed=3):
    D = dg.EDMDenoiser(dg.UNet.tiny(28, 1, rngs=nnx.Rngs(0)), 0.7)
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: draw.normal(0, 0.1, leaf.shape).astype(np.float32), D)


def test_what_is_kept_comes_back():
    D, x = network(), np.ones((2, 28, 28, 1), np.float32)
    path = dg.zoo.keep("many", D, images=3000, steps=2048)
    assert path.name == "many.safetensors" and dg.checkpoint.facts(path) == {"images": 3000, "steps": 2048}
    found = dg.zoo.own("many")
    assert found.whose == "yours"
    np.testing.assert_array_equal(dg.apply(found.D, x, 2.0), dg.apply(jax.tree.map(jax.numpy.asarray, D), x, 2.0))


@pytest.mark.parametrize("name, instead", mine.INSTEAD.items())
def test_without_a_file_it_is_the_zoo_s(name, instead):
    found, x = dg.zoo.own(name), np.ones((1, 28, 28, 1), np.float32)
    assert found.whose == f"the zoo's {instead}"
    np.testing.assert_array_equal(dg.apply(found.D, x, 2.0), dg.apply(dg.zoo.load(instead), x, 2.0))


def test_leaves_of_another_class_are_kept_too():
    leaves = jax.tree.leaves(network())
    dg.zoo.keep("few", {f"{k:03d}": leaf for k, leaf in enumerate(leaves)})
    for a, b in zip(jax.tree.leaves(dg.zoo.own("few").D), leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_network_or_name_is_refused_and_the_old_one_stays():
    dg.zoo.keep("many", network(1))
    wide = dg.EDMDenoiser(dg.UNet.tiny(28, 1, width=8, rngs=nnx.Rngs(0)), 0.7)
    with pytest.raises(ValueError, match=r"got \d+ weights; needs the 290868 of UNet.tiny"):
        dg.zoo.keep("many", wide)
    assert dg.zoo.own("many").whose == "yours"
    for call in (lambda: dg.zoo.own("all"), lambda: dg.zoo.keep("all", network())):
        with pytest.raises(ValueError, match="got 'all'; needs one of many, few"):
            call()


def test_a_damaged_file_is_said_to_be_damaged():
    path = dg.zoo.keep("many", network())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="many.safetensors is damaged"):
        dg.zoo.own("many")
