import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64
from jax.tree_util import Partial

import diffgauss as dg
from diffgauss.notebook.solutions import midpoint

VARIANCE = np.array([4.0, 1.0, 0.09])


def wiener(variance, x, sigma):
    """The denoiser of N(0, diag(variance)), a plain function."""
    return x * (variance / (variance + sigma**2))[None]


def exact(x, sigma, sigma_next):
    return np.asarray(x) * np.sqrt((VARIANCE + sigma_next**2) / (VARIANCE + sigma**2))


def orders(D, exact, step):
    """log₂ of how much halving the steps shrinks the error, twice, from σ = 20 to 0.1 in float64."""
    x, errors = jnp.array([[10.0, -20.0, 30.0]]), []
    for n in (41, 81, 161):
        sigmas = dg.karras_sigmas(n, sigma_min=0.1, sigma_max=20.0)
        errors.append(np.linalg.norm(dg.trajectory(D, x, sigmas, step=step)[-1] - exact(x, 20.0, 0.1)))
    return np.log2(np.divide(errors[:-1], errors[1:]))


@pytest.mark.parametrize("step, order", [(dg.euler, 1), (dg.heun, 2), (midpoint, 2)])
def test_order_of_convergence(step, order):
    """For D = x/4, where x(σ) ∝ σ^{3/4}."""
    with float64():
        got = orders(Partial(lambda x, sigma: x / 4), lambda x, s, t: x * (t / s) ** 0.75, step)
    np.testing.assert_allclose(got, order, atol=0.12)


@pytest.mark.parametrize("step, order", [(dg.euler, 1), (dg.heun, 2), (midpoint, 3)])
def test_order_of_convergence_for_gaussian_data(step, order):
    """The third-order terms of midpoint and of √((λ + σ'²)/(λ + σ²)) agree, so it gains an order here."""
    with float64():
        got = orders(Partial(wiener, jnp.asarray(VARIANCE)), exact, step)
    np.testing.assert_allclose(got, order, atol=0.12)


def test_velocity_is_minus_sigma_times_the_score():
    x, sigma = jnp.array([[1.0, -2.0, 0.5], [0.1, 0.2, 0.3]]), jnp.array([0.5, 2.0])
    variance = jnp.asarray(VARIANCE, jnp.float32)
    want = jnp.stack([-s * jax.grad(lambda x, s=s: -(x**2 / (variance + s**2)).sum() / 2)(row)
                      for row, s in zip(x, sigma, strict=True)])  # fmt: skip

    def D(x, sigma):
        return x * variance[None] / (variance[None] + sigma[:, None] ** 2)

    np.testing.assert_allclose(dg.velocity(D, x, sigma), want, rtol=1e-5)


def test_one_step_by_hand():
    """D = 0 gives dx/dσ = x/σ, straight lines to 0: every rule is exact; D = x/2 tells them apart."""
    zero, half = Partial(lambda x, sigma: 0 * x), Partial(lambda x, sigma: x / 2)
    x = jnp.array([[8.0]])
    for step in (dg.euler, dg.heun, midpoint):
        np.testing.assert_allclose(step(zero, x, 4.0, 1.0), [[2.0]], rtol=1e-6)
    # slope at (8, σ=4) is 1; Euler's end is 5, where the slope at σ=1 is 5/2; at σ=2.5 the state is 6.5, slope 1.3
    assert float(dg.euler(half, x, 4.0, 1.0)[0, 0]) == pytest.approx(5.0)
    assert float(dg.heun(half, x, 4.0, 1.0)[0, 0]) == pytest.approx(8 - 3 * (1 + 2.5) / 2)
    assert float(midpoint(half, x, 4.0, 1.0)[0, 0]) == pytest.approx(8 - 3 * 1.3)


def test_an_euler_step_to_zero_is_the_denoiser():
    D, x = Partial(wiener, jnp.asarray(VARIANCE, jnp.float32)), jnp.ones((2, 3))
    np.testing.assert_allclose(dg.euler(D, x, 2.0, 0.0), D(x, 2.0), rtol=1e-6)


@pytest.mark.parametrize("step", [dg.euler, dg.heun])
def test_sample_denoises_the_end_of_the_trajectory(step):
    D, sigmas = Partial(wiener, jnp.asarray(VARIANCE, jnp.float32)), dg.karras_sigmas(7)
    x = 80 * jax.random.normal(jax.random.key(0), (4, 3))
    states = dg.trajectory(D, x, sigmas, step=step)
    assert states.shape == (7, 4, 3)
    np.testing.assert_array_equal(states[0], x)
    np.testing.assert_allclose(states[1], step(D, x, sigmas[0], sigmas[1]), rtol=1e-5)
    np.testing.assert_allclose(dg.sample(D, x, sigmas, step=step), D(states[-1], sigmas[-1]), rtol=1e-5)
    np.testing.assert_allclose(dg.sample(D, x, sigmas[:1], step=step), D(x, sigmas[0]), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("step, cost", [(dg.euler, lambda n: n), (dg.heun, lambda n: 2 * n - 1)])
def test_network_evaluations(n, step, cost):
    calls = []

    def D(x, sigma):
        jax.debug.callback(lambda s: calls.append(float(s)), sigma)
        return x / 2

    dg.sample(Partial(D), jnp.ones((1, 2)), dg.karras_sigmas(n), step=step).block_until_ready()
    jax.effects_barrier()
    assert len(calls) == cost(n)
    assert set(calls) == set(np.asarray(dg.karras_sigmas(n)).tolist())  # every level is asked about, no other


def test_no_retrace_for_another_denoiser_or_grid():
    traces = []

    def counted(variance, x, sigma):
        traces.append(x.shape)
        return wiener(variance, x, sigma)

    first, second = (Partial(counted, jnp.full(3, v)) for v in (1.0, 2.0))
    x = jnp.ones((2, 3))

    def run(D, x, sigmas):
        jax.block_until_ready((dg.sample(D, x, sigmas), dg.trajectory(D, x, sigmas)))

    run(first, x, dg.karras_sigmas(6))
    once = len(traces)
    for D, sigmas in [(second, dg.karras_sigmas(6)), (first, dg.karras_sigmas(6, rho=3.0))]:
        run(D, 2 * x, sigmas)
    assert len(traces) == once > 0
    dg.sample(first, x, dg.karras_sigmas(7))  # the negative control: another length is another trace
    assert len(traces) > once


def test_the_sampler_is_differentiable_and_maps_over_denoisers():
    sigmas, x = dg.karras_sigmas(5), jnp.ones((2, 3))
    slope = jax.grad(lambda v: dg.sample(Partial(wiener, v), x, sigmas).sum())(jnp.ones(3))
    assert np.isfinite(slope).all() and (np.abs(slope) > 0).all()
    many = jax.vmap(lambda v: dg.sample(Partial(wiener, v), x, sigmas))(jnp.stack([jnp.ones(3), jnp.full(3, 2.0)]))
    np.testing.assert_allclose(many[1], dg.sample(Partial(wiener, jnp.full(3, 2.0)), x, sigmas), rtol=1e-6)


@pytest.mark.parametrize("run", [dg.sample, dg.trajectory])
def test_bad_arguments_are_refused(run, unchecked):
    x, D = jnp.ones((2, 3)), Partial(lambda x, sigma: x)
    with pytest.raises(TypeError, match=r"function.*jax\.tree_util\.Partial\(f\)"):
        run(lambda x, sigma: x, x, dg.karras_sigmas(3))
    with pytest.raises(TypeError, match=r"got float.*callable as D\(x, sigma\)"):
        run(1.0, x, dg.karras_sigmas(3))
    for grid, message in [
        (jnp.zeros(0), r"sigmas has shape \(0,\)"),
        (jnp.ones((2, 2)), r"sigmas has shape \(2, 2\)"),
        (jnp.array([1.0, 2.0]), "needs to decrease strictly"),
        (jnp.array([2.0, 0.0]), "every level needs to be finite and > 0"),
        (jnp.array([2.0, -1.0]), "every level needs to be finite and > 0"),
        (jnp.array([jnp.nan, 1.0]), "every level needs to be finite and > 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(D, x, grid)


def test_a_sigma_of_another_shape_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"sigma has shape \(3,\).*needs \(\) or \(2,\)"):
        dg.velocity(Partial(lambda x, sigma: x), jnp.ones((2, 3)), jnp.ones(3))
