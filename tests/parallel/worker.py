"""What the parallel tests run on one device, on several and in several processes: everything that takes a mesh.

python worker.py OUT [PORT PROCESSES PROCESS]   the results go to OUT.npz (of the first process)
"""

import sys
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import lax
from jax.sharding import PartitionSpec as P

import diffgauss as dg
from diffgauss import parallel


def main(out: str, port: int = 0, processes: int = 1, process: int = 0) -> None:
    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
    mesh = dg.data_mesh()
    images = dg.load(split="test")[:1501]  # no multiple of anything
    x: Any = images[:20] + np.random.default_rng(0).normal(size=(20, 28, 28, 1)).astype(np.float32)
    D_M = dg.EmpiricalDenoiser.from_data(images, block=128, mesh=mesh)
    D_G = dg.GaussianDenoiser.from_data(images, mesh=mesh)
    found = {"devices": jax.device_count(), "lam": D_G.lam, "D_G": D_G(x, 1.0)}
    for sigma in (0.1, 1.0, 10.0):
        mean, log_z = D_M.posterior(x, sigma)
        found |= {f"D_M {sigma}": mean, f"log Z {sigma}": log_z, f"entropy {sigma}": D_M.entropy(x, sigma)}
    specs = {"in_specs": (P(), P(parallel.AXIS)), "out_specs": P(), "check_vma": False}
    own = jax.shard_map(lambda D, z: lax.all_gather(D(z, 0.2), parallel.AXIS, tiled=True), mesh=mesh, **specs)
    screened = parallel.replicate(dg.ScreenedDenoiser.from_data(images, dense=1.0), mesh)
    found["D_scr 0.2"] = jax.jit(own)(screened, parallel.split(x, mesh))[:20]
    found["slope"] = jax.jvp(lambda z: D_M(z, 1.0), (x,), (x,))[1]
    found["sample"] = dg.sample(D_M, 80 * x, dg.karras_sigmas(5))
    near = dg.nearest(x, images, k=3, block=128, mesh=mesh)
    found |= {"distances": near.distances, "indices": near.indices}
    config = dg.TrainConfig(steps=24, batch=16)
    net = dg.UNet(28, 1, width=4, rngs=nnx.Rngs(0))
    state = dg.TrainState.start(dg.EDMDenoiser(net, config.sigma_data), config)
    state, found["losses"] = dg.fit(state, images, config, every=8, progress=False, mesh=mesh)
    found["kernel"] = state.ema.net.first.kernel[...]
    if mesh.size > 1:
        try:
            dg.fit(state, images, replace(config, batch=17), progress=False, mesh=mesh)
        except ValueError as error:
            assert f"batch = 17; needs a multiple of the {mesh.size} devices" in str(error)
        else:
            raise AssertionError("a batch of 17 was shared by an even number of devices")
    if process == 0:
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in found.items()}
        np.savez(out, **arrays)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
