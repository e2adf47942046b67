"""One device, eight devices and two processes give the same numbers."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import diffgauss as dg
from diffgauss.blocks import in_blocks

WORKER = Path(__file__).with_name("worker.py")


def run(folder: Path, *, devices: int = 1, processes: int = 1) -> dict[str, np.ndarray]:
    """The results of worker.py on so many virtual devices in each of so many real processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = folder / f"{devices}x{processes}.npz"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    arguments = [sys.executable, str(WORKER), str(out), str(port), str(processes)]
    running = [
        subprocess.Popen([*arguments, str(i)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in range(processes)
    ]
    try:
        for process in running:
            said, _ = process.communicate(timeout=400)
            assert process.returncode == 0, said
    finally:
        for process in running:
            process.kill()
    return dict(np.load(out))


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(tmp_path_factory.mktemp("one"))


@pytest.mark.slow
@pytest.mark.parametrize("devices, processes", [(8, 1), (1, 2), (2, 2)])
def test_the_same_numbers(one, tmp_path, devices, processes):
    many = run(tmp_path, devices=devices, processes=processes)
    assert one["devices"] == 1 and many["devices"] == devices * processes
    assert one.keys() == many.keys()
    for name in one.keys() - {"devices"}:
        assert np.isfinite(many[name]).all(), name
        np.testing.assert_allclose(many[name], one[name], rtol=2e-4, atol=1e-4, err_msg=name)
    np.testing.assert_array_equal(many["indices"], one["indices"])
    np.testing.assert_allclose(many["losses"], one["losses"], rtol=1e-5)


@pytest.mark.parametrize("module", ["diffgauss", "diffgauss.cli"])
def test_importing_starts_no_backend(module):
    """``jax.distributed.initialize`` must come before the first array."""
    code = f"import {module}; from jax._src import xla_bridge as b; assert not b.backends_are_initialized()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_more_devices_than_points(unchecked):
    with pytest.raises(ValueError, match="got 0 points; needs at least one for each of 1 devices"):
        in_blocks(np.zeros((0, 2)), 4, np.zeros(2), dg.data_mesh())


@pytest.mark.slow
def test_a_run_of_the_zoo_in_two_processes_from_the_command_line(tmp_path):
    """Two processes that share a folder train as one, stop, and go on alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-c", "from diffgauss.cli import app; app()", "zoo", "train", "n64-w4"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    both, alone = tmp_path / "both", tmp_path / "alone"
    part = ["--into", str(both), "--steps", "64", "--coordinator", address, "--processes", "2", "--process"]
    running = [subprocess.Popen([*command, *part, str(i)], env=env) for i in range(2)]
    try:
        assert [process.wait(timeout=400) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    subprocess.run([*command, "--into", str(both), "--steps", "96"], env=env, check=True)
    subprocess.run([*command, "--into", str(alone), "--steps", "96"], env=env, check=True)
    two, one = (load_file(p / "n64-w4.state.safetensors")["['losses']"] for p in (both, alone))
    np.testing.assert_allclose(two, one, rtol=1e-4)
