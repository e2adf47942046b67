"""The record of one denoiser: its numbers are those of the measures, and an interrupted call goes on."""

import json

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

import diffgauss as dg
from diffgauss.tour import compare

KEY = jax.random.key(3)
LEVELS = (1.5, 0.5)


def drawn(n, seed):
    """Points of two Gaussians, as images of 4×4, and their kinds."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, n)
    centres = np.random.default_rng(0).uniform(-1, 1, (2, 16))
    return (centres[kinds] + 0.4 * rng.standard_normal((n, 16))).reshape(n, 4, 4, 1).astype("f4"), kinds


@pytest.fixture(scope="module")
def sets():
    (images, kinds), (held_out, _) = drawn(300, 1), drawn(400, 2)
    return images, held_out, dg.MixtureDenoiser.from_data(images, kinds)


def _half(D_G, D_M, x, sigma):
    return (D_G(x, sigma) + D_M(x, sigma)) / 2


@pytest.fixture(scope="module")
def found(sets):
    images, held_out, D = sets
    return dg.compare(D, images, held_out, LEVELS, key=KEY, other=D, samples=12, seen=128, progress=False)


def test_each_number_is_that_of_its_measure(sets, found):
    images, held_out, D = sets
    D_G = dg.GaussianDenoiser.from_data(images)
    assert (found.images, found.held_out) == (300, 400) and list(found.skill) == list(LEVELS)
    for i, s in enumerate(LEVELS):
        key = jax.random.fold_in(KEY, i)
        assert found.skill[s] == dg.skill(D, D_G, held_out[:128], s, key=key)
        assert found.excess[s] == dg.excess(D, D_G, held_out[:128], s, key=key)
        assert found.pull[s] == dg.pull(D, D, D_G, held_out[:128], s, key=key)
        assert found.linear_distance[s].low < found.linear_distance[s].value < found.linear_distance[s].high
        assert 0 < found.linearity[s] < 1
    assert found.memorized == 0 and found.r2_gaussian.value > 0.3  # new pictures, some of them as D_G's
    assert found.r2_linear.value == pytest.approx(found.r2_gaussian.value, abs=0.15)  # its nearest matrix is D_G's


def test_the_alignment_of_D_G_is_one_and_that_of_another_law_is_not(sets):
    images, held_out, _ = sets
    D_G, other = dg.GaussianDenoiser.from_data(images), dg.GaussianDenoiser.from_data(images[:, ::-1].copy())
    for sigma in (2.0, 0.2):
        ask = D_G, held_out, sigma, KEY
        assert compare._alignment(D_G, *ask).value == pytest.approx(1, abs=1e-5)
        assert compare._alignment(other, *ask).high < (0.95 if sigma > 1 else 0.999)  # at low σ both are near 1
    D_M, mixture = dg.EmpiricalDenoiser.from_data(images), sets[2]
    ideal, memory = (compare._alignment(D, D_G, held_out, 0.5, KEY) for D in (mixture, D_M))
    assert memory.high < ideal.low and ideal.high < 1  # neither is D_G
    assert compare._alignment(Partial(_nothing), D_G, held_out, 1.0, KEY).value == 0


def test_another_reading_of_the_same_network_is_another_input(sets, tmp_path):
    images, held_out, _ = sets
    schedule, F = dg.NoiseSchedule.vp(np.linspace(0.999, 0.001, 100)), Partial(_of_time, images.mean(0))
    ask = [images, held_out, list(LEVELS), KEY, 12, 64]
    read = [compare._fingerprint(dg.from_network(F, kind, schedule), None, *ask) for kind in ("eps", "v", "x0")]
    assert len(set(read)) == 3
    (tmp_path / "kept.json").write_text(json.dumps({"inputs": read[0], "found": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match="kept.json holds numbers of other inputs"):
        compare._Kept(tmp_path / "kept.json", read[1])


def test_many_images_have_the_screened_memory(sets, monkeypatch):
    images, held_out, D = sets
    ask = {"key": KEY, "samples": 12, "seen": 64, "progress": False}
    plain = dg.compare(D, images, held_out[:70], (0.5,), **ask)
    monkeypatch.setattr(compare, "MANY", 100)
    monkeypatch.setattr(compare, "EmpiricalDenoiser", None)  # is not asked
    found = dg.compare(D, images, held_out[:70], (0.5,), **ask)
    np.testing.assert_allclose(found.position[0.5], plain.position[0.5], atol=1e-3)
    assert found.r2_empirical is not None and plain.r2_empirical is not None
    np.testing.assert_allclose(found.r2_empirical, plain.r2_empirical, atol=1e-2)


def _of_time(mean, x, t):
    return 0 * x + mean[None]


def _nothing(x, sigma):
    return 0 * x


def test_half_way_to_the_memory_is_at_one_half(sets):
    images, held_out, _ = sets
    D_G, D_M = dg.GaussianDenoiser.from_data(images), dg.EmpiricalDenoiser.from_data(images)
    D = Partial(_half, D_G, D_M)
    found = dg.compare(D, images, held_out, (0.5,), key=KEY, samples=12, seen=128, progress=False)
    assert found.position[0.5].value == pytest.approx(0.5, abs=1e-4) and not found.pull
    assert (
        found.r2_empirical
        and found.r2_empirical.value > 0
        and "| 0.5 |" in found.table()
        and "pull" not in found.table()
    )


def test_the_table_and_the_figure_have_what_was_measured(found):
    table = found.table()
    assert all(name in table for name in ("skill", "excess", "position", "linearity", "linear_distance", "pull"))
    assert "copies: 0% of 12 (95 %: at most 26% of all)" in table and len(found.figure().axes) == 7


def test_an_interrupted_call_goes_on_and_ends_at_the_same_record(sets, found, tmp_path, monkeypatch):
    images, held_out, D = sets
    path, calls = tmp_path / "record.json", []
    whole = compare.position

    def stops(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(compare, "position", stops)
    ask = {"key": KEY, "other": D, "samples": 12, "seen": 128, "path": path, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        dg.compare(D, images, held_out, LEVELS, **ask)
    kept = json.loads(path.read_text(encoding="utf-8"))["found"]
    assert "position 1.5" in kept and "position 0.5" not in kept and len(calls) == 2
    again = dg.compare(D, images, held_out, LEVELS, **ask)
    assert len(calls) == 3 and again.table() == found.table() and again.skill == found.skill
    assert dg.compare(D, images, held_out, LEVELS, **ask) == again and len(calls) == 3
    with pytest.raises(ValueError, match="record.json holds numbers of other inputs; needs the same denoiser"):
        dg.compare(D, images[:-1], held_out, LEVELS, **ask)


def test_the_forecast_and_what_cannot_be_measured(sets, capsys):
    images, held_out, D = sets
    found = dg.compare(D, images, held_out[:70], (0.5,), key=KEY, samples=12, seen=64)
    assert "numbers, less than a minute" in capsys.readouterr().out
    assert (
        not found.linear_distance and "linear_distance" not in found.table()
    )  # 5 for each of 16 numbers are needed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, b: (a, b[:, :3]), r"held_out has images of shape \(3, 4, 1\); needs \(4, 4, 1\), as images"),
        (lambda a, b: (a, np.concatenate([b, a[:2]])), "2 of held_out are also in images; needs images that D has"),
        (lambda a, b: (a[:1], b), "images"),
        (lambda a, b: (a * np.nan, b), "images"),
    ],
)
def test_bad_inputs_are_refused_in_a_line(sets, change, said):
    images, held_out, D = sets
    with pytest.raises(ValueError, match=said):
        train, test = change(images, held_out)
        dg.compare(D, train, test, LEVELS, key=KEY, progress=False)
