"""The network, the two closed forms and the zoo page's measures in plain NumPy and float64, from shipped files."""

import numpy as np
from safetensors.numpy import load_file

Weights = dict[str, np.ndarray]


def weights(path, step: int) -> Weights:
    """The averaged weights after a step, by their names in the network: net.first.kernel, …"""
    start = f"['step {step}']."
    found = load_file(path)
    return {k[len(start) : -len(".value")]: v.astype(float) for k, v in found.items() if k.startswith(start)}


def silu(x):
    return x / (1 + np.exp(-x))


def conv(w: Weights, name: str, x):
    """A 3×3 convolution, zero outside the image."""
    b, h, v, _ = x.shape
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = w[f"{name}.kernel"]
    return w[f"{name}.bias"] + sum(wide[:, i : i + h, j : j + v] @ kernel[i, j] for i in range(3) for j in range(3))


def norm(w: Weights, name: str, x):
    """Group normalisation: as many groups as divide the channels and leave at least 4 each, at most 8."""
    b, h, v, n = x.shape
    g = max(g for g in range(1, 9) if n % g == 0 and (n // g >= 4 or g == 1))
    z = x.reshape(b, h * v, g, n // g)
    z = (z - z.mean((1, 3), keepdims=True)) / np.sqrt(z.var((1, 3), keepdims=True) + 1e-6)
    return z.reshape(x.shape) * w[f"{name}.scale"] + w[f"{name}.bias"]


def dense(w: Weights, name: str, x):
    return x @ w[f"{name}.kernel"] + w.get(f"{name}.bias", 0)


def block(w: Weights, name: str, x, embed):
    h = norm(w, f"{name}.norm2", conv(w, f"{name}.conv1", silu(norm(w, f"{name}.norm1", x))))
    a, b = np.split(dense(w, f"{name}.affine", embed)[:, None, None], 2, -1)
    h = conv(w, f"{name}.conv2", silu(h * (1 + a) + b))
    return h + (dense(w, f"{name}.skip", x) if f"{name}.skip.kernel" in w else x)


def mix(w: Weights, x, embed):
    a, b = np.split(dense(w, "net.mix.affine", embed), 2, -1)
    h = dense(w, "net.mix.into", norm(w, "net.mix.norm", x).reshape(len(x), -1))
    return x + dense(w, "net.mix.out", silu(h * (1 + a) + b)).reshape(x.shape)


def unet(w: Weights, x, c_noise: float):
    """``UNet.tiny``: patches of 2×2, two levels of one block, a dense layer below."""
    n = w["net.embed1.kernel"].shape[0] // 2
    angles = c_noise * np.geomspace(1, 64, n)
    embed = np.concatenate([np.cos(angles), np.sin(angles)])[None]
    embed = silu(dense(w, "net.embed2", silu(dense(w, "net.embed1", embed))))
    b, h, v, c = x.shape
    patches = x.reshape(b, h // 2, 2, v // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, v // 2, 4 * c)
    top = block(w, "net.down[0][0]", conv(w, "net.first", patches), embed)
    low = block(w, "net.down[1][0]", top.reshape(b, h // 4, 2, v // 4, 2, -1).mean((2, 4)), embed)
    z = mix(w, block(w, "net.middle", low, embed), embed)
    z = block(w, "net.up[1][0]", np.concatenate([z, low], -1), embed)
    z = block(w, "net.up[0][0]", np.concatenate([z.repeat(2, 1).repeat(2, 2), top], -1), embed)
    y = conv(w, "net.last", silu(norm(w, "net.norm", z)))
    return y.reshape(b, h // 2, v // 2, 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(x.shape)


def network(w: Weights, x, sigma: float, sigma_data: float):
    """c_skip x + c_out F(c_in x; ln σ/4)."""
    total = np.hypot(sigma, sigma_data)
    raw = np.concatenate([unet(w, part / total, np.log(sigma) / 4) for part in np.array_split(x, 10)])
    return (sigma_data / total) ** 2 * x + sigma * sigma_data / total * raw


def gaussian(images, x, sigma: float):
    """u + Σ(Σ + σ²I)⁻¹(x − u)."""
    y = images.reshape(len(images), -1).astype(float)
    u = y.mean(0)
    covariance = (y - u).T @ (y - u) / len(y)
    W = np.linalg.solve(covariance + sigma**2 * np.eye(len(u)), covariance)
    return (u + (x.reshape(len(x), -1) - u) @ W).reshape(x.shape)


def empirical(images, x, sigma: float):
    """Σᵢ wᵢ yᵢ, w = softmax(−‖x − yᵢ‖²/2σ²)."""
    y, z = images.reshape(len(images), -1).astype(float), x.reshape(len(x), -1).astype(float)
    logits = (z @ y.T - (y**2).sum(1) / 2) / sigma**2
    share = np.exp(logits - logits.max(1, keepdims=True))
    return (share / share.sum(1, keepdims=True) @ y).reshape(x.shape)


def skill(D, D_G, x0) -> float:
    """1 − mse(D)/mse(D_G)."""
    return 1 - ((D - x0) ** 2).mean() / ((D_G - x0) ** 2).mean()


def excess(D, D_G, x0) -> float:
    """(1 + ρ)/2, ρ = [mse(D_G) − mse(D)]/E‖D − D_G‖²."""
    return (1 + (((D_G - x0) ** 2).mean() - ((D - x0) ** 2).mean()) / ((D - D_G) ** 2).mean()) / 2


def position(D, D_G, D_M) -> float:
    """E⟨D − D_G, D_M − D_G⟩/E‖D_M − D_G‖²."""
    return ((D - D_G) * (D_M - D_G)).mean() / ((D_M - D_G) ** 2).mean()
