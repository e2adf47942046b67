"""Local denoisers: each pixel's posterior mean looks at a window alone, here or anywhere in the training images."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from diffgauss.beyond.batches import in_batches
from diffgauss.blocks import softmax_mean
from diffgauss.core import Sigma, check_event, check_points, check_sigmas, checked, expand, pytree

NEVER = -1e15  #: score of what is not compared: its weight is 0 for every σ from 1e-10 to 1e6, and finite
BATCH = 256  #: members of a batch at a time


@pytree
class LocalDenoiser:
    """D(x; σ)_p = Σ_{i,q} e^{−‖x_{Ω(p)} − y_{i,Ω(q)}‖²/2σ²} y_{i,q} / Z.  Kamb & Ganguli (2025), local scores.

    Ω(p) is the window of size × size pixels around p, cut off at the border: as with the paper's zero padding, what
    lies outside is the same on both sides and adds nothing. Local score (LS): q = p. Equivariant local score (ELS):
    all q whose window is cut in the same way, so that pixels away from the border are compared with all such, those
    at an edge with the others at the same distance from that edge, those in a corner with the same place alone.
    Sizes may differ by noise level: the level nearest to σ in log σ counts. Exact, over all images and places, in
    the memory of one block of images for each query.
    """

    points: Float[Array, " n_blocks m h w c"]
    real: Float[Array, " n_blocks m"]
    sigmas: Float[Array, " n"]
    sizes: Float[Array, " n"]
    rows: Float[Array, " n h h"]
    columns: Float[Array, " n w w"]
    shifts: Int[Array, " s 2"]
    masks: Float[Array, " n d d"] | None = None

    @classmethod
    def from_data(
        cls,
        data: ArrayLike,
        *,
        size: int | Sequence[int],
        sigmas: ArrayLike | None = None,
        equivariant: bool = False,
        block: int = 16,
    ) -> "LocalDenoiser":
        """data: (N, h, w, c) floating with N ≥ 2; size: odd, one for all levels or one for each of the sigmas,
        which decrease; equivariant: ELS in place of LS, at h·w times the cost; block: images a step of the stream.
        To calibrate sizes, let ``ChosenDenoiser.by_error`` choose among local denoisers of one size each.

        Raises ValueError for data of another shape, NaN, integer pixels, sizes that are even or < 1 or not one a
        level, or block < 1.
        """
        sizes = np.ravel(size).tolist()
        levels = np.ones(1) if sigmas is None else np.asarray(sigmas, np.float64)
        check_sigmas(levels)
        if len(sizes) != len(levels) or any(k < 1 or k % 2 == 0 for k in sizes):
            raise ValueError(f"size = {size}; needs an odd number ≥ 1, or one for each of {len(levels)} sigmas")
        points, real = _blocks(data, block)
        h, w = points.shape[2:4]
        rows, columns = (np.stack([_band(n, k) for k in sizes]) for n in (h, w))
        moves = shifts(h, w, min(sizes)) if equivariant else np.zeros((1, 2), np.int32)
        arrays = (points, real, levels, sizes, rows, columns)
        fields = [jnp.asarray(a, jnp.zeros(()).dtype) for a in arrays]
        return cls(*fields, shifts=jnp.asarray(moves))

    @classmethod
    def from_wiener(
        cls,
        data: ArrayLike,
        U: ArrayLike,
        lam: ArrayLike,
        sigmas: ArrayLike,
        *,
        threshold: float = 0.02,
        block: int = 16,
    ) -> "LocalDenoiser":
        """Ω(p) = {q : |W_pq| ≥ threshold · W_pp}, W = UΛ(Λ + σ²I)⁻¹Uᵀ at each level, in place of windows.

        U and lam: those of D_G. Channels of a pixel go together: W_pq is the largest among them. The masks take
        h²w² numbers a level, and again for each query where σ differs by query. Raises ValueError as ``from_data``,
        and for a threshold outside (0, 1].  Binary masks after Lukoianov et al. (2025).
        """
        check_sigmas(sigmas)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold = {threshold}; needs 0 < threshold ≤ 1")
        points, real = _blocks(data, block)
        h, w, c = points.shape[2:]
        V, variances, masks = np.asarray(U, np.float64), np.asarray(lam, np.float64), []
        for sigma in np.asarray(sigmas, np.float64):
            W = np.abs((V * (variances / (variances + sigma**2))) @ V.T).reshape(h * w, c, h * w, c).max((1, 3))
            masks.append(W >= threshold * np.diag(W)[:, None])
        n = len(masks)
        unused = np.zeros(n), np.zeros((n, h, h)), np.zeros((n, w, w))
        fields = points, real, sigmas, *unused, np.stack(masks)
        arrays = [jnp.asarray(a, jnp.zeros(()).dtype) for a in fields]
        return cls(*arrays[:-1], shifts=jnp.zeros((1, 2), jnp.int32), masks=arrays[-1])

    @checked
    def __call__(self, x: Float[Array, " b h w c"], sigma: Sigma) -> Float[Array, " b h w c"]:
        """D(x; σ): x (b, h, w, c), sigma () or (b,) > 0. Raises ValueError for another event shape."""
        check_event(x, self.points.shape[2:])
        return in_batches(self._mean, x, sigma, BATCH)

    def _mean(self, x, sigma):
        n_blocks, _, h, w, c = self.points.shape
        level = expand(sigma, x).ravel()  # one, or b
        k = jnp.abs(jnp.log(level)[:, None] - jnp.log(self.sigmas)[None]).argmin(1)
        rows, columns, size, s = self.rows[k], self.columns[k], self.sizes[k], len(self.shifts)

        def shifted(i):
            return jnp.roll(self.points[i // s], -self.shifts[i % s], (1, 2))

        def score(i):
            half = ((x[:, None] - shifted(i)[None]) ** 2).sum(-1) / 2
            if self.masks is None:
                half = jnp.matmul(half, columns.mT[:, None], precision="highest")
                half = jnp.matmul(rows[:, None], half, precision="highest")
            else:
                flat = half.reshape(*half.shape[:2], h * w)
                half = jnp.matmul(flat, self.masks[k].mT, precision="highest").reshape(half.shape)
            down, right = self.shifts[i % s]
            same = _alike(rows, size, down)[:, None, :, None] & _alike(columns, size, right)[:, None, None, :]
            valid = same & (self.real[i // s] > 0)[None, :, None, None]
            return jnp.moveaxis(jnp.where(valid, -half, NEVER), 1, 3).reshape(-1, half.shape[1])

        def mix(weights, i):
            w_bpm, y = weights.reshape(len(x), h * w, -1), shifted(i).reshape(-1, h * w, c)
            return jnp.einsum("bpm,mpc->bpc", w_bpm, y, precision="highest").reshape(-1, c)

        beta = jnp.repeat(jnp.broadcast_to(level**-2, (len(x),)), h * w)
        mean, _ = softmax_mean(score, mix, jnp.arange(n_blocks * s), beta=beta)
        return mean.reshape(x.shape)


def _blocks(data: ArrayLike, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in blocks, the last one padded, and 1 for those that are real.  Raises ValueError for a bad shape."""
    check_points(data, at_least=2)
    data = np.asarray(data)
    if data.ndim != 4:
        raise ValueError(f"data has shape {data.shape}; needs (N, h, w, c)")
    if block < 1:
        raise ValueError(f"block = {block}; needs block ≥ 1 images")
    m = min(block, len(data))
    padded = np.zeros((-(-len(data) // m) * m, *data.shape[1:]), data.dtype)
    padded[: len(data)] = data
    real = np.arange(len(padded)) < len(data)
    return padded.reshape(-1, m, *data.shape[1:]), real.reshape(-1, m)


def _band(n: int, size: int) -> np.ndarray:
    """1 where two of n places are less than half a size apart: (n, n)."""
    place = np.arange(n)
    return abs(place[:, None] - place[None]) <= size // 2


def _alike(bands: Float[Array, " b n n"], size: Float[Array, " b"], shift: Int[Array, ""]) -> Bool[Array, " b n"]:
    """Where the window and the one a shift further are cut in the same way: not at all, or the shift is none."""
    whole = bands.sum(2) == size[:, None]
    return (shift == 0) | (whole & jnp.roll(whole, -shift, 1))


def shifts(h: int, w: int, size: int) -> np.ndarray:
    """All moves, modulo h and w, that take a whole window inside an image to another, no move first: (s, 2)."""
    steps = [_steps(n, max(n - size, 0)) for n in (h, w)]
    return np.stack([m.ravel() for m in np.meshgrid(*steps, indexing="ij")], 1).astype(np.int32)


def _steps(n: int, most: int) -> np.ndarray:
    return np.arange(n) if most >= n // 2 else np.r_[0 : most + 1, -most:0]
