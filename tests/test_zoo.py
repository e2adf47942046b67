"""The zoo: runs named without overlap, training that survives kill -9, and a command line with one-line errors."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import diffgauss as dg
from diffgauss import checkpoint, cli, evaluate, runs, zoo
from diffgauss.runs import CHUNK, Run, run

COMMAND = [sys.executable, "-c", "from diffgauss.cli import app; app()", "zoo", "train"]


def test_runs_differ_and_halves_share_no_image():
    facts = [json.dumps(this.facts, sort_keys=True) for this in zoo.entries().values()]
    assert len(set(facts)) == len(facts)
    first, other = (zoo.data(name).reshape(64, -1) for name in ("n64", "n64-other"))
    assert not (first[:, None] == other[None]).all(-1).any()
    np.testing.assert_array_equal(zoo.data("n16"), zoo.data("n64")[:16])
    upper = zoo.data("n30000-upper")
    assert upper.shape == (30000, 28, 28, 1)


@pytest.mark.parametrize("name", ["n64", "n1024"])
def test_snapshots_are_spaced_from_one_chunk_to_the_last_step(name):
    steps = run(name).snapshots
    assert steps[0] == CHUNK and steps[-1] == run(name).steps
    spacing = run(name).spacing
    assert spacing and all(b == spacing * a for a, b in zip(steps[:-2], steps[1:-1], strict=True))


def test_unknown_names_and_steps():
    for call in (zoo.load, zoo.data, zoo.record, zoo.losses, zoo.held_out):
        with pytest.raises(ValueError, match="got 'n65'; the zoo has n64, "):
            call("n65")
    with pytest.raises(ValueError, match="no snapshot of step 33; needs one of"):
        zoo.load("n64", 33)


def test_the_command_line_says_what_is_wrong_in_one_line():
    result = CliRunner().invoke(cli.app, ["zoo", "train", "n65"])
    assert result.exit_code == 1 and "diffgauss: got 'n65'" in result.output and "Traceback" not in result.output
    result = CliRunner().invoke(cli.app, ["zoo", "list"])
    assert result.exit_code == 0 and all(f"| {name} |" in result.output for name in zoo.entries())


@pytest.mark.slow
def test_killed_runs_go_on_with_the_same_curve(tmp_path):
    """kill -9 three times; one processor thread, so the weights agree to the last bit.

    The shipped run may come from another processor, whose rounding grows along the curve: its first 64 losses are
    met within 1 %, all means of 32 within 5 %.
    """
    env = os.environ | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    arguments = ["n64", "--steps", "512", "--save-every", "0", "--into"]
    subprocess.run([*COMMAND, *arguments, str(tmp_path / "whole")], env=env, check=True, capture_output=True)
    parked = tmp_path / "cut" / "n64.state.safetensors"
    for kill in range(3):
        process = subprocess.Popen(
            [*COMMAND, *arguments, str(tmp_path / "cut")],
            env=env,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        before = checkpoint.facts(parked)["step"] if parked.exists() else 0
        while process.poll() is None and not (parked.exists() and checkpoint.facts(parked)["step"] > before):
            time.sleep(0.05)
        assert process.poll() is None, f"it ended before kill {kill}"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert checkpoint.facts(parked)["step"] < 512
    subprocess.run([*COMMAND, *arguments, str(tmp_path / "cut")], env=env, check=True, capture_output=True)
    this = run("n64")
    state = dg.TrainState.start(zoo.untrained(this), this.config)
    whole, cut = (
        zoo._read(p / "n64.state.safetensors", this, 512, state) for p in (tmp_path / "whole", parked.parent)
    )
    np.testing.assert_array_equal(np.asarray(cut["losses"]), np.asarray(whole["losses"]))
    recorded = np.asarray(zoo.losses("n64"))[:512]
    np.testing.assert_allclose(cut["losses"][:64], recorded[:64], rtol=1e-2)
    np.testing.assert_allclose(
        *(x.reshape(-1, 32).mean(1) for x in (np.asarray(cut["losses"]), recorded)), rtol=5e-2
    )
    for step in (32, 64, 128, 256, 512):
        a, b = (np.asarray(x[f"step {step}"].net.last.kernel[...]) for x in (whole, cut))
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_finished_run_is_loaded_indexed_and_verified_and_a_false_record_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setitem(runs._RUNS, "brief", Run(16, width=4, steps=128, spacing=2))
    path = zoo.train("brief", tmp_path, progress=False)
    assert path == tmp_path / "brief.safetensors" and [p.name for p in tmp_path.iterdir()] == [path.name]
    before = path.read_bytes()
    assert zoo.train("brief", tmp_path) == path and path.read_bytes() == before
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    facts, losses = zoo.record("brief"), np.asarray(zoo.losses("brief"))
    assert list(facts["scores"]) == ["32", "64", "128"] and losses.shape == (128,) and facts["parameters"] > 0
    assert facts["scores"]["128"]["train"] < facts["scores"]["32"]["train"]
    assert evaluate.score(zoo.load("brief", 64), zoo.data("brief"), zoo.held_out("brief")) == pytest.approx(
        facts["scores"]["64"], rel=1e-3
    )
    assert zoo.verify("brief", steps=64) < 1e-3
    call = CliRunner().invoke
    assert call(cli.app, ["zoo", "index", str(tmp_path)]).exit_code == 0
    assert zoo.shipped() == zoo.index(tmp_path) and "| brief | 16 |" in (tmp_path / "README.md").read_text()
    assert call(cli.app, ["zoo", "verify"]).exit_code == 0
    whole = zoo._read(path, run("brief"), 128)
    checkpoint.save(path, whole | {"losses": losses * np.float32(1.02)}, **facts)  # a record of other losses
    assert zoo.verify("brief", steps=64) == pytest.approx(0.02, abs=2e-3)
    said = call(cli.app, ["zoo", "verify"])
    assert said.exit_code == 1 and "zoo.json differs from the files of brief" in said.output
    monkeypatch.setitem(runs._RUNS, "brief", Run(16, width=4, steps=128, spacing=2, seed=1))
    for reader in (zoo.load, zoo.losses, lambda name: zoo.train(name, tmp_path)):
        with pytest.raises(ValueError, match="is of the run .*; needs"):
            reader("brief")


def test_shipped_files_are_those_of_zoo_json():
    result = CliRunner().invoke(cli.app, ["zoo", "verify"])
    assert result.exit_code == 0 and "zoo.json agrees" in result.output
    assert cli.table(zoo.shipped()) in (zoo.folder() / "README.md").read_text()


@pytest.mark.slow
def test_the_first_steps_of_a_shipped_run_repeat_its_losses():
    result = CliRunner().invoke(cli.app, ["zoo", "verify", "n64"])
    assert result.exit_code == 0, result.output


def test_what_was_asked_of_the_shipped_nets():
    """64 images are memorized, 60000 are not, with each seed that is shipped."""
    last = {name: list(found["scores"].values())[-1] for name, found in zoo.shipped().items()}
    assert {"n64", "n60000"} <= last.keys()
    for name in last.keys() & {"n64", "n64-seed1", "n16"}:
        assert last[name]["memorized"] > 0.9, name
    for name in last.keys() & {"n16384", "n60000", "n60000-seed1"}:
        assert last[name]["memorized"] == 0 and abs(last[name]["test"] / last[name]["train"] - 1) < 0.05, name
