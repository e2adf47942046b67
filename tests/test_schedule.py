import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import diffgauss as dg

PAPER = [80, 42.415, 21.109, 9.723, 4.066, 1.502, 0.470, 0.1166, 0.0204, 0.002]  # as printed


def test_ten_levels_are_those_of_the_paper():
    np.testing.assert_allclose(dg.karras_sigmas(10), PAPER, rtol=2e-3)


@given(st.integers(2, 200), st.floats(1e-3, 0.5), st.floats(1.0, 100.0), st.floats(1.0, 9.0))
def test_levels_are_even_in_their_rho_th_root(n, sigma_min, sigma_max, rho):
    sigmas = np.asarray(dg.karras_sigmas(n, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho), np.float64)
    assert sigmas.shape == (n,) and (sigmas > 0).all() and (np.diff(sigmas) < 0).all()
    np.testing.assert_allclose(sigmas[[0, -1]], [sigma_max, sigma_min], rtol=1e-6)
    roots = sigmas ** (1 / rho)
    np.testing.assert_allclose(np.diff(roots), (roots[-1] - roots[0]) / (n - 1), atol=1e-6 * roots[0])


def test_rho_goes_from_even_to_geometric_spacing():
    ends = {"sigma_min": 0.01, "sigma_max": 10.0}
    np.testing.assert_allclose(dg.karras_sigmas(7, rho=1.0, **ends), np.linspace(10, 0.01, 7), rtol=1e-6)
    np.testing.assert_allclose(dg.karras_sigmas(7, rho=1e6, **ends), np.geomspace(10, 0.01, 7), rtol=1e-4)
    np.testing.assert_allclose(dg.karras_sigmas(1), [80.0])


@pytest.mark.parametrize(
    "n, arguments, message",
    [
        (0, {}, "n = 0; a grid needs n ≥ 1"),
        (-3, {}, "n = -3"),
        (5, {"sigma_min": 0.0}, "sigma_min = 0.0.*0 < sigma_min < sigma_max"),
        (5, {"sigma_min": -1.0}, "sigma_min = -1.0"),
        (5, {"sigma_min": 3.0, "sigma_max": 2.0}, "sigma_min = 3.0, sigma_max = 2.0"),
        (5, {"sigma_max": float("inf")}, "sigma_max = inf"),
        (5, {"sigma_max": float("nan")}, "sigma_max = nan"),
        (5, {"rho": 0.0}, "rho = 0.0; needs rho > 0"),
        (5, {"rho": float("nan")}, "rho = nan"),
    ],
)
def test_impossible_grids_are_refused(n, arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.karras_sigmas(n, **arguments)


def test_training_levels_are_lognormal():
    sigmas = dg.lognormal_sigmas(4000, key=jax.random.key(0), mean=-0.8, std=1.4)
    assert stats.kstest(np.log(np.asarray(sigmas)), stats.norm(-0.8, 1.4).cdf).pvalue > 0.01
    np.testing.assert_array_equal(sigmas, dg.lognormal_sigmas(4000, key=jax.random.key(0), mean=-0.8, std=1.4))
    np.testing.assert_allclose(dg.lognormal_sigmas(3, key=jax.random.key(1), mean=-1.0, std=0.0), np.exp(-1.0))
    with pytest.raises(ValueError, match="std = -1.0; needs std ≥ 0"):
        dg.lognormal_sigmas(3, key=jax.random.key(1), std=-1.0)


@given(st.floats(1e-3, 80.0), st.floats(0.05, 5.0))
def test_edm_scalings_give_unit_variance(sigma, sigma_data):
    """For x0 of variance σ_data² and x = x0 + σ·noise: Var(c_in x) = 1 and Var((x0 − c_skip x)/c_out) = 1."""
    c_skip, c_out, c_in, c_noise = (float(c) for c in dg.edm_scalings(sigma, sigma_data))
    variance = sigma**2 + sigma_data**2
    assert c_in**2 * variance == pytest.approx(1, rel=1e-5)
    residual = (1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * sigma**2
    assert residual == pytest.approx(c_out**2, rel=1e-3)
    assert c_skip == pytest.approx(sigma_data**2 / variance, rel=1e-5)  # Wiener: D is best linear where F = 0
    assert c_noise == pytest.approx(np.log(sigma) / 4, rel=1e-5, abs=1e-6)


def test_edm_scalings_have_the_shape_of_sigma():
    assert all(c.shape == (3,) for c in dg.edm_scalings(jnp.array([0.1, 1.0, 10.0]), 0.5))
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"sigma_data = {bad}; needs sigma_data > 0"):
            dg.edm_scalings(1.0, bad)


def test_infinite_rho_spaces_the_logarithm_evenly():
    found = np.log(np.asarray(dg.karras_sigmas(9, rho=np.inf), np.float64))
    np.testing.assert_allclose(np.diff(found), np.log(0.002 / 80) / 8, rtol=1e-5)
    np.testing.assert_allclose(np.exp(found), dg.karras_sigmas(9, rho=1e4), rtol=5e-3)
