"""The one contract, D(x, σ) → x̂, and what every module needs to keep it."""

import dataclasses
import functools
import inspect
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar, dataclass_transform, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

Points = Float[Array, " b *event"]  #: a batch of b points, images or whatever an event is
Sigma = Float[Array, ""] | Float[Array, " b"] | float  #: a level for the batch, or one for each of its b points

T = TypeVar("T")

LARGEST = 1e5  #: of a value in data: images are in [-1, 1], and squares of much larger numbers leave float32


@runtime_checkable
class Denoiser(Protocol):
    """Any pure callable D(x, σ) → x̂ ≈ E[x₀ | x] that is also a pytree.

    x: (b, *event) noisy points; sigma: () or (b,) > 0, in units of the data; the result has x's shape.
    A plain function joins as ``jax.tree_util.Partial(f)``.
    """

    def __call__(self, x: Points, sigma: Sigma) -> Points: ...


def checked(f: Any = None, *, static: tuple[str, ...] = (), jit: bool = True) -> Any:
    """Decorator: ``jax.jit``, or with jit=False none, after a look at the arguments, which it knows by their names.

    static: names of hashable arguments. x, x1, x2: lists become arrays; integers and half precision, the default
    precision. Raises ValueError for a sigma or sigma_next that is neither () nor (b,) or, where its value is known,
    not finite and > 0 (sigma_next: ≥ 0); as ``check_sigmas`` for sigmas and, under jit, ``check_denoiser`` for D.
    """
    if f is None:
        return functools.partial(checked, static=static, jit=jit)
    signature, compiled = inspect.signature(f), jax.jit(f, static_argnames=static) if jit else f

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        given, x = signature.bind(*args, **kwargs), None
        for name, value in given.arguments.items():
            if name in ("x", "x1", "x2"):
                given.arguments[name] = x = floating(value, name)
            elif name in ("sigma", "sigma_next"):
                given.arguments[name] = check_level(value, name, x)
            elif name == "sigmas":
                check_sigmas(value)
            elif name in ("D", "D1", "D2") and jit:
                check_denoiser(value)
        return compiled(*given.args, **given.kwargs)

    return call


def floating(x: Any, name: str = "x") -> Any:
    """Points as an array of float32, or float64 where that is enabled. Raises ValueError for no numbers."""
    x = x if isinstance(x, jax.Array) else np.asarray(x)
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        raise ValueError(f"{name} has dtype {x.dtype}; needs numbers, images scaled to [-1, 1]")
    x = jnp.asarray(x)
    return x if x.dtype in (jnp.float32, jnp.float64) else x.astype(float)


def check_level(sigma: Any, name: str = "sigma", x: Any = None) -> Any:
    """σ, a list as an array. Raises ValueError for what ``checked`` refuses; x: the batch, whose b it has."""
    if not isinstance(sigma, jax.Array):
        sigma = np.asarray(sigma) if isinstance(sigma, list | tuple) else sigma
        if not jnp.issubdtype(np.asarray(sigma).dtype, np.number):
            raise ValueError(f"{name} = {sigma!r}; needs a number or an array of them")
    if x is not None and np.ndim(sigma) and np.shape(sigma) != np.shape(x)[:1]:
        wanted = f"() or ({len(x)},)" if np.ndim(x) else "()"
        raise ValueError(f"{name} has shape {np.shape(sigma)}; a batch of shape {np.shape(x)} needs {wanted}")
    if isinstance(sigma, jax.core.Tracer) or (isinstance(sigma, jax.Array) and not sigma.is_fully_addressable):
        return sigma
    value = np.asarray(sigma, np.float64)
    last = name == "sigma_next"
    if not (np.isfinite(value) & (value >= 0 if last else value > 0)).all():
        raise ValueError(f"{name} = {sigma}; every level needs to be finite and {'≥' if last else '>'} 0")
    return sigma


@checked
def apply(D: Denoiser, x: Points, sigma: Sigma) -> Points:
    """D(x; σ), compiled once for each kind of denoiser and shape. Raises ValueError where D changes the shape."""
    answer = D(x, sigma)
    if answer.shape != x.shape:
        raise ValueError(f"D gives shape {answer.shape} for x of shape {x.shape}; needs the same shape")
    return answer


@dataclass_transform(frozen_default=True)
def pytree(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that is a JAX pytree.

    A new value of a field made with ``static()`` means a new trace. Unflattening bypasses ``__init__``: a class
    may validate, though ``vmap``, ``eval_shape`` and ``.lower`` rebuild objects around things that are no arrays.
    """
    data_class = dataclasses.dataclass(frozen=True, eq=False)(cls)  # type: ignore[type-var]
    fields = dataclasses.fields(data_class)  # type: ignore[arg-type]
    leaves = tuple(f.name for f in fields if not f.metadata.get("static"))
    statics = tuple(f.name for f in fields if f.metadata.get("static"))

    def flatten(obj: T) -> tuple[tuple, tuple]:
        keyed = tuple((jax.tree_util.GetAttrKey(name), getattr(obj, name)) for name in leaves)
        return keyed, tuple(getattr(obj, name) for name in statics)

    def unflatten(aux: tuple, children: Iterable) -> T:
        obj = object.__new__(data_class)
        for name, value in zip(leaves + statics, (*children, *aux), strict=True):
            object.__setattr__(obj, name, value)
        return obj

    jax.tree_util.register_pytree_with_keys(data_class, flatten, unflatten)
    return data_class


def static() -> Any:
    """A dataclass field that is part of a pytree's structure, not of its values."""
    return dataclasses.field(metadata={"static": True})


def expand(sigma: Sigma, x: Points) -> Float[Array, "..."]:
    """σ as an array (1, …, 1) or (b, 1, …, 1), to go with x. Raises ValueError unless σ is () or (b,)."""
    level = jnp.asarray(sigma, x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else float)
    if level.ndim > 1 or (level.ndim == 1 and level.shape[0] != x.shape[0]):
        raise ValueError(f"sigma has shape {level.shape}; a batch x of shape {x.shape} needs () or ({x.shape[0]},)")
    return level.reshape(level.shape + (1,) * (x.ndim - level.ndim))


def check_denoiser(D: Any) -> None:
    """Raise TypeError unless D is a callable pytree of arrays."""
    if not callable(D):
        raise TypeError(f"got {type(D).__name__}; a denoiser needs to be callable as D(x, sigma)")
    for leaf in jax.tree.leaves(D):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int | complex):
            found = f"the denoiser holds a {type(leaf).__name__}, which is not an array"
            raise TypeError(f"{found}; wrap a plain function f as jax.tree_util.Partial(f)")


def check_sigmas(sigmas: ArrayLike) -> None:
    """Raise ValueError unless σ_0 > σ_1 > … > 0 (only where the values are known, so not under a trace)."""
    if np.ndim(sigmas) != 1 or np.size(sigmas) == 0:
        raise ValueError(f"sigmas has shape {np.shape(sigmas)}; a grid needs shape (n,) with n ≥ 1")
    check_level(sigmas, "sigmas")
    if not isinstance(sigmas, jax.core.Tracer) and not (np.diff(np.asarray(sigmas, np.float64)) < 0).all():
        raise ValueError(f"sigmas = {sigmas}; a grid needs to decrease strictly")


def check_points(data: ArrayLike, name: str = "data", *, at_least: int = 1) -> None:
    """Raise ValueError unless data is (N, *event), floating, at most ``LARGEST``, and N ≥ at_least."""
    shape, dtype = np.shape(data), getattr(data, "dtype", np.asarray(data).dtype)
    if len(shape) < 2 or 0 in shape[1:]:
        raise ValueError(f"{name} has shape {shape}; needs (N, *event), one point a row")
    if shape[0] < at_least:
        raise ValueError(f"{name} holds {shape[0]} point(s); needs at least {at_least}")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{name} has dtype {dtype}; needs floating point, images scaled to [-1, 1]")
    if isinstance(data, jax.core.Tracer):
        return
    if -LARGEST <= float(np.min(data)) and float(np.max(data)) <= LARGEST:  # type: ignore  # no copy; NaN is neither
        return
    largest = np.abs(np.asarray(data, np.float64)).reshape(shape[0], -1).max(1)
    if not (finite := np.isfinite(largest)).all():
        raise ValueError(f"{name}[{int(np.argmin(finite))}] has NaN or infinite values; needs finite ones")
    raise ValueError(f"{name} has values up to {largest.max():.1e}; needs {LARGEST:.0e} or less: scale the data")


def check_event(x: ArrayLike, event: tuple[int, ...], name: str = "x") -> None:
    """Raise ValueError unless x is (b, *event) with b ≥ 1."""
    if np.ndim(x) != len(event) + 1 or np.shape(x)[1:] != tuple(event) or not len(x):  # type: ignore[arg-type]
        raise ValueError(f"{name} has shape {np.shape(x)}; needs (b, {', '.join(map(str, event))}), b ≥ 1")
