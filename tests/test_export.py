"""Every kernel lowers for GPU and TPU, on a machine that has neither: shapes, layouts and dtypes suit all three.

The denoisers are found in tests/test_contract.py; here are samplers, training, distillation and measures, whose
arguments differ, so that they are listed.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import diffgauss as dg
from diffgauss.distill import _descend, pairs as least_squares_pairs

IMAGES = np.random.default_rng(0).normal(size=(40, 8, 8, 1)).astype(np.float32)
X, SIGMA = jnp.asarray(IMAGES[:4]), jnp.full(4, 2.0)


def network():
    return dg.EDMDenoiser(dg.UNet.tiny(8, 1, width=4, rngs=nnx.Rngs(0)), 0.7)


def training():
    config = dg.TrainConfig(steps=8, batch=4)
    return partial(dg.train_steps, config=config, n=4), (
        dg.TrainState.start(network(), config),
        jnp.asarray(IMAGES),
    )


def linear(rank=8):
    """A linear denoiser of three levels: low-rank beside D_G, or full."""
    D_G = dg.GaussianDenoiser.from_data(IMAGES)
    V, base = (None, None) if rank == 64 else (D_G.U[:, :rank], D_G)
    return dg.LinearDenoiser(dg.karras_sigmas(3), jnp.ones((3, 64, rank)), jnp.ones((3, 8, 8, 1)), V, base)


def pairs(V=None):
    return least_squares_pairs, (
        network(),
        dg.GaussianDenoiser.from_data(IMAGES),
        V,
        X,
        SIGMA[0],
        jax.random.key(0),
    )


def scores(D, x, sigma, mean, U, key):
    """Every jitted metric of one denoiser."""
    pair = (D, x, x[::-1], sigma)
    raw, centred = dg.linearity(*pair), dg.linearity_deviation(*pair, alpha=0.3, mean=mean)
    return raw, centred, dg.jacobian_gains(D, x, sigma, U), *dg.jacobian_svd(D, x, sigma, 3, key=key, steps=2)


KERNELS = {
    "sample": lambda: (dg.sample, (network(), X, dg.karras_sigmas(4))),
    "trajectory": lambda: (dg.trajectory, (dg.GaussianDenoiser.from_data(IMAGES), X, dg.karras_sigmas(4))),
    "train_steps": training,
    "distill": pairs,
    "distill, low rank": lambda: pairs(jnp.ones((64, 5))),
    "distill_sgd": lambda: (
        partial(_descend, steps=3, batch=4),
        (network(), jnp.asarray(IMAGES), SIGMA[0], jax.random.key(0), jnp.float32(1e-3)),
    ),
    "affine": lambda: (lambda D, sigma: dg.affine(D, (8, 8, 1), sigma), (linear(), SIGMA[0])),
    "metrics": lambda: (scores, (network(), X, SIGMA[0], IMAGES[0], linear().V, jax.random.key(0))),
}


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_lowers(kernel, platform):
    f, arguments = KERNELS[kernel]()
    found = export.export(jax.jit(f), platforms=[platform])(*arguments)
    assert found.platforms == (platform,)
    assert "stablehlo" in found.mlir_module()
    want = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(jax.eval_shape(f, *arguments))]
    assert [(aval.shape, aval.dtype) for aval in found.out_avals] == want


def test_a_kernel_of_one_platform_is_noticed():
    """The control: a call that only a processor has does not lower for a TPU."""

    def lapack_only(x):
        return jnp.linalg.eig(x)[0]

    with pytest.raises(NotImplementedError, match="tpu|TPU|not found|only"):
        export.export(jax.jit(lapack_only), platforms=["tpu"])(jnp.eye(3))
