import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgauss import core
from diffgauss.core import check_denoiser, check_event, check_points, check_sigmas, expand, pytree, static


@pytree
class Scaled:
    gain: jax.Array
    power: int = static()

    def __post_init__(self):
        if not isinstance(self.gain, jax.Array):
            raise ValueError("gain needs to be an array")

    def __call__(self, x, sigma):
        return self.gain * x**self.power


def test_a_pytree_goes_through_every_transformation_though_its_constructor_validates():
    D, x = Scaled(jnp.float32(2.0), 1), jnp.ones((3, 2))
    with pytest.raises(ValueError, match="gain"):
        Scaled(None, 1)  # type: ignore[arg-type]
    assert jax.eval_shape(lambda D, x: D(x, 1.0), D, x).shape == x.shape
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 3 * leaf]), D)
    np.testing.assert_array_equal(jax.vmap(lambda D: D(x, 1.0).sum())(many), [12.0, 36.0])
    jax.jit(lambda D, x: D(x, 1.0)).lower(D, x).compile()
    assert jax.grad(lambda D: D(x, 1.0).sum())(D).gain == 6.0


def test_a_pytree_has_named_leaves_and_static_fields():
    D = Scaled(jnp.float32(2.0), 3)
    (path, leaf), *rest = jax.tree_util.tree_leaves_with_path(D)
    assert not rest and jax.tree_util.keystr(path) == ".gain" and leaf == 2.0
    again = jax.tree.unflatten(jax.tree.structure(D), [leaf])
    assert (again.gain, again.power) == (2.0, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        D.power = 1  # type: ignore[misc]


def test_only_a_new_static_value_makes_a_new_trace():
    traces = []

    @jax.jit
    def f(D, x):
        traces.append(D.power)
        return D(x, 1.0)

    for gain, power in [(1.0, 1), (2.0, 1), (2.0, 2), (3.0, 2)]:
        f(Scaled(jnp.float32(gain), power), jnp.ones((2, 2)))
    assert traces == [1, 2]


@pytest.mark.parametrize("sigma, shape", [(2.0, (1, 1, 1)), (jnp.float32(2), (1, 1, 1)), (jnp.ones(4), (4, 1, 1))])
def test_expand_broadcasts_against_x(sigma, shape):
    x = jnp.zeros((4, 3, 2))
    assert expand(sigma, x).shape == shape
    assert expand(sigma, x).dtype == x.dtype


def test_expand_keeps_half_a_level_beside_integers(unchecked):
    assert float(expand(0.5, jnp.zeros((4, 2), int)).ravel()[0]) == 0.5


@pytest.mark.parametrize("shape", [(3,), (1,), (4, 1)])
def test_expand_refuses_a_sigma_of_another_shape(shape, unchecked):
    with pytest.raises(ValueError, match=r"sigma has shape .*x of shape \(4, 2\) needs \(\) or \(4,\)"):
        expand(jnp.ones(shape), jnp.zeros((4, 2)))


def test_a_denoiser_is_a_callable_pytree_of_arrays():
    check_denoiser(Scaled(jnp.float32(1), 1))
    check_denoiser(jax.tree_util.Partial(lambda x, sigma: x))
    with pytest.raises(TypeError, match=r"got int.*callable as D\(x, sigma\)"):
        check_denoiser(3)
    with pytest.raises(TypeError, match=r"function.*jax\.tree_util\.Partial\(f\)"):
        check_denoiser(lambda x, sigma: x)
    assert isinstance(Scaled(jnp.float32(1), 1), core.Denoiser)


BAD_GRIDS = [
    ([], r"shape \(0,\).*n ≥ 1"),
    (1.0, r"shape \(\).*n ≥ 1"),
    ([[2.0, 1.0]], r"shape \(1, 2\).*\(n,\)"),
    ([1.0, 2.0], "decrease strictly"),
    ([2.0, 2.0], "decrease strictly"),
    ([2.0, np.nan], "finite and > 0"),
    ([np.inf, 1.0], "finite and > 0"),
    ([1.0, 0.0], "finite and > 0"),
    ([1.0, -1.0], "finite and > 0"),
]


@pytest.mark.parametrize("grid, message", BAD_GRIDS)
def test_a_grid_is_positive_finite_and_decreasing(grid, message):
    with pytest.raises(ValueError, match=message):
        check_sigmas(np.asarray(grid))


def test_the_shape_of_a_grid_is_checked_under_a_trace_too():
    jax.jit(lambda grid: check_sigmas(grid))(jnp.array([1.0, 2.0]))  # values are unknown there
    with pytest.raises(ValueError, match="shape"):
        jax.jit(lambda grid: check_sigmas(grid))(jnp.ones((2, 2)))


@pytest.mark.parametrize(
    "data, message",
    [
        (np.zeros(3), r"data has shape \(3,\); needs \(N, \*event\)"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        (np.zeros((1, 2)), r"holds 1 point\(s\); needs at least 2"),
        (np.zeros((0, 2)), r"holds 0 point\(s\)"),
        (np.zeros((3, 2), np.uint8), r"dtype uint8; needs floating"),
        (np.array([[0.0], [np.nan], [1.0]]), r"data\[1\] has NaN"),
        (np.array([[0.0], [1.0], [-np.inf]]), r"data\[2\] has NaN or infinite"),
    ],
)
def test_points_are_rows_of_finite_floats(data, message):
    with pytest.raises(ValueError, match=message):
        check_points(data, at_least=2)


def test_an_event_shape_is_named_in_the_error():
    check_event(np.zeros((5, 2, 3)), (2, 3))
    for shape in [(2, 3), (5, 3, 2), (5, 6), (0, 2, 3)]:
        with pytest.raises(ValueError, match=r"x has shape .*needs \(b, 2, 3\)"):
            check_event(np.zeros(shape), (2, 3))


BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"IPython", "matplotlib", "ipywidgets", "typer", "PIL", "packaging", "datasets"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import diffgauss as dg, jax, numpy as np
from flax import nnx

images = dg.load(classes=[7])[:200]
D_G, D_M = dg.GaussianDenoiser.from_data(images), dg.EmpiricalDenoiser.from_data(images)
assert dg.sample(D_M, dg.zoo.noise(2), dg.karras_sigmas(4)).shape == (2, 28, 28, 1)
D = dg.EDMDenoiser(dg.UNet.tiny(28, 1, width=4, rngs=nnx.Rngs(0)), 0.7)
config = dg.TrainConfig(steps=2)
state, losses = dg.fit(dg.TrainState.start(D, config), images, config, progress=False)
assert len(losses) == 2
dg.distill(state.ema, images, [1.0], key=jax.random.key(0), samples=64, base=D_G, rank=4)
assert 0 < dg.position(dg.zoo.load("n64-w4"), D_G, D_M, images, 1.5).off < 1 and dg.results("descent")["what"]
for use in (lambda: dg.plots, lambda: dg.lesson, lambda: dg.widgets, lambda: dg.load("fashion-mnist", size=8)):
    try:
        use()
    except ModuleNotFoundError as error:
        assert "needs: pip install" in str(error) and "\\n" not in str(error), error
    else:
        raise AssertionError(use)
"""


@pytest.mark.slow
def test_the_kernels_do_without_what_notebooks_and_the_command_line_need():
    run = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
