"""Told to stop, a training keeps what it has."""

import os
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from flax import nnx

import diffgauss as dg
from diffgauss.train import TrainConfig, TrainState, fit
from diffgauss.zoo import checkpoint
from diffgauss.zoo.resumable import resume

ONE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}


def small() -> tuple[TrainState, np.ndarray, TrainConfig]:
    config = TrainConfig(steps=100_000, batch=4)
    images = np.random.default_rng(0).uniform(-1, 1, (70, 8, 8, 1)).astype(np.float32)
    net = dg.UNet.tiny(8, 1, rngs=nnx.Rngs(0))
    return TrainState.start(dg.EDMDenoiser(net, 0.5), config), images, config


class Interrupt:
    """keep of ``fit``, which after so many calls interrupts the process so many times."""

    def __init__(self, after: int, times: int = 1):
        self.calls, self.after, self.times = 0, after, times

    def __call__(self, state, losses):
        self.calls += 1
        if self.calls == self.after:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def test_an_interrupt_ends_the_training_and_its_state_is_returned_and_goes_on():
    start, images, config = small()
    with pytest.warns(UserWarning, match="stopped at step 64 of 100000; the state returned goes on"):
        state, losses = fit(start, images, config, keep=Interrupt(2), progress=False)
    assert int(state.step) == len(losses) == 64 and np.isfinite(losses).all()
    state, more = fit(state, images, config, until=96, progress=False)
    whole, all_losses = fit(small()[0], images, config, until=96, progress=False)
    np.testing.assert_allclose([*losses, *more], all_losses, rtol=1e-4)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-3), state.ema, whole.ema))


def test_the_second_interrupt_ends_it_at_once_and_the_handler_is_given_back():
    start, images, config = small()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(start, images, config, keep=Interrupt(1, times=2), progress=False)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_trains_too():
    start, images, config = small()
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(start, images, config, until=32, progress=False)))
    thread.start()
    thread.join()
    assert len(found[0][1]) == 32


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_parks_its_state(number, tmp_path, monkeypatch):
    start, images, config = small()
    parked = tmp_path / "run.state.safetensors"
    timer = threading.Timer(8, os.kill, (os.getpid(), number))  # while it trains, or while it compiles
    timer.start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped at step \d+ of 90000, which .*run.state.safetensors holds"
    ):
        resume(start, images, config, parked, of={"a": 1}, until=90_000, save_every=1e6, progress=False)
    timer.join()
    step = checkpoint.facts(parked)["step"]
    assert step % 32 == 0 and step > 0 and signal.getsignal(signal.SIGTERM) is before
    state, found, _ = resume(small()[0], images, config, parked, of={"a": 1}, until=step + 32, progress=False)
    assert int(state.step) == len(found["losses"]) == step + 32


@pytest.mark.slow
def test_the_command_says_where_it_stopped_and_goes_on(tmp_path):
    command = [sys.executable, "-m", "diffgauss", "zoo", "train", "n64-w4", "--into", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--save-every", "0"], env=os.environ | ONE, stderr=subprocess.PIPE, text=True
    )
    parked = tmp_path / "n64-w4.state.safetensors"
    while not parked.exists() and process.poll() is None:
        time.sleep(0.1)
    twice = subprocess.run(command, env=os.environ | ONE, capture_output=True, text=True)
    assert twice.returncode == 1 and f"is being written by process {process.pid} on " in twice.stderr
    assert twice.stderr.count("\n") == 1
    process.terminate()
    said = process.communicate()[1]
    assert process.returncode == 130 and "Traceback" not in said
    step = checkpoint.facts(parked)["step"]
    assert f"diffgauss: stopped at step {step} of 40960, which {parked} holds; the same command goes on" in said
    subprocess.run([*command, "--steps", str(step + 32)], env=os.environ | ONE, check=True, capture_output=True)
    assert checkpoint.facts(parked)["step"] == step + 32
    assert [p.name for p in tmp_path.iterdir()] == [parked.name]
