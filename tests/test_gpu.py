"""The command for a GPU, on a processor and at small sizes: its numbers, a wrong kernel, a kill, its pieces."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gpu_agreement
import gpu_speed
import jax
import numpy as np
import plain
import pytest
from flax import nnx
from gpu_call import Call, pack, sets, unpack
from gpu_training import QUICK, QUICK_STEPS

import diffgauss as dg
from diffgauss import zoo
from diffgauss.train import TrainState
from diffgauss.zoo import runs
from diffgauss.zoo.resumable import resume
from diffgauss.zoo.scoring import weighted_loss

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
ENV = {k: v for k, v in os.environ.items() if k not in ("DIFFGAUSS_CIFAR10", "DIFFGAUSS_PEERS")}
ENV |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}  # curves to the last bit
ENV |= {"PYTHONPATH": str(EXPERIMENTS.parent / "src")}
CACHE = tempfile.TemporaryDirectory()  # calls compile the same functions
ENV |= {"JAX_COMPILATION_CACHE_DIR": CACHE.name}
ENV |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # at these sizes compiling takes longer than running
TRAINED = [*QUICK["c"], *QUICK["e"]]

PLANTED = """
import sys, gpu, gpu_agreement, diffgauss as dg
right, cases = dg.EmpiricalDenoiser.__call__, gpu_agreement.cases
dg.EmpiricalDenoiser.__call__ = lambda self, x, sigma: 1.01 * right(self, x, sigma)
def two(quick):
    kernels, references = cases(quick)
    return {name: kernels[name] for name in ("D_M", "D_G")}, references
gpu_agreement.cases, gpu_agreement.losses = two, lambda quick: {"float32, 8": 0.02}
sys.exit(gpu.main())
"""


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, str(EXPERIMENTS / "gpu.py"), str(out), "--quick", *more]


def called(out: Path, *more: str) -> dict:
    """The record of a call that ends well."""
    done = subprocess.run(command(out, *more), env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "gpu.json").read_text(encoding="utf-8"))


def kept(out: Path, into: Path) -> dict[str, tuple]:
    """State, losses with kept weights, and seconds of each network in the pieces."""
    unpack(out, into)
    found = {}
    for name in (file.name.removesuffix(".state.safetensors") for file in into.iterdir()):
        this = runs.run(name)
        start, file = TrainState.start(zoo.untrained(this), this.config), into / f"{name}.state.safetensors"
        found[name] = resume(start, zoo.data(name), this.config, file, of=this.facts, until=0, record=this.recorded)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """OUT of a call of all parts."""
    out = tmp_path_factory.mktemp("gpu") / "whole"
    called(out)
    return out


@pytest.fixture(scope="module")
def record(whole) -> dict:
    return json.loads((whole / "gpu.json").read_text(encoding="utf-8"))


def part(record: dict, name: str) -> dict:
    """What the last call says of a part."""
    return record["parts"][name][-1]


@pytest.mark.slow
def test_the_record_says_what_was_run_where(record):
    assert record["command"] == "python experiments/gpu.py OUT" and record["machine"]["versions"]["jax"]
    assert list(record["parts"]) == ["a", "b", "c", "d", "e"] and "failed" not in json.dumps(record)
    for (only,) in record["parts"].values():
        assert only["card"] == "cpu" and only["date"] == record["date"] and only["quick"] is True
    assert "CIFAR-10 is not at hand" in part(record, "d")["left out"]


@pytest.mark.slow
def test_every_kernel_is_measured_and_rounding_is_all_there_is(record):
    found, (kernels, _) = part(record, "a"), gpu_agreement.cases(True)
    for name in kernels:
        assert list(found[name]) == ["float32"], "a processor has no TF32"
        assert 1e-9 < found[name]["float32"] < 1e-3, name
    assert found["first losses of training"] == {"float32, 8": 0, "float32, 32": 0}  # of one processor, twice


@pytest.mark.slow
def test_shares_of_the_limits_follow_from_the_seconds(record):
    b = part(record, "b")
    limit = b["the card's limits"]
    for kind, n, d in (("grey", 2000, 144), ("colour", 500, 192)):
        found = b[kind]["D_M"]
        share = 4 * 32 * n * d / found["seconds"] / limit["float32 operations/s"]
        assert found["of float32 operations/s"] == pytest.approx(share, rel=1e-3) and 0 < share < 2
        assert found["of bytes/s"] == pytest.approx(4 * n * d / found["seconds"] / limit["bytes/s"], rel=1e-3)
        assert b[kind]["distillation"]["RMSE of D_L to D_G, 0 for endless pairs"] < 0.2
    for what in ("least, batch 8", "least, batch 8, bfloat16"):
        assert b[what]["images/s"] == pytest.approx(8 / b[what]["seconds a step"], rel=1e-3)
    assert b["least, batch 8"]["last loss"] == pytest.approx(b["least, batch 8, bfloat16"]["last loss"], rel=1e-2)
    assert b["torch"] == "not there" or b["torch"]["grey"]["D_M, float32"]["difference from ours"] < 1e-3


@pytest.mark.slow
def test_networks_are_those_that_the_zoo_trains(whole, record, tmp_path):
    """Each alone, by ``fit``: one of part c, and two that part e trained in one call."""
    found = kept(whole, tmp_path)
    assert sorted(found) == sorted(TRAINED)
    for name, (state, curve, _) in found.items():
        this, held = runs.run(name), runs.held_out(name)
        start = TrainState.start(zoo.untrained(this), this.config)
        _, want = dg.fit(start, zoo.data(name), this.config, until=QUICK_STEPS, progress=False)
        np.testing.assert_allclose(curve["losses"][:8], want[:8], rtol=1e-4)
        np.testing.assert_allclose(curve["losses"], want, rtol=2e-2)
        assert {f"step {s}" for s in (32, 64)} < curve.keys() and int(state.step) == QUICK_STEPS
        D_G = dg.GaussianDenoiser.from_data(runs.pool(name))
        ratio = weighted_loss(state.ema, held, config=this.config) / weighted_loss(D_G, held, config=this.config)
        letter = "c" if name in QUICK["c"] else "e"
        names = QUICK[letter]
        half, now = part(record, letter)[", ".join(names)]
        assert (half["step"], now["step"]) == (32, QUICK_STEPS) and half["seconds"] < now["seconds"]
        assert now["held-out loss over D_G's"][names.index(name)] == pytest.approx(ratio, rel=1e-3)
    both = part(record, "e")[f"{', '.join(QUICK['e'])}: together and alone"]
    assert 0 <= both["largest difference"] < 1e-2 and both["images/s together"] > 0 < both["images/s alone"]


@pytest.mark.slow
def test_a_killed_call_goes_on_from_its_pieces(whole, tmp_path):
    cut, after = tmp_path / "cut", tmp_path / "after"
    process = subprocess.Popen(command(cut, "--parts", "c"), env=ENV, stdout=subprocess.DEVNULL)
    while process.poll() is None and not sets(cut):
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    record = called(after, "--parts", "c", "--resume", str(cut))
    assert len(record["parts"]["c"]) == 2, "one entry for each call"
    want, got = (kept(out, tmp_path / f"{out.name} files") for out in (whole, after))
    for name in QUICK["c"]:
        assert [point["step"] for point in part(record, "c")[name]] == [64], "32 steps were not made again"
        np.testing.assert_array_equal(got[name][1]["losses"], want[name][1]["losses"])


@pytest.mark.slow
def test_a_wrong_kernel_is_noticed_and_a_right_one_is_not(tmp_path):
    """D_M one percent too large, and losses of training that differ by two."""
    arguments = [str(tmp_path), "--quick", "--parts", "a"]
    where = {"PYTHONPATH": f"{ENV['PYTHONPATH']}{os.pathsep}{EXPERIMENTS}"}
    done = subprocess.run(
        [sys.executable, "-c", PLANTED, *arguments], env=ENV | where, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    wrong = [line for line in done.stderr.splitlines() if line.startswith("gpu.py: ")]
    assert len(wrong) == 2 and "first losses of training is wrong in float32, 8" in wrong[0]
    assert "D_M is wrong in float32: off by 1.0e-02" in wrong[1]
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["parts"]["a"][0]
    assert found["D_M"]["float32"] == pytest.approx(0.01, rel=1e-3) and found["D_G"]["float32"] < 1e-5


def test_its_networks_are_the_presets():
    for name in ("tiny", "small", "paper"):
        want = getattr(dg.UNet, name)(28, 1, rngs=nnx.Rngs(0))
        shapes = [[leaf.shape for leaf in jax.tree.leaves(net)] for net in (gpu_speed.network(name).net, want)]
        assert shapes[0] == shapes[1]


@pytest.mark.slow
def test_a_network_in_bfloat16_is_the_same_to_its_digits():
    D, x = gpu_agreement.perturbed(gpu_speed.network("least")), jax.random.normal(jax.random.key(0), (2, 28, 28, 1))
    want, got = (net(x, jax.numpy.ones(2)) for net in (D.net, gpu_speed.InHalf(D.net)))
    assert got.dtype == want.dtype == np.float32
    assert 1e-4 < jax.numpy.linalg.norm((got - want).ravel()) / jax.numpy.linalg.norm(want.ravel()) < 3e-2


def test_its_references_are_the_formulas():
    images, x = (np.random.default_rng(k).standard_normal((20, 3, 3, 1)) for k in (0, 1))
    for formula, known in (
        (gpu_agreement.empirical, plain.empirical),
        (gpu_agreement.gaussian, plain.gaussian),
    ):
        np.testing.assert_allclose(formula(images, x, 0.7), known(images, x, 0.7), rtol=1e-10)


def test_a_set_of_pieces_stays_until_the_next_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("gpu_call.PIECE", 4000)
    out, file = tmp_path / "out", tmp_path / "a.state.safetensors"
    for number in (1, 2):
        file.write_bytes(bytes([number]) * 9000)
        assert pack([file], out, number) == [] and list(sets(out)) == [number]
        assert len(sets(out)[number]) > 2 and all(p.stat().st_size <= 4000 for p in out.iterdir())
    (out / "state-0003-1of3").write_bytes(b"the call was cut here")
    assert unpack(out, tmp_path / "into") == 2
    assert (tmp_path / "into" / file.name).read_bytes() == bytes([2]) * 9000
    sets(out)[2][0].unlink()
    with pytest.raises(ValueError, match="holds no whole set of pieces; needs"):
        unpack(out, tmp_path / "into")


def test_networks_that_do_not_fit_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("gpu_call.ROOM", 100_000)
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"s" * 1000)
    large.write_bytes(b"l" * 90_000)
    assert pack([large, small], tmp_path / "out", 1) == ["large"]
    assert unpack(tmp_path / "out", tmp_path / "into") == 1 and (tmp_path / "into" / "small").exists()


def test_what_another_call_left_is_not_overwritten(tmp_path):
    out, file = tmp_path / "out", tmp_path / "a"
    file.write_bytes(b"a")
    first = Call(out, tmp_path / "work", quick=True, seconds=1)
    first.part("a", lambda call: call.note("answer", 42), 1.0)
    pack([file], out, 7)
    with pytest.raises(ValueError, match="holds the record of an earlier call; needs --resume"):
        Call(out, tmp_path / "work", quick=True, seconds=1)
    again = Call(out, tmp_path / "into", resume=out, quick=True, seconds=1)
    assert again.number == 7 and (tmp_path / "into" / "a").exists()
    again.part("a", lambda call: call.note("answer", 43), 1.0)
    found = json.loads((out / "gpu.json").read_text(encoding="utf-8"))["parts"]["a"]
    assert [entry["answer"] for entry in found] == [42, 43]


def test_a_measurement_that_fails_or_has_no_time_says_so_and_the_record_is_written_at_once(tmp_path):
    call = Call(tmp_path, tmp_path / "work", quick=False, seconds=100)

    def does(call: Call) -> None:
        call.measure("good", lambda: {"seconds": 0.123456789})
        assert json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["parts"]["b"][0]["good"] == {
            "seconds": 0.12346
        }
        call.measure("bad", lambda: {}["missing"])
        call.measure("late", lambda: 1, needs=51)
        raise ValueError("got this; needs that")

    call.part("b", does, 0.5)
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["parts"]["b"][0]
    assert found["bad"]["failed"].startswith("KeyError: 'missing' (test_gpu.py, line ")
    assert "s were left" in found["late"]["left out"] and "got this; needs that" in found["failed"]
    assert len(call.wrong) == 2


def test_the_call_ends_when_its_time_is_over(tmp_path):
    start = time.monotonic()
    full = [word for word in command(tmp_path, "--seconds", "1") if word != "--quick"]
    done = subprocess.run(full, env=ENV, capture_output=True, text=True)
    assert done.returncode == 3 and "the time is over" in done.stderr and time.monotonic() - start < 60


def test_what_is_asked_wrongly_is_refused_in_one_line(tmp_path):
    for arguments, said in ((["--parts", "a,x"], "got part x; there are a, b, c, d, e"),
                            (["--resume", str(tmp_path)], "holds no gpu.json; needs the OUT")):  # fmt: skip
        done = subprocess.run(command(tmp_path / "out", *arguments), env=ENV, capture_output=True, text=True)
        assert done.returncode == 2 and said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
