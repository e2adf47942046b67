"""The zoo: runs named without overlap, finished ones verified, and a command line with one-line errors."""

import json

import jax
import numpy as np
import plain
import pytest
from typer.testing import CliRunner

import diffgauss as dg
from diffgauss import cli, data, zoo
from diffgauss.data import store
from diffgauss.zoo import checkpoint, collection, resumable, runs
from diffgauss.zoo.runs import CHUNK, Run, run


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


def test_loading_a_network_compiles_nothing_for_each_shape(compiled):
    shapes = {leaf.shape for leaf in jax.tree.leaves(zoo.untrained(run("n64-w8")))}
    zoo.untrained.cache_clear()
    assert len(shapes) > 20 and compiled(lambda: zoo.load("n64-w8")) < 12
    assert compiled(lambda: jax.numpy.ones((7, 5, 3, 11))) == 1, "the count counts"


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


def test_a_run_names_all_devices_that_trained_it(tmp_path):
    parked, here = tmp_path / "n64.state.safetensors", runs.computer()["devices"]
    assert resumable.trained_on(parked, 64) == here
    for step, earlier, known in [(32, here, here), (64, "1 × A", "1 × A"), (32, "1 × A", f"1 × A + {here}")]:
        checkpoint.save(parked, {"losses": np.zeros(step)}, step=step, devices=earlier)
        assert resumable.trained_on(parked, 64) == known


@pytest.mark.slow
def test_a_finished_run_is_loaded_indexed_and_verified_and_a_false_record_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setitem(runs._RUNS, "brief", Run(16, width=4, steps=64, spacing=2))
    shelf_of = tmp_path / "zoo"
    path = zoo.train("brief", shelf_of, progress=False)
    assert path == shelf_of / "brief.safetensors" and [p.name for p in shelf_of.iterdir()] == [path.name]
    before = path.read_bytes()
    assert zoo.train("brief", shelf_of) == path and path.read_bytes() == before
    (tmp_path / "fashion-mnist").symlink_to(data.folder())
    monkeypatch.setattr(store, "HOME", tmp_path)
    facts, losses = zoo.record("brief"), np.asarray(zoo.losses("brief"))
    assert list(facts["scores"]) == ["32", "64"] and losses.shape == (64,) and facts["parameters"] > 0
    assert facts["scores"]["64"]["train"] < facts["scores"]["32"]["train"]
    again = zoo.score("brief", progress=False)
    assert list(again) == ["32", "64"]
    for step, found in again.items():
        for key in ("train", "test", "loss_ratio", "GL"):
            assert found[key] == pytest.approx(facts["scores"][step][key], rel=1e-3)
        np.testing.assert_allclose(found["position"], facts["scores"][step]["position"], atol=1e-3)
    assert zoo.verify("brief", steps=32) < 1e-3
    call = CliRunner().invoke
    assert call(cli.app, ["zoo", "index", str(shelf_of)]).exit_code == 0
    assert zoo.shipped() == zoo.index(shelf_of) and "| brief | 16 |" in (shelf_of / "README.md").read_text(
        encoding="utf-8"
    )
    assert call(cli.app, ["zoo", "verify"]).exit_code == 0
    whole = collection.read(path, run("brief").facts, collection.whole(run("brief")))
    checkpoint.save(path, whole | {"losses": losses * np.float32(1.02)}, **facts)  # a record of other losses
    assert zoo.verify("brief", steps=64) == pytest.approx(0.02, abs=2e-3)
    said = call(cli.app, ["zoo", "verify"])
    assert said.exit_code == 1 and "zoo.json differs from the files of brief" in said.output
    monkeypatch.setitem(runs._RUNS, "brief", Run(16, width=4, steps=64, spacing=2, seed=1))
    for reader in (zoo.load, zoo.losses, lambda name: zoo.train(name, shelf_of)):
        with pytest.raises(ValueError, match="is of the run .*; needs"):
            reader("brief")


def test_shipped_files_are_those_of_zoo_json():
    result = CliRunner().invoke(cli.app, ["zoo", "verify"])
    assert result.exit_code == 0 and "zoo.json agrees" in result.output
    assert cli.table(zoo.shipped()) in (zoo.folder() / "README.md").read_text(encoding="utf-8")


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


def test_plain_numpy_gives_the_page_its_q_c_and_p():
    """From the shipped weights and images, with code of its own for the network, D_G and D_M, to three digits."""
    name, levels = "sneaker-n64", np.asarray(dg.karras_sigmas(10), float)[2:8]
    this, images, held = run(name), zoo.data(name), zoo.held_out(name)
    w = plain.weights(zoo.folder() / f"{name}.safetensors", this.steps)
    page = zoo.shipped()[name]["scores"][str(this.steps)]
    for i, s in enumerate(levels):
        for kind, of in (("training", images), ("held-out", held)):
            x0 = of[np.arange(min(1000, len(of)) if kind == "held-out" else 1000) % len(of)].astype(float)
            eps = jax.random.normal(jax.random.fold_in(jax.random.key(runs.LEVEL_SEED), i), x0.shape)
            x = x0 + s * np.asarray(eps, float)
            D = plain.network(w, x, s, this.config.sigma_data)
            D_G = plain.gaussian(images, x, s)
            if kind == "held-out" and i >= 2:
                assert plain.skill(D, D_G, x0) == pytest.approx(page["skill"][i - 2][0], abs=1e-3)
                assert plain.excess(D, D_G, x0) == pytest.approx(page["excess"][i - 2][0], abs=1e-3)
            if kind == "training" and 2 <= i < 5:
                D_M = plain.empirical(images, x, s)
                assert plain.position(D, D_G, D_M) == pytest.approx(page["position"][i - 2][0], abs=1e-3)
