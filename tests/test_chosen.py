import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffgauss as dg


def members(seed=0):
    """D_M and D_G of 30 points, and points held out."""
    y = np.random.default_rng(seed).standard_normal((40, 2, 3)).astype(np.float32)
    return [dg.EmpiricalDenoiser.from_data(y[:30]), dg.GaussianDenoiser.from_data(y[:30])], jnp.asarray(y[30:])


@pytest.mark.slow
def test_each_level_takes_the_member_of_the_nearest():
    (D_M, D_G), x0 = members()
    D = dg.ChosenDenoiser((D_M, D_G), jnp.array([10.0, 0.1]), jnp.array([0, 1]))
    np.testing.assert_allclose(D(x0, 2.0), D_M(x0, 2.0), atol=1e-6)
    np.testing.assert_allclose(D(x0, 0.5), D_G(x0, 0.5), atol=1e-6)
    mixed = D(x0[:2], jnp.array([2.0, 0.5]))
    np.testing.assert_allclose(mixed, jnp.stack([D_M(x0, 2.0)[0], D_G(x0, 0.5)[1]]), atol=1e-6)


@pytest.mark.slow
def test_the_choice_has_the_least_error_at_each_level():
    """Normal data: D_G beats D_M at low σ; a denoiser that returns x beats none at any level."""
    (D_M, D_G), x0 = members()
    sigmas, key, same = [3.0, 1.0, 0.1], jax.random.key(0), jax.tree_util.Partial(lambda x, s: x)
    D = dg.ChosenDenoiser.by_error([D_M, same, D_G], x0, sigmas, key=key)
    noise = jax.random.normal(key, x0.shape)
    for k, s in zip(D.choice, sigmas, strict=True):
        errors = [float(((E(x0 + s * noise, s) - x0) ** 2).mean()) for E in (D_M, same, D_G)]
        assert errors[k] == min(errors)
    assert D.choice[1] == 2
    assert np.isfinite(dg.sample(D, 3 * noise, dg.karras_sigmas(4, sigma_max=3.0))).all()


@pytest.mark.slow
def test_the_choice_can_be_by_likeness_to_a_network():
    """What is to be matched is chosen where it is a member, and next to it the nearer one, whatever its error."""
    (D_M, D_G), x0 = members()
    same = jax.tree_util.Partial(lambda x, s: x)
    off = jax.tree_util.Partial(lambda D, x, s: D(x, s) + 0.01, D_G)

    def choice(found, like):
        return dg.ChosenDenoiser.by_error(found, x0, [3.0, 0.1], key=jax.random.key(0), like=like).choice

    np.testing.assert_array_equal(choice([D_M, same, D_G], D_M), 0)
    np.testing.assert_array_equal(choice([D_M, same, D_G], same), 1)
    np.testing.assert_array_equal(choice([D_M, D_G], off), 1)


def test_no_retrace_for_another_choice():
    D1, D2 = (dg.ChosenDenoiser(tuple(members(i)[0]), jnp.array([1.0, 0.1]), jnp.array([i, 0])) for i in (0, 1))
    x = jnp.ones((2, 2, 3))
    jax.block_until_ready(D1(x, 1.0))
    with jax.no_tracing(True):
        jax.block_until_ready(D2(x, 0.2))


def test_bad_members_are_refused(unchecked):
    found, x0 = members()
    with pytest.raises(ValueError, match="got no members; needs at least one"):
        dg.ChosenDenoiser.by_error([], x0, [1.0], key=jax.random.key(0))
    with pytest.raises(ValueError, match="needs to decrease"):
        dg.ChosenDenoiser.by_error(found, x0, [1.0, 2.0], key=jax.random.key(0))
    with pytest.raises(TypeError, match="needs to be callable"):
        dg.ChosenDenoiser.by_error([3], x0, [1.0], key=jax.random.key(0))  # type: ignore[list-item]


@pytest.mark.slow
def test_a_member_that_gives_nan_is_not_chosen():
    (D_M, _), x0 = members()
    bad = jax.tree_util.Partial(lambda x, s: x * jnp.nan)
    assert (dg.ChosenDenoiser.by_error([bad, D_M], x0, [1.0, 0.1], key=jax.random.key(0)).choice == 1).all()
    with pytest.raises(ValueError, match="no member has a finite error at σ = .*1"):
        dg.ChosenDenoiser.by_error([bad], x0, [1.0, 0.1], key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"x0\[0\] has NaN"):
        dg.ChosenDenoiser.by_error([D_M], x0.at[0].set(jnp.nan), [1.0], key=jax.random.key(0))
