"""Every kernel lowers for GPU and TPU, on a machine that has neither: shapes, layouts and dtypes suit all three."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import diffgauss as dg

IMAGES = np.random.default_rng(0).normal(size=(40, 8, 8, 1)).astype(np.float32)
X, SIGMA = jnp.asarray(IMAGES[:4]), jnp.full(4, 2.0)


def call(D, x, sigma):
    return D(x, sigma)


def network():
    return dg.EDMDenoiser(dg.UNet.tiny(8, 1, width=4, rngs=nnx.Rngs(0)), 0.7)


def training():
    config = dg.TrainConfig(steps=8, batch=4)
    return partial(dg.train_steps, config=config, n=4), (
        dg.TrainState.start(network(), config),
        jnp.asarray(IMAGES),
    )


KERNELS = {
    "D_M": lambda: (call, (dg.EmpiricalDenoiser.from_data(IMAGES, block=16), X, SIGMA)),
    "D_G": lambda: (call, (dg.GaussianDenoiser.from_data(IMAGES), X, SIGMA)),
    "D_theta": lambda: (call, (network(), X, SIGMA)),
    "sample": lambda: (dg.sample, (network(), X, dg.karras_sigmas(4))),
    "trajectory": lambda: (dg.trajectory, (dg.GaussianDenoiser.from_data(IMAGES), X, dg.karras_sigmas(4))),
    "train_steps": training,
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
