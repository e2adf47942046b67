"""One device, eight devices and two processes give the same numbers."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import diffgauss as dg
from diffgauss.blocks import in_blocks
from diffgauss.zoo import checkpoint
from diffgauss.zoo.processes import Peers

pytestmark = pytest.mark.usefixtures("all_cores")
WORKER = Path(__file__).with_name("worker.py")


def run(folder: Path, *, devices: int = 1, processes: int = 1) -> dict[str, np.ndarray]:
    """The results of worker.py on so many virtual devices in each of so many real processes."""
    out = folder / f"{devices}x{processes}.npz"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    arguments = [sys.executable, str(WORKER), str(out), str(port()), str(processes)]
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
@pytest.mark.parametrize("devices, processes", [(8, 1), (2, 2)])
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


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


TRAIN = [sys.executable, "-m", "diffgauss", "zoo", "train", "n64-w4"]
GLOO = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}


def start(*options: str, process: int, where: str) -> subprocess.Popen:
    """One of two processes that train together."""
    together = ["--coordinator", where, "--processes", "2", "--process", str(process)]
    return subprocess.Popen([*TRAIN, *options, *together], env=GLOO, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_run_of_the_zoo_in_two_processes_from_the_command_line(tmp_path):
    """Two processes that share a folder train as one, stop, and go on alone."""
    both, alone, where = tmp_path / "both", tmp_path / "alone", f"127.0.0.1:{port()}"
    running = [start("--into", str(both), "--steps", "64", process=i, where=where) for i in range(2)]
    try:
        said = [process.communicate(timeout=400)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    assert said[1].startswith(f"process 1 of 2 meets the others at {where} and waits up to 300 s\n")
    for into in (both, alone):
        subprocess.run([*TRAIN, "--into", str(into), "--steps", "96"], env=GLOO, check=True)
    two, one = (load_file(p / "n64-w4.state.safetensors")["['losses']"] for p in (both, alone))
    np.testing.assert_allclose(two, one, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_where_one_is_killed_the_other_ends_with_one_line(lost, tmp_path):
    where, state = f"127.0.0.1:{port()}", tmp_path / "n64-w4.state.safetensors"
    running = [start("--into", str(tmp_path), "--save-every", "0", process=i, where=where) for i in range(2)]
    try:
        for _ in range(4000):
            if state.exists() or any(process.poll() is not None for process in running):
                break
            time.sleep(0.1)
        running[lost].kill()
        said = running[1 - lost].communicate(timeout=60)[1]
    finally:
        for process in running:
            process.kill()
    assert running[1 - lost].returncode in (1, -signal.SIGABRT)
    assert re.search(r"(?m)^diffgauss: .*the same commands go on from what was saved last\n\Z", said), said
    assert "stack trace" not in said and checkpoint.facts(state)["step"] >= 32


@pytest.mark.slow
def test_absent_ones_are_waited_for_so_long_and_at_that_address_only(tmp_path):
    where = f"127.0.0.1:{port()}"
    alone = start("--into", str(tmp_path), "--wait", "4", process=0, where=where)
    number, listens, elsewhere = int(where.rpartition(":")[2]), False, False
    while alone.poll() is None:
        with socket.socket() as here, socket.socket() as other:
            listens |= here.connect_ex(("127.0.0.1", number)) == 0
            elsewhere |= other.connect_ex(("127.0.0.2", number)) == 0
        time.sleep(0.2)
    early = start("--into", str(tmp_path), "--wait", "2", process=1, where=where)
    for process, number, seconds in ((alone, 0, 4), (early, 1, 2)):
        said = process.communicate(timeout=60)[1].splitlines()
        assert len(said) <= 3 and said[0].startswith(f"process {number} of 2 meets the others at {where}"), said
        assert f"another is lost, or none came to {where} within {seconds} s" in said[-1]
    assert listens and not elsewhere


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinator": "here"}, "--coordinator is 'here'; needs HOST:PORT"),
        ({"coordinator": "here:70000"}, "--coordinator is 'here:70000'; needs HOST:PORT"),
        ({"processes": None}, "--coordinator needs --processes, how many, and --process"),
        ({"process": None}, "--coordinator needs --processes, how many, and --process"),
        ({"processes": 0}, "--processes is 0; needs at least 1"),
        ({"process": 2}, "--process is 2; needs 0 … 1"),
        ({"process": -1}, "--process is -1; needs 0 … 1"),
        ({"wait": 0}, "--wait is 0; needs at least 1 second"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Peers(**{"coordinator": "here:1", "processes": 2, "process": 0} | options).check()
