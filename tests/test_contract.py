"""Every denoiser that the package has keeps the one contract: D(x, σ) → x̂, pure, a pytree, for any device.

Classes and their factories are found in `denoisers`, `beyond` and `adapters`, not listed. A factory is called with
images alone or as RECIPES says; one that can be made neither way fails, so that no denoiser slips through.
"""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64
from flax import nnx
from jax import export
from jax.core import Tracer
from jaxtyping import Float

import diffgauss as dg
from diffgauss import adapters, beyond, core, denoisers

CONTRIBUTING = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
DRAWN = np.random.default_rng(0).normal(size=(2, 40, 8, 8, 1)).astype(np.float32)
IMAGES, OTHERS = DRAWN
X, SIGMA = jnp.asarray(OTHERS[:4]), 1.5
LEVELS = np.array([4.0, 1.5, 0.5], np.float32)


def network(seed: int = 0) -> dg.EDMDenoiser:
    """A small one whose last layer is not 0."""
    net = dg.UNet.tiny(8, 1, width=4, rngs=nnx.Rngs(seed))
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda a: a + 0.1 * draw.standard_normal(a.shape, np.float32), dg.EDMDenoiser(net, 0.7))


def linear(images, rank: int | None = None) -> dg.LinearDenoiser:
    return dg.distill(network(), images, LEVELS, key=jax.random.key(0), samples=400, rank=rank, batch=64)


def chosen(images) -> dg.ChosenDenoiser:
    members = dg.GaussianDenoiser.from_data(images), dg.EmpiricalDenoiser.from_data(images)
    return dg.ChosenDenoiser.by_error(members, jnp.asarray(OTHERS), LEVELS, key=jax.random.key(0))


def wiener(images) -> dg.LocalDenoiser:
    D_G = dg.GaussianDenoiser.from_data(images)
    return dg.LocalDenoiser.from_wiener(images, D_G.U, D_G.lam, LEVELS)


TIMES = dg.NoiseSchedule.vp(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))


def noise_of(table, mean, x, t):
    """The noise that a Gaussian of variance .09 sees in x_t at the time t; like a network it has its own shape."""
    core.check_event(x, mean.shape)
    s = jnp.exp(jnp.interp(t, *table)).reshape(-1, 1, 1, 1)
    return s * (x * jnp.sqrt(1 + s**2) - mean[None]) / (0.09 + s**2)


def predicting(images) -> dg.NetworkDenoiser:
    table = TIMES.times, jnp.log(TIMES.sigmas)
    net = jax.tree_util.Partial(noise_of, table, jnp.asarray(images.mean(0)))
    return dg.from_network(net, "eps", TIMES)


RECIPES: dict[str, Callable[[np.ndarray], Any]] = {
    "NetworkDenoiser": predicting,
    "EDMDenoiser": lambda images: network(int(images is OTHERS)),
    "LinearDenoiser": linear,
    "LinearDenoiser, low rank": lambda images: linear(images, 8),
    "ChosenDenoiser.by_error": chosen,
    "LocalDenoiser.from_data": lambda images: dg.LocalDenoiser.from_data(images, size=3),
    "LocalDenoiser.from_data, equivariant": lambda i: dg.LocalDenoiser.from_data(i, size=3, equivariant=True),
    "LocalDenoiser.from_wiener": wiener,
    "MixtureDenoiser.from_data": lambda images: dg.MixtureDenoiser.from_data(images, np.arange(40) % 3),
    "ScreenedDenoiser.from_data": lambda i: dg.ScreenedDenoiser.from_data(i, ranks=(4, 8), block=8, dense=1.0),
}


def classes() -> dict[str, type]:
    """Each class of the packages whose instances are called as D(x, sigma), and not as a network F(x_t, t)."""
    found = {}
    for package in (denoisers, beyond, adapters):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for name, cls in vars(module).items():
                own = inspect.isclass(cls) and cls.__module__ == info.name and "__call__" in vars(cls)
                if own and "sigma" in inspect.signature(cls.__call__).parameters and not name.startswith("_"):
                    found[name] = cls
    return found


def factories() -> list[str]:
    """'Class.factory' for each public class method, 'Class' where there is none; and further recipes of either."""
    names = []
    for name, cls in classes().items():
        made = [f for f in vars(cls) if isinstance(vars(cls)[f], classmethod) and not f.startswith("_")]
        names += [f"{name}.{f}" for f in made] or [name]
    return names + [recipe for recipe in RECIPES if recipe not in names and recipe.split(",")[0] in names]


def make(factory: str, images: np.ndarray = IMAGES) -> Any:
    """The denoiser of some images, made once."""
    recipe = RECIPES.get(factory)
    if (factory, recipe, id(images)) not in made:
        made[factory, recipe, id(images)] = new(factory, images)
    return made[factory, recipe, id(images)]


made: dict[tuple, Any] = {}


def new(factory: str, images: np.ndarray) -> Any:
    if factory in RECIPES:
        return RECIPES[factory](images)
    name, _, method = factory.partition(".")
    try:
        return getattr(classes()[name], method)(images)
    except (TypeError, AttributeError) as error:
        pytest.fail(f"{factory} cannot be made of images alone ({error}); needs a recipe in RECIPES")


def one_line(call: Callable) -> None:
    """The call is refused with one line."""
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value).strip() and str(error.value).count("\n") == 0, str(error.value)


@pytest.fixture(scope="module", autouse=True)
def hardly_optimised() -> Iterator[None]:
    """Rules are of shapes, types, traces and derivatives; compiling for speed takes most of the time otherwise."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


pytestmark = pytest.mark.usefixtures("unchecked")  # as users run it, with the package's own errors
EACH = pytest.mark.parametrize("factory", factories())


def but(start: str, error: type, reason: str):
    """Each factory; of those whose name starts so the rule is not kept yet, for the reason given."""
    missed = pytest.mark.xfail(strict=True, raises=error, reason=reason)
    names = [pytest.param(f, marks=missed) if f.startswith(start) else f for f in factories()]
    return pytest.mark.parametrize("factory", names)


@but("EDMDenoiser", TypeError, "the network's own convolution has a reverse derivative alone")
def test_forward_derivative(factory):
    D, direction = make(factory), jnp.asarray(OTHERS[4:8])
    h = 1e-2
    slope = (D(X + h * direction, SIGMA) - D(X - h * direction, SIGMA)) / (2 * h)
    found = jax.jit(lambda x: jax.jvp(lambda x: D(x, SIGMA), (x,), (direction,))[1])(X)
    np.testing.assert_allclose(found, slope, atol=2e-2)


def test_what_is_found():
    assert {"EmpiricalDenoiser", "GaussianDenoiser", "LinearDenoiser", "EDMDenoiser"} <= classes().keys()
    assert {"MixtureDenoiser", "LocalDenoiser", "ScreenedDenoiser", "ChosenDenoiser"} <= classes().keys()
    assert all(recipe.split(",")[0] in factories() for recipe in RECIPES)


@EACH
def test_shape_type_and_jit(factory):
    D = make(factory)
    out = D(X, SIGMA)
    assert out.shape == X.shape and out.dtype == X.dtype and jnp.isfinite(out).all()
    np.testing.assert_allclose(jax.jit(lambda D, x, s: D(x, s))(D, X, SIGMA), out, atol=1e-5)
    leaves, structure = jax.tree.flatten(D)
    np.testing.assert_allclose(jax.tree.unflatten(structure, leaves)(X, SIGMA), out, atol=1e-6)


@EACH
def test_one_level_or_one_for_each_and_any_number(factory):
    D = make(factory)
    out = D(X, SIGMA)
    np.testing.assert_allclose(D(X, jnp.full(len(X), SIGMA)), out, atol=1e-5)
    for one in (np.float64(2), np.float32(2), jnp.asarray(2.0), 2):
        np.testing.assert_allclose(D(X, one), D(X, 2.0), atol=1e-6)


@EACH
def test_vmap(factory):
    D = make(factory)
    np.testing.assert_allclose(jax.jit(jax.vmap(D, (0, None)))(X[:, None], SIGMA)[:, 0], D(X, SIGMA), atol=1e-5)


@but("Screened", ValueError, "the search for near images is an open loop, without a reverse mode: use jax.jvp")
def test_gradient(factory):
    D, direction = make(factory), jnp.asarray(OTHERS[4:8])
    h = 1e-2
    slope = ((D(X + h * direction, SIGMA) - D(X - h * direction, SIGMA)) * X).sum() / (2 * h)
    found = jax.jit(jax.grad(lambda x: (D(x, SIGMA) * X).sum()))(X)
    assert float((found * direction).sum()) == pytest.approx(float(slope), rel=2e-2, abs=2e-2)


@EACH
def test_no_retrace_for_other_data(factory):
    call = jax.jit(lambda D, x, s: D(x, s))
    one, two = make(factory), make(factory, OTHERS)
    call(one, X, jnp.float32(SIGMA)).block_until_ready()
    with jax.no_tracing(True):
        other = call(two, X, jnp.float32(SIGMA))
    assert not np.allclose(other, call(one, X, jnp.float32(SIGMA)), atol=1e-4)


@EACH
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.int32, jnp.uint8])
def test_half_precision_and_integers_are_computed_in_float32(factory, dtype):
    D, given = make(factory), (3 * abs(X)).astype(dtype)
    call = jax.jit(lambda D, x, sigma: D(x, sigma)) if dtype == jnp.bfloat16 else lambda D, x, sigma: D(x, sigma)
    want = np.asarray(D(given.astype(jnp.float32), SIGMA))
    levels = (SIGMA, np.float16(SIGMA), jnp.full(len(X), SIGMA, jnp.float16)) if dtype == jnp.float16 else (SIGMA,)
    for level in levels:
        out = call(D, given, level)
        assert out.dtype == jnp.float32
        np.testing.assert_allclose(out, want, atol=1e-5)
    np.testing.assert_allclose(D(np.asarray(given, np.float32).tolist(), SIGMA), want, atol=1e-5)


@EACH
@pytest.mark.parametrize("level", [0, -1.0, np.nan, np.inf, [1.0, 2.0, 0.0, 3.0], "one", None])
def test_levels_that_cannot_be_are_refused(factory, level):
    D = make(factory)
    one_line(lambda: D(X, level))
    one_line(lambda: D(X, sigma=level))


@EACH
def test_derivative_in_the_level(factory):
    """Against a difference, also where the answer is one image and the derivative 0."""
    D = make(factory)
    f = jax.jit(lambda s: (D(X, s) * X).sum())
    if factory.startswith("Screened"):  # no reverse mode, see test_gradient
        derivative = jax.jit(lambda s: jax.jvp(f, (s,), (jnp.ones_like(s),))[1])
    else:
        derivative = jax.jit(jax.grad(f))
    for sigma in jnp.array([2.7, 0.9, 0.05]):
        h = 1e-2 * sigma
        slope = (f(sigma + h) - f(sigma - h)) / (2 * h)
        assert float(derivative(sigma)) == pytest.approx(float(slope), rel=2e-2, abs=2e-2)


@EACH
def test_a_member_is_alone_in_a_batch_of_any_size(factory):
    """Some denoisers take large batches in pieces."""
    D, many = make(factory), jnp.tile(X, (700, 1, 1, 1))
    levels = jnp.tile(jnp.array([0.5, 1.5, 1.5, 4.0]), 700)
    for few, out in ((D(X, SIGMA), D(many[:2799], SIGMA)), (D(X, levels[:4]), D(many[:2799], levels[:2799]))):
        np.testing.assert_allclose(out, jnp.tile(few, (700, 1, 1, 1))[:2799], atol=1e-4)


@EACH
def test_other_shapes_and_empty_batches_are_refused_in_one_line(factory):
    D = make(factory)
    for x in (jnp.zeros((2, 9, 8, 1)), jnp.zeros((2, 8, 8)), jnp.zeros((8, 8, 1)), jnp.zeros((0, 8, 8, 1))):
        one_line(lambda x=x: D(x, SIGMA))
    one_line(lambda: D(X, jnp.ones(3)))


@EACH
def test_float64(factory):
    want = np.asarray(make(factory)(X, SIGMA))
    D = make(factory)
    with float64():
        D = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if a.dtype == jnp.float32 else a, D)
        out = D(jnp.asarray(np.asarray(X), jnp.float64), SIGMA)
        assert out.dtype == jnp.float64
        np.testing.assert_allclose(out, want, atol=1e-4)


X64 = """
import sys, jax, jax.numpy as jnp, numpy as np, diffgauss as dg
from flax import nnx
assert jax.config.jax_enable_x64
images = np.random.default_rng(0).uniform(-1, 1, (60, 8, 8, 1)).astype(np.float32)
config, key = dg.TrainConfig(steps=4, batch=4), jax.random.key(0)
net = dg.EDMDenoiser(dg.UNet.tiny(8, 1, width=4, rngs=nnx.Rngs(0)), 0.7)
_, losses = dg.fit(dg.TrainState.start(net, config), images, config, progress=False)
D_G, D_M = dg.GaussianDenoiser.from_data(images), dg.EmpiricalDenoiser.from_data(images)
found = [losses]
for D in (net, D_G, D_M):
    for kind in (np.float32, np.float64):
        x = jnp.asarray(images[:3], kind)
        drawn, path = dg.sample(D, 80 * x, dg.karras_sigmas(4)), dg.trajectory(D, 80 * x, dg.karras_sigmas(4))
        assert drawn.dtype == path.dtype == kind
        found += [drawn, path, dg.score_rmse(D, D_G, x, 1.5), dg.linearity(D, x, x + 1, 1.5, mean=D_G.mean)]
        found += [dg.jacobian_svd(D, x, 1.5, 3, key=key)[0], dg.jacobian_gains(D, x, 1.5, D_G.U[:, :3])]
    for rank in (None, 5):
        found.append(dg.distill(D, images, [4.0, 1.0], key=key, samples=400, rank=rank)(x, 1.5))
    found += [dg.skill(D, D_G, images, 1.0, key=key)]
    found += [dg.distill_sgd(D, images, 1.0, key=key, steps=3, rate=0.1).losses]
found.append(dg.zoo.load("n64-w4")(jnp.zeros((2, 28, 28, 1)), 1.0))
np.savez(sys.argv[1], *map(np.asarray, found))
"""


@pytest.mark.slow
def test_everything_runs_with_double_precision_by_default(tmp_path):
    run = [sys.executable, "-c", X64, tmp_path / "found.npz"]
    environment = os.environ | {"JAX_ENABLE_X64": "1"} | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # types, not speed
    subprocess.run(run, env=environment, check=True)
    found = np.load(tmp_path / "found.npz")
    assert len(found.files) == 50 and all(np.isfinite(found[name]).all() for name in found.files)


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_lowers_for_a_device_that_is_not_here(factory, platform):
    found = export.export(jax.jit(lambda D, x, s: D(x, s)), platforms=[platform])(make(factory), X, jnp.float32(1))
    assert found.platforms == (platform,) and found.out_avals[0].shape == X.shape


def host(D, x, sigma):
    return jax.pure_callback(lambda y: np.asarray(y), jax.ShapeDtypeStruct(x.shape, x.dtype), x)


def any_shape(D, x, sigma):
    return D(jnp.zeros((4, 8, 8, 1)), 1.0).mean() + x


def first_level(D, x, sigma):
    return D(x, jnp.ravel(jnp.asarray(sigma, x.dtype))[0] * (1 + jnp.ndim(sigma)))


def no_gradient(D, x, sigma):
    return jax.lax.stop_gradient(D(x, sigma))


def retraced(D, x, sigma):
    return D(x, sigma) + (0 if isinstance(D.lam, Tracer) else 1)


def float32_only(D, x, sigma):
    return D(x.astype(jnp.float32), sigma).astype(jnp.float32)


def careless(D, x, sigma):
    return D(x, sigma) + (1.0 if x.dtype == jnp.float16 else 0.0)


@pytest.mark.parametrize(
    "fault, rule",
    [
        (host, lambda name: test_lowers_for_a_device_that_is_not_here(name, "tpu")),
        (any_shape, lambda name: test_other_shapes_and_empty_batches_are_refused_in_one_line(name)),
        (first_level, test_one_level_or_one_for_each_and_any_number),
        (no_gradient, test_gradient),
        (retraced, test_shape_type_and_jit),
        (float32_only, test_float64),
        (careless, lambda name: test_half_precision_and_integers_are_computed_in_float32(name, jnp.float16)),
    ],
    ids=lambda x: getattr(x, "__name__", "rule"),
)
def test_a_planted_fault_is_found(fault, rule, monkeypatch):
    def planted(images):
        return jax.tree_util.Partial(lambda D, x, s: fault(D, x, s), dg.GaussianDenoiser.from_data(images))

    monkeypatch.setitem(RECIPES, "Planted", planted)
    with pytest.raises(BaseException):  # noqa: B017, an assertion, or what a test frame raises for one
        rule("Planted")


def test_a_class_that_closes_over_its_data_retraces_and_is_found(monkeypatch):
    def planted(images):
        D_G = dg.GaussianDenoiser.from_data(images)
        return jax.tree_util.Partial(lambda x, s: D_G(x, s))

    monkeypatch.setitem(RECIPES, "Planted", planted)
    with pytest.raises(Exception, match="[Tt]racing|trace"):
        test_no_retrace_for_other_data("Planted")


def test_a_class_without_a_recipe_is_found():
    with pytest.raises(pytest.fail.Exception, match="needs a recipe in RECIPES"):
        make("MixtureDenoiser.of_images")


def test_the_denoiser_of_contributing_keeps_the_contract(monkeypatch):
    """It is what a contributor starts from, so it is tried as it stands there."""
    (code,) = re.findall(r"(?s)```python\n(.*?)```", CONTRIBUTING.read_text(encoding="utf-8"))
    assert len(re.sub(r'(?m)^\s*""".*\n|^\s*\n', "", code).splitlines()) <= 15
    names: dict[str, Any] = {"jax": jax, "jnp": jnp, "np": np, "Array": jax.Array, "ArrayLike": Any, "Float": Float}
    names |= {
        name: getattr(core, name)
        for name in ("Sigma", "pytree", "checked", "check_points", "check_event", "expand")
    }
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    monkeypatch.setitem(RECIPES, "IsotropicDenoiser", names["IsotropicDenoiser"].from_data)
    for rule in (test_shape_type_and_jit, test_one_level_or_one_for_each_and_any_number, test_vmap, test_gradient,
                 test_no_retrace_for_other_data, test_float64, test_forward_derivative,
                 test_other_shapes_and_empty_batches_are_refused_in_one_line):  # fmt: skip
        rule("IsotropicDenoiser")
    for dtype in (jnp.float16, jnp.bfloat16, jnp.int32):
        test_half_precision_and_integers_are_computed_in_float32("IsotropicDenoiser", dtype)
    for level in (0, np.nan, "one"):
        test_levels_that_cannot_be_are_refused("IsotropicDenoiser", level)
