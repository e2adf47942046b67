"""A torch module as a denoiser in JAX, with its derivatives: called back on the host, where torch computes."""

import copy
import hashlib
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from diffgauss.adapters.networks import Kind, NetworkDenoiser, NoiseSchedule, from_network
from diffgauss.core import pytree, static


def from_torch(
    module: Any, kind: Kind = "edm", schedule: NoiseSchedule | None = None, *,
    channels: Literal["nchw", "nhwc"] = "nchw", condition: dict[str, Any] | None = None,
    images: ArrayLike | None = None,
) -> NetworkDenoiser:  # fmt: skip
    """The denoiser D(x, σ) of a torch module F(x_t, t), with jit, vmap and derivatives through ``torch.func``.

    kind, schedule, images: as in ``from_network``. The module gets x_t as (b, c, h, w), or as (b, h, w, c) with
    channels="nhwc", t (b,), both of its own precision, and condition as named arguments: a number n, such as a
    class, as n for each of the b images, an array (1, …) repeated b times. It gives a tensor, a tuple that begins
    with one, or a thing with ``.sample``; where that has twice the channels of x_t, the second half, a learned
    variance, is left out. The denoiser holds a copy of the module, in ``eval`` mode and on its device, and calls it
    on the host: ``jax.export`` cannot take it along. Raises ValueError as ``from_network``, TypeError for another
    thing than a module, ModuleNotFoundError without torch.
    """
    _torch()
    if channels not in ("nchw", "nhwc"):
        raise ValueError(f"channels = {channels!r}; needs 'nchw' or 'nhwc'")
    host = _Host(module, channels, condition or {})
    return from_network(TorchNetwork(jnp.asarray(host.digest()), host), kind, schedule, images=images)


PART = 64  #: images that torch gets at a time: a small U-Net takes a megabyte of memory for each


@pytree
class TorchNetwork:
    """F(x_t, t) of a torch module on (b, h, w, c) images. ``from_torch`` makes one.

    digest: (4,) of the module's weights, so that other weights are told apart; host: the module.
    """

    digest: Array
    host: "_Host" = static()

    def __call__(self, x: Float[Array, " b *event"], t: Float[Array, " b"]) -> Float[Array, " b *event"]:
        """x: (b, *event) and times (b,) → (b, *event), of x's type. Raises ValueError as ``accepts``."""
        self.host.accepts(x.shape[1:])
        return _call(self.host, x, t)


class _Host:
    """The module and how it wants to be called; the one thing here that computes."""

    def __init__(self, module: Any, channels: str, condition: dict[str, Any]):
        torch = _torch()
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"got {type(module).__name__}; needs a torch.nn.Module")
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.channels = channels
        floating = [p for p in self.module.parameters() if p.is_floating_point()]
        self.type, self.device = (floating[0].dtype, floating[0].device) if floating else (torch.float32, "cpu")
        self.condition = {name: torch.as_tensor(value).to(self.device) for name, value in condition.items()}
        self.accepted: set[tuple[int, ...]] = set()

    def digest(self) -> np.ndarray:
        found = hashlib.blake2b(digest_size=16)
        for tensor in [*self.module.state_dict().values(), *self.condition.values()]:
            found.update(tensor.detach().cpu().contiguous().view(-1).view(_torch().uint8).numpy().tobytes())
        return np.frombuffer(found.digest(), np.uint32)

    def network(self, x: Any, t: Any) -> Any:
        """F(x, t) in torch, of the layout and the type of x."""
        first = self.channels == "nchw" and x.ndim == 4
        if first:  # a copy with plain strides: others lead to layouts of which group_norm has no derivative
            given = x.permute(0, 3, 1, 2).clone(memory_format=_torch().contiguous_format).to(self.type)
        else:
            given = x.to(self.type)
        named = {k: v.expand(len(x), *v.shape[1:]) for k, v in self.condition.items()}
        answer = self.module(given, t.to(self.type), **named)
        answer = getattr(answer, "sample", answer)
        answer = answer[0] if isinstance(answer, tuple | list) else answer
        axis = 1 if self.channels == "nchw" else -1
        if answer.shape != given.shape and answer.shape[axis] == 2 * given.shape[axis]:
            answer = answer.chunk(2, axis)[0]  # the mean; the rest is a learned variance
        if answer.shape != given.shape:
            raise ValueError(
                f"the module gives {tuple(answer.shape)} for {tuple(given.shape)}; needs the same shape"
            )
        return (answer.permute(0, 2, 3, 1) if first else answer).to(x.dtype)

    def accepts(self, event: tuple[int, ...]) -> None:
        """Raise ValueError for images that the module does not take: now, not in a compiled program."""
        if event not in self.accepted:
            try:
                self.forward(np.zeros((1, *event), np.float32), np.ones(1, np.float32))
            except (RuntimeError, TypeError, IndexError, AttributeError) as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"the module fails with images {event}, channels last: {reason}") from error
            self.accepted.add(event)

    def forward(self, x: Any, t: Any) -> np.ndarray:
        """F(x, t)."""
        with _torch().inference_mode():
            return self.back(self.network(self.tensor(x), self.tensor(t)))

    def along(self, x: Any, t: Any, d: Any, wrt: int, transposed: bool) -> np.ndarray:
        """The derivative of F for x (wrt = 0) or t (1) times d, or its transpose times d."""
        torch = _torch()
        given = [self.tensor(x), self.tensor(t)]

        def of(one):
            return self.network(one, given[1]) if wrt == 0 else self.network(given[0], one)

        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # which has second derivatives
            value, pull = torch.func.vjp(of, given[wrt])
            if not transposed:  # the transpose of the transpose: forward mode lacks rules for some layers
                pull = torch.func.vjp(lambda g, pull=pull: pull(g)[0], torch.zeros_like(value))[1]
            return self.back(pull(self.tensor(d))[0])

    def tensor(self, a: Any) -> Any:
        """An array as a tensor on the module's device; a copy, since what XLA lends cannot be written."""
        return _torch().from_numpy(np.array(a)).to(self.device)

    @staticmethod
    def back(tensor: Any) -> np.ndarray:
        return tensor.detach().cpu().contiguous().numpy()


network_p = Primitive("torch_network")
"""F(x, t), or its derivative for one of the two, or that one's transpose, times d. Each image is by itself."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _call(host: _Host, x: Array, t: Array) -> Array:
    return network_p.bind(x, t, host=host, wrt=None, transposed=False)


@partial(_call.defjvp, symbolic_zeros=True)
def _(host, primals, tangents):
    along = [
        network_p.bind(*primals, d, host=host, wrt=wrt, transposed=False)
        for wrt, d in enumerate(tangents)
        if not isinstance(d, SymbolicZero)
    ]
    return _call(host, *primals), sum(along[1:], along[0])


def _on_host(ctx, *operands, host, wrt, transposed):
    """The call of torch in a compiled program, with its operands as arrays of numpy.

    ``jax.pure_callback`` would put them on the device first, which waits for a thread that may be the one that
    waits: with a single core it hangs (jax issue 24255).
    """
    compute = host.forward if wrt is None else partial(host.along, wrt=wrt, transposed=transposed)

    def in_parts(*arrays):
        starts = range(0, len(arrays[0]), PART)
        return (np.concatenate([compute(*(a[i : i + PART] for a in arrays)) for i in starts]),)

    results, *_ = mlir.emit_python_callback(
        ctx, in_parts, None, operands, ctx.avals_in, ctx.avals_out, has_side_effect=False
    )
    return results


def _transpose(g, x, t, d, **params):
    assert ad.is_undefined_primal(d), "only linear in d"
    back = network_p.bind(x, t, g, **params | {"transposed": not params["transposed"]})
    return None, None, ad.Zero(d.aval) if isinstance(g, ad.Zero) else back


def _batched(arrays, axes, **params):
    """vmap: one call for all, since each image is by itself."""
    n = next(a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None)
    front = [
        jnp.broadcast_to(a[None], (n, *a.shape)) if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(arrays, axes, strict=True)
    ]
    b = front[0].shape[1]
    out = network_p.bind(*(a.reshape(n * b, *a.shape[2:]) for a in front), **params)
    return out.reshape(n, b, *out.shape[1:]), 0


network_p.def_impl(jax.jit(network_p.bind, static_argnames=("host", "wrt", "transposed")))
network_p.def_abstract_eval(lambda x, t, *d, host, wrt, transposed: t if wrt == 1 and transposed else x)
mlir.register_lowering(network_p, _on_host)
ad.primitive_transposes[network_p] = _transpose
batching.primitive_batchers[network_p] = _batched


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("torch is missing; needs: pip install 'diffgauss[torch]'") from error
    return torch
