"""What a reader writes between ``# BEGIN SOLUTION`` and ``# END SOLUTION``, compared with the kernel.

Each function has the name of its task and the arguments that ``TASKS`` draws for it. The notebook goes on with the
kernel where there is nothing yet or something else; a grader draws other arguments, and refuses what calls
diffgauss.
"""

import inspect
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffgauss.denoisers.empirical import EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.measures.distance import generalization
from diffgauss.notebook.solutions import effective_number
from diffgauss.ode import euler, heun, velocity
from diffgauss.schedule import karras_sigmas

EMPTY = "..."
"""The statement of a function that is not written yet."""


class Task(NamedTuple):
    """kernel: takes the same arguments; name: what the notebook calls it; draw: arguments; allowed: difference."""

    kernel: Callable[..., Any]
    name: str
    draw: Callable[[np.random.Generator], tuple]
    allowed: float


class Found(NamedTuple):
    """The state of a task: "right", "wrong" or "empty", and a line that says why."""

    state: str
    line: str


def _empirical(x, sigma, y):
    return EmpiricalDenoiser.from_data(np.asarray(y))(x, sigma)


def _gaussian(x, sigma, u, U, lam):
    return GaussianDenoiser(u, U, lam)(x, sigma)


def _flow(x, sigma, sigma_next, u, U, lam):
    return GaussianDenoiser(u, U, lam).flow(x, sigma, sigma_next)


def _distance(x, y):
    return generalization(np.asarray(x), np.asarray(y)).GL


def _score(x, sigma, centres, shares, width):
    def log_p(x):
        return jax.nn.logsumexp(jnp.log(shares) - ((x[None] - centres) ** 2).sum(-1) / (2 * (width**2 + sigma**2)))

    return jax.vmap(jax.grad(log_p))(x)


def _grid(n, top, bottom, rho):
    return karras_sigmas(int(n), sigma_max=float(top), sigma_min=float(bottom), rho=float(rho))


def _clusters(rng: np.random.Generator) -> tuple:
    x, centres = rng.normal(0, 2, (5, 2)).astype("f4"), rng.normal(0, 1, (3, 2)).astype("f4")
    return x, np.float32(rng.uniform(0.5, 2)), centres, rng.dirichlet(np.ones(3)).astype("f4"), np.float32(0.2)


def _bend(x, sigma):
    return jnp.tanh(x) / (1 + sigma)


def _step(rng: np.random.Generator) -> tuple:
    return (
        jax.tree_util.Partial(_bend),
        _images(rng, 3),
        np.float32(rng.uniform(2, 3)),
        np.float32(rng.uniform(1, 2)),
    )


def _images(rng: np.random.Generator, k: int) -> np.ndarray:
    return rng.uniform(-1, 1, (k, 4, 4, 1)).astype(np.float32)


def _moments(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z = rng.standard_normal((16, 16))
    return _images(rng, 1)[0], np.linalg.qr(z)[0].astype("f4"), np.sort(rng.uniform(0.1, 9, 16))[::-1].astype("f4")


TASKS = {
    "score": Task(_score, "jax.grad of the log density", _clusters, 1e-3),
    "velocity": Task(velocity, "dg.velocity", lambda rng: _step(rng)[:3], 1e-4),
    "euler": Task(euler, "dg.euler", _step, 1e-4),
    "heun": Task(heun, "dg.heun", _step, 1e-4),
    "grid": Task(
        _grid,
        "dg.karras_sigmas",
        lambda rng: (rng.integers(3, 30), rng.uniform(10, 80), 0.01, rng.uniform(2, 9)),
        1e-2,
    ),
    "D_M": Task(
        _empirical,
        "dg.EmpiricalDenoiser",
        lambda rng: (2 * _images(rng, 3), np.float32(rng.uniform(0.5, 2)), _images(rng, 5)),
        1e-3,
    ),
    "effective_number": Task(
        effective_number,
        "dg.EmpiricalDenoiser's entropy",
        lambda rng: (np.append(rng.normal(0, 2, (3, 6)), np.full((3, 1), -300.0), 1).astype("f4"),),
        1e-3,
    ),
    "D_G": Task(
        _gaussian,
        "dg.GaussianDenoiser",
        lambda rng: (2 * _images(rng, 3), np.float32(rng.uniform(0.5, 2)), *_moments(rng)),
        1e-3,
    ),
    "flow": Task(
        _flow,
        "dg.GaussianDenoiser.flow",
        lambda rng: (9 * _images(rng, 3), np.float32(9), np.float32(rng.uniform(0, 2)), *_moments(rng)),
        1e-2,
    ),
    "GL": Task(_distance, "dg.generalization", lambda rng: (_images(rng, 4), _images(rng, 6)), 1e-4),
}


def compared(function: Callable, seed: int = 0) -> Found:
    """A reader's function against its kernel, on arguments drawn from the seed. Raises ValueError for no task."""
    name = getattr(function, "__name__", None)
    if name not in TASKS:
        raise ValueError(f"got a function {name!r}; there are {', '.join(TASKS)}")
    task = TASKS[name]
    arguments = jax.tree.map(jnp.asarray, task.draw(np.random.default_rng(seed)))
    want = np.asarray(task.kernel(*arguments))
    try:
        with jax.numpy_rank_promotion("allow"):  # NumPy's own rule
            answer = function(*arguments)
        if answer is None or answer is ...:
            return Found("empty", f"{name} is not written yet")
        got = np.asarray(answer, float)
    except NotImplementedError:
        return Found("empty", f"{name} is not written yet")
    except Exception as error:  # whatever a reader's code raises is an answer that is not right yet
        return Found("wrong", f"your {name} raised {type(error).__name__}: {error}")
    if got.shape != want.shape:
        return Found("wrong", f"your {name} gives shape {got.shape}; {task.name} gives {want.shape}")
    apart = float(np.abs(got - want).max())
    line = f"{apart:.1g} (allowed {task.allowed:g})"
    if not apart <= task.allowed:
        return Found("wrong", f"your {name} differs from {task.name}: largest difference {line}")
    return Found("right", f"your {name} agrees with {task.name}: largest difference {line}")


def borrows(function: Callable) -> str:
    """The name by which a function reaches diffgauss, itself or through the functions that it calls; else ""."""
    todo, seen = [function], set()
    while todo:
        here = inspect.unwrap(todo.pop())
        if _of_package(here):
            return getattr(here, "__name__", "diffgauss")
        if not isinstance(here, types.FunctionType) or here in seen:
            continue
        seen.add(here)
        for name, value in _reached(here):
            if name == "diffgauss" or _of_package(value):
                return name
            todo += [value] if callable(value) else []
    return ""


def _reached(function: types.FunctionType):
    """(name, value) of all that the code of a function names: globals, cells, defaults, and what it imports."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    yield from ((name, cell.cell_contents) for name, cell in cells)
    yield from (("an argument", value) for value in function.__defaults__ or ())
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
        texts = [c for c in code.co_consts if isinstance(c, str) and c != function.__doc__]
        yield from (("diffgauss", text) for text in texts if "diffgauss" in text)  # as for importlib
        for name in code.co_names:
            yield name.split(".")[0], function.__globals__.get(name)


def _of_package(value: Any) -> bool:
    if isinstance(value, dict | list | tuple) and type(value) in (dict, list, tuple):
        return any(map(_of_package, value.values() if isinstance(value, dict) else value))
    module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return isinstance(module, str) and module.split(".")[0] == "diffgauss"
