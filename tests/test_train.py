"""Training: the loss against its closed form, the same curve however it is cut, and what happens to bad input."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import diffgauss as dg
from diffgauss.schedule import edm_scalings
from diffgauss.train import Diverged, dsm_loss
from diffgauss.zoo import checkpoint

CONFIG = dg.TrainConfig(steps=12, batch=8, warmup=4, rate=5e-3)
CUT = replace(CONFIG, steps=8)


def start(config=CONFIG, seed=0):
    net = dg.UNet(8, 1, width=4, patch=2, multipliers=(1,), rngs=nnx.Rngs(seed))
    return dg.TrainState.start(dg.EDMDenoiser(net, config.sigma_data), config)


@pytest.fixture(scope="module")
def data():
    return np.tanh(np.random.default_rng(0).normal(size=(64, 8, 8, 1))).astype(np.float32)


def same(a, b):
    return all((x == y).all() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_the_weighted_loss_of_c_skip_x_is_one_on_data_of_variance_sigma_data():
    x0, eps = (
        0.7 * jax.random.normal(jax.random.key(0), (400, 8, 8, 1)),
        jax.random.normal(jax.random.key(1), (400, 8, 8, 1)),
    )
    sigma = jnp.geomspace(0.01, 80, 400)
    D = jax.tree_util.Partial(lambda x, s: edm_scalings(s, 0.7)[0].reshape(-1, 1, 1, 1) * x)
    assert dsm_loss(D, x0, sigma, eps, 0.7) == pytest.approx(1, abs=0.03)
    perfect = jax.tree_util.Partial(lambda x, s: x0)
    assert dsm_loss(perfect, x0, sigma, eps, 0.7) == 0
    twice = jax.tree_util.Partial(lambda x, s: 2 * D(x, s))  # a worse denoiser has a higher loss
    assert dsm_loss(twice, x0, sigma, eps, 0.7) > 2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_curve_however_the_run_is_cut(data):
    whole, losses = dg.fit(start(), data, CONFIG, every=4, progress=False)
    parts, pieces = dg.fit(start(), data, CONFIG, every=3, progress=False)
    np.testing.assert_allclose(pieces, losses, rtol=1e-4)
    assert int(whole.step) == int(parts.step) == 12
    other = replace(CONFIG, seed=1)
    _, different = dg.fit(start(other), data, other, every=4, progress=False)
    assert np.abs(different - losses).max() > 1e-3


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint(data, tmp_path):
    """Bitwise: the same chunks of steps, once without a break and once through a file."""
    whole, losses = dg.fit(start(), data, CONFIG, every=4, progress=False)
    kept = []

    def keep(state, done):
        kept.append((int(state.step), len(done)))

    state, first = dg.fit(start(), data, CUT, every=4, keep=keep, progress=False)
    assert kept == [(4, 4), (8, 8)]
    checkpoint.save(tmp_path / "run.safetensors", state, losses=first.tolist())
    back = checkpoint.load(tmp_path / "run.safetensors", start())
    done, rest = dg.fit(back, data, CONFIG, every=4, progress=False)
    np.testing.assert_array_equal(np.concatenate([first, rest]), losses)
    assert same(done, whole)


@pytest.mark.slow
def test_the_rate_cools_down_to_nothing(data):
    """Adam moves a weight by about the rate: in its first step by exactly that, in the last here by a twelfth."""
    config, moved = replace(CONFIG, warmup=0, cooldown=12), []
    state = start(config)
    for n in range(12):
        before = np.array(state.model.net.last.bias[...])
        state, _ = dg.fit(state, data, config, until=n + 1, progress=False)
        assert int(state.step) == n + 1
        moved.append(np.abs(np.asarray(state.model.net.last.bias[...]) - before).max())
    assert moved[0] == pytest.approx(config.rate, rel=1e-2)
    assert 0 < moved[-1] < 2 * config.rate / 12


@pytest.mark.slow
def test_the_loss_falls_and_the_average_lags_behind(data):
    state, losses = dg.fit(start(), np.repeat(data[:1], 64, 0), replace(CONFIG, steps=200), every=4, progress=False)
    assert losses[-40:].mean() < 0.9 * losses[:40].mean()
    assert not same(state.model, state.ema)


@pytest.mark.slow
def test_a_diverging_run_stops_with_the_last_good_state(data):
    state = start()
    before = jax.tree.map(np.array, state.model)
    bad = jnp.full(data.shape, jnp.nan)  # fit refuses NaN data, so go below it
    after, losses = dg.train_steps(state, bad, config=replace(CONFIG, steps=1), n=4)
    assert np.isnan(losses).all() and int(after.step) == 0 and same(after.model, before)
    wild = replace(CONFIG, steps=40, warmup=0, rate=1e30, clip=1e30)
    with pytest.raises(Diverged, match="not finite; needs a lower rate than 1e") as caught:
        dg.fit(start(wild), data, wild, every=4, progress=False)
    assert int(caught.value.state.step) == len(caught.value.losses) < 40
    assert np.isfinite(caught.value.losses).all()


@pytest.mark.slow
def test_no_retrace_for_a_second_data_set_net_seed_or_number_of_steps(data, monkeypatch):
    dg.fit(start(), data, CONFIG, every=4, progress=False)

    def traced(*_):
        raise AssertionError("traced again")

    monkeypatch.setattr("diffgauss.train.dsm_loss", traced)
    other = replace(CONFIG, steps=8, seed=3)
    dg.fit(start(other, seed=1), data[::-1].copy(), other, every=4, progress=False)


def test_configs_compare_and_hash_by_value():
    assert (
        dg.TrainConfig(steps=5) == dg.TrainConfig(steps=5)
        and len({dg.TrainConfig(steps=5), dg.TrainConfig(steps=5)}) == 1
    )


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"batch": 0}, {"rate": -1.0}, {"ema": 1.0}, {"sigma_std": -1.0}, {"clip": float("nan")}]
)
def test_bad_configs(bad, unchecked):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} = .*needs"):
        dg.TrainConfig(**({"steps": 5} | bad))


@pytest.mark.slow
def test_bad_data(data, unchecked):
    with pytest.raises(ValueError, match="NaN"):
        dg.fit(start(), np.full_like(data, np.nan), CONFIG, progress=False)
    with pytest.raises(ValueError, match="at least 1"):
        dg.fit(start(), data[:0], CONFIG, progress=False)
    with pytest.raises(ValueError, match="every = 0"):
        dg.fit(start(), data, CONFIG, every=0, progress=False)
    with pytest.raises(ValueError, match=r"needs \(b, 8, 8, 1\)"):
        dg.fit(start(), np.zeros((4, 9, 9, 1), np.float32), CONFIG, progress=False)
