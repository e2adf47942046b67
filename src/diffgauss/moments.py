"""Principal components and least squares from streamed moments, in float64 on the host.

numpy's products take a third of XLA's time on a processor; at σ = 0.002 float32 rounds by as much as σ².
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float

from diffgauss import parallel

SMALL = 1e-8  #: of the largest eigenvalue: above it, products of points give components orthogonal to 2e-8


def principal_components(
    y: np.ndarray, mean: np.ndarray, mesh: Mesh | None = None
) -> tuple[Float[np.ndarray, " d r"], Float[np.ndarray, " r"]]:
    """U and λ, largest first, of (1/N) Σᵢ (yᵢ − u)(yᵢ − u)ᵀ = UΛUᵀ in float64: (d, r) and (r,), r = min(N, d).

    y: (N, d); mean: u, (d,). With N ≤ d points no d×d matrix is made: zzᵀ = NVΛVᵀ, N×N, gives zᵀV(NΛ)^(−1/2) = U,
    about the points' own mean one component less. Where λ spans too much for it, as with copies, the thin singular
    value decomposition is taken. mesh: each of its devices adds up a part of the covariance.  For equation 7.
    """
    n, d = y.shape
    if n <= d:
        z = y - mean
        lam, V = (a[..., ::-1] for a in np.linalg.eigh(z @ z.T / n))
        keep = lam > SMALL * lam[0]
        if keep.sum() >= n - 1:
            return z.T @ (V[:, keep] / np.sqrt(n * lam[keep])), lam[keep]
        _, s, Vt = np.linalg.svd(z, full_matrices=False)
        return Vt.T, s**2 / n
    lam, U = np.linalg.eigh((_scatter(y, mean) if mesh is None else _scatter_over(y, mean, mesh)) / n)
    return U[:, ::-1], np.maximum(lam[::-1], 0)


class Moments(NamedTuple):
    """Sums over n pairs of an input z (k) and a target r (d): of z, r, zzᵀ, rzᵀ and ‖r‖². For equation 5."""

    n: np.ndarray
    z: np.ndarray
    r: np.ndarray
    zz: np.ndarray
    rz: np.ndarray
    rr: np.ndarray

    @classmethod
    def of(cls, z: np.ndarray, r: np.ndarray) -> "Moments":
        """Of the pairs of one block, z (b, k) and r (b, d), in float64."""
        z, r = z.astype(np.float64), r.astype(np.float64)
        return cls(np.array(len(z)), z.sum(0), r.sum(0), z.T @ z, r.T @ z, np.array(np.vdot(r, r)))

    @classmethod
    def sum(cls, parts: Iterable["Moments"]) -> "Moments":
        """Over the pairs of all parts, of which there is at least one."""
        parts = iter(parts)
        total = cls(*map(np.copy, next(parts)))
        for part in parts:
            for mine, its in zip(total, part, strict=True):
                mine += its  # in place
        return total

    def about(self, z: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """E (z − z₀)(z − z₀)ᵀ, E (r − r₀)(z − z₀)ᵀ and E ‖r − r₀‖² for any z₀, r₀; covariances at the means."""
        dz, dr = self.z / self.n - z, self.r / self.n - r
        zz = self.zz / self.n - np.outer(z, z) - np.outer(z, dz) - np.outer(dz, z)
        rz = self.rz / self.n - np.outer(r, z) - np.outer(r, dz) - np.outer(dr, z)
        return zz, rz, float(self.rr / self.n - r @ r - 2 * r @ dr)


def fit(m: Moments, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """A = C_rz (C_zz + τI)⁻¹ and a = E r − A E z: (d, k), (d,). τ = ∞ gives 0.  Li et al. (2024), Eq. 5 (v5: 9)."""
    z, r = m.z / m.n, m.r / m.n
    if np.isinf(ridge):
        return np.zeros_like(m.rz), r
    zz, rz, _ = m.about(z, r)
    zz.flat[:: len(zz) + 1] += ridge
    A = np.linalg.solve(zz, rz.T).T
    return A, r - A @ z


def choose_ridge(m: Moments, held: Moments, tries: int = 61) -> float:
    """The τ, from 0 to ∞, whose fit to m has the least squared error on held.  Hoerl & Kennard (1970)."""
    z, r = m.z / m.n, m.r / m.n
    zz, rz, _ = m.about(z, r)
    lam, Q = np.linalg.eigh(zz)  # serves all τ
    P = rz @ Q
    zz, rz, _ = held.about(z, r)
    linear = ((rz @ Q) * P).sum(0)
    square = (P.T @ P) * (Q.T @ zz @ Q)
    ridges = np.append(np.geomspace(1e-10, 1e2, tries) * lam[-1], np.inf)
    if m.n > len(z) + 1:  # more pairs than unknowns
        ridges = np.append(0.0, ridges)
    gain = 1 / (np.maximum(lam, 0)[None] + ridges[:, None])
    error = ((gain @ square) * gain).sum(1) - 2 * gain @ linear
    return float(ridges[np.argmin(error)])


def _scatter(y: np.ndarray, mean: np.ndarray, chunk: int = 4096) -> np.ndarray:
    """Σᵢ (yᵢ − u)(yᵢ − u)ᵀ on the host."""
    total = np.zeros((y.shape[1], y.shape[1]))
    for start in range(0, len(y), chunk):
        z = y[start : start + chunk] - mean
        total += z.T @ z
    return total


def _scatter_over(y: np.ndarray, mean: np.ndarray, mesh: Mesh, chunk: int = 1024) -> np.ndarray:
    """The same sum, each device adding its own rows; NaN marks padding."""
    d = y.shape[1]
    padding = np.full((-len(y) % chunk, d), np.nan, y.dtype)

    def part(blocks):
        def add(total, rows):
            z = jnp.where(jnp.isnan(rows), 0, rows - mean[None])
            return total + jnp.matmul(z.T, z, precision="highest"), None

        return lax.psum(lax.scan(add, jnp.zeros((d, d)), blocks)[0], parallel.AXIS)

    with parallel.float64():
        blocks = parallel.split(np.concatenate([y, padding]).reshape(-1, chunk, d), mesh, np.nan)
        return np.asarray(jax.jit(parallel.over(part, mesh))(blocks))
