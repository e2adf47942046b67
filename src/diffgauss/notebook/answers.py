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

from diffgauss.notebook.tasks import TASKS


class Found(NamedTuple):
    """The state of a task: "right", "wrong" or "empty", and a line that says why."""

    state: str
    line: str


def compared(function: Callable, seed: int = 0) -> Found:
    """A reader's function against its kernel, on arguments drawn from the seed. Raises ValueError for no task."""
    name = getattr(function, "__name__", None)
    if name not in TASKS:
        raise ValueError(f"got a function {name!r}; there are {', '.join(TASKS)}")
    task = TASKS[name]
    arguments = jax.tree.map(jnp.asarray, task.draw(np.random.default_rng(seed)))
    want = _flat(task.kernel(*arguments))
    try:
        with jax.numpy_rank_promotion("allow"):  # NumPy's own rule
            answer = function(*arguments)
        if answer is None or answer is ...:
            return Found("empty", f"{name} is not written yet")
        got = _flat(answer)
    except NotImplementedError:
        return Found("empty", f"{name} is not written yet")
    except (Exception, SystemExit) as error:  # whatever a reader's code raises is an answer that is not right yet
        return Found("wrong", f"your {name} raised {type(error).__name__}: {error}")
    if got.shape != want.shape:
        return Found("wrong", f"your {name} gives shape {got.shape}; {task.name} gives {want.shape}")
    apart = float(np.abs(got - want).max())
    line = f"{apart:.1g} (allowed {task.allowed:g})"
    if not apart <= task.allowed:
        return Found("wrong", f"your {name} differs from {task.name}: largest difference {line}")
    return Found("right", f"your {name} agrees with {task.name}: largest difference {line}")


def _flat(answer: Any) -> np.ndarray:
    """An array as it is; the leaves of another pytree, such as a network, one after another."""
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(answer)]
    return leaves[0] if len(leaves) == 1 else np.concatenate([leaf.ravel() for leaf in leaves])


def borrows(function: Callable) -> str:
    """The name by which a function reaches diffgauss, itself or through the functions that it calls; else "".

    The kernels that stand in for a reader's other functions are not counted.
    """
    todo, seen = [function], set()
    while todo:
        here = inspect.unwrap(todo.pop())
        if _of_package(here):
            return getattr(here, "__name__", "diffgauss")
        if not isinstance(here, types.FunctionType) or here in seen:
            continue
        seen.add(here)
        for name, value in _reached(here):
            if name != function.__name__ and name in TASKS and value is TASKS[name].kernel:
                continue  # what ``lesson.written`` gave in place of another answer of the reader
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
