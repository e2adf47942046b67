"""`python train_torch.py FOLDER THREADS`, run by the peers' Python: the package's U-Net, its training step and its
sampler in PyTorch, timed turn by turn.

Modules have the names that the JAX weights have, so that ``put`` and ``taken`` can pass weights to and fro.
"""
# pyright: reportMissingImports=false, reportPrivateImportUsage=false, reportOperatorIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportArgumentType=false

import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timing import answer, seconds
from torch import Tensor, nn

Weights = dict[str, np.ndarray]
Kind = tuple[str, int]


def norm(n: int) -> nn.GroupNorm:
    """As many groups as divide n and leave at least 4 channels each, at most 8."""
    return nn.GroupNorm(max(g for g in range(1, 9) if n % g == 0 and (n // g >= 4 or g == 1)), n, eps=1e-6)


def conv(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1)


class Block(nn.Module):
    def __init__(self, n_in: int, n_out: int, n_embed: int):
        super().__init__()
        self.norm1, self.norm2 = norm(n_in), norm(n_out)
        self.conv1, self.conv2 = conv(n_in, n_out), conv(n_out, n_out)
        self.affine = nn.Linear(n_embed, 2 * n_out)
        self.skip = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else None

    def forward(self, x: Tensor, embed: Tensor) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        a, b = self.affine(embed)[:, :, None, None].chunk(2, 1)
        h = self.conv2(F.silu(h * (1 + a) + b))
        return h + (x if self.skip is None else self.skip(x))


class Mix(nn.Module):
    """Dense from and to all pixels and channels, in the order (h, w, c)."""

    def __init__(self, side: int, channels: int, hidden: int, n_embed: int):
        super().__init__()
        n = side * side * channels
        self.norm = norm(channels)
        self.into, self.affine, self.out = (
            nn.Linear(n, hidden),
            nn.Linear(n_embed, 2 * hidden),
            nn.Linear(hidden, n),
        )

    def forward(self, x: Tensor, embed: Tensor) -> Tensor:
        b, c, h, w = x.shape
        gain, shift = self.affine(embed).chunk(2, 1)
        z = F.silu(self.into(self.norm(x).permute(0, 2, 3, 1).reshape(b, -1)) * (1 + gain) + shift)
        return x + self.out(z).reshape(b, h, w, c).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """F(x; c_noise) of grey images: ``diffgauss.UNet`` with the same arguments."""

    def __init__(
        self,
        size: int,
        width: int,
        *,
        patch: int = 2,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 1,
        mix: int = 0,
    ):
        super().__init__()
        widths, n_embed, n_pixel = [width * m for m in multipliers], 4 * width, patch**2
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        self.register_buffer("frequencies", torch.from_numpy(np.geomspace(1, 64, width).astype(np.float32)))
        self.embed1, self.embed2 = nn.Linear(2 * width, n_embed), nn.Linear(n_embed, n_embed)
        self.first, self.last = conv(n_pixel, width), conv(width, n_pixel)

        def level(sizes: list[tuple[int, int]]) -> nn.ModuleList:
            return nn.ModuleList(Block(i, o, n_embed) for i, o in sizes)

        pairs, more = list(zip([width, *widths[:-1]], widths, strict=True)), blocks - 1
        self.down = nn.ModuleList(level([(i, o)] + [(o, o)] * more) for i, o in pairs)
        self.middle = Block(widths[-1], widths[-1], n_embed)
        self.mix = Mix(-(-size // self.multiple), widths[-1], mix, n_embed) if mix else None
        self.up = nn.ModuleList(level([(2 * o, i)] + [(i, i)] * more) for i, o in pairs)
        self.norm = norm(width)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        side, more = x.shape[-1], -x.shape[-1] % self.multiple
        angles = c_noise[:, None] * self.frequencies
        embed = F.silu(self.embed1(torch.cat([angles.cos(), angles.sin()], 1)))
        embed = F.silu(self.embed2(embed))
        x = F.pad(x, (0, more, 0, more), mode="replicate") if more else x
        h = self.first(F.pixel_unshuffle(x, self.patch))
        kept: list[Tensor] = []
        for level in self.down:
            h = F.avg_pool2d(h, 2) if kept else h
            for block in level:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, embed)
            kept.append(h)
        h = self.middle(h, embed)
        h = h if self.mix is None else self.mix(h, embed)
        for level in reversed(self.up):
            h = torch.cat([h, kept.pop()], 1)
            for block in level:
                h = block(h, embed)
            h = F.interpolate(h, scale_factor=2.0) if kept else h
        return F.pixel_shuffle(self.last(F.silu(self.norm(h))), self.patch)[:, :, :side, :side]


class EDMDenoiser(nn.Module):
    """D(x; σ) = c_skip x + c_out F(c_in x; c_noise), σ (b,)."""

    def __init__(self, net: nn.Module, sigma_data: float):
        super().__init__()
        self.net, self.sigma_data = net, sigma_data

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma[:, None, None, None]
        total = (level**2 + self.sigma_data**2).sqrt()
        raw = self.net(x / total, sigma.log() / 4)
        return (self.sigma_data / total) ** 2 * x + level * self.sigma_data / total * raw


def dsm_loss(D: EDMDenoiser, x0: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    """The weighted squared error of D, sigma (b,)."""
    weight = (sigma**2 + D.sigma_data**2) / (sigma * D.sigma_data) ** 2
    error = D(x0 + sigma[:, None, None, None] * eps, sigma) - x0
    return (weight * (error**2).mean((1, 2, 3))).mean()


def put(model: nn.Module, weights: Weights) -> None:
    """The JAX weights into the model: (…, in, out) there, (out, in, …) here."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            array = weights[_theirs(name, weights)]
            turned = {2: (1, 0), 4: (3, 2, 0, 1)}.get(array.ndim, (0,))
            parameter.copy_(torch.tensor(array.transpose(turned)).reshape(parameter.shape))


def taken(model: nn.Module, tensors: list[Tensor], like: Weights) -> Weights:
    """Tensors of the model's parameters (or their gradients) under JAX names and in JAX layout."""
    found = {}
    for (name, _), tensor in zip(model.named_parameters(), tensors, strict=True):
        theirs, array = _theirs(name, like), tensor.detach().cpu().numpy()
        shape = like[theirs].shape
        turned = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        found[theirs] = turned.reshape(shape)
    return found


def _theirs(name: str, weights: Weights) -> str:
    stem, last = name.rsplit(".", 1)
    return next(n for n in (f"{stem}.{x}" for x in ("kernel", "scale", last)) if n in weights and
                (last == "weight" or n.endswith(last)))  # fmt: skip


class Training:
    """Adam with warmup, a clipped gradient and averaged weights, from given weights, where the images are.

    s: the settings of training, the images' size and, under "net", the arguments of ``UNet``; compiled: by
    torch.compile; half: convolutions and dense layers in bfloat16, by torch.autocast.
    """

    def __init__(
        self,
        s: dict[str, Any],
        weights: Weights,
        images: Tensor,
        *,
        seed: int = 0,
        compiled: bool = False,
        half: bool = False,
    ):
        self.s, self.images, self.t, self.half = s, images, 0, half
        self.D = self._denoiser()
        put(self.D, weights)
        self.parameters = list(self.D.parameters())
        self.ema = [p.detach().clone() for p in self.parameters]
        self.adam = torch.optim.Adam(self.parameters, lr=s["rate"], fused=True)
        self.random = torch.Generator(images.device).manual_seed(seed)
        self.loss: Callable[..., Tensor] = torch.compile(dsm_loss, dynamic=False) if compiled else dsm_loss

    def gradient(self, x0: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
        """The loss; its gradient lies in the parameters."""
        self.adam.zero_grad(set_to_none=True)
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.half):
            loss = self.loss(self.D, x0, sigma, eps)
        loss.backward()
        return loss.detach()

    def step(self, x0: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
        loss = self.gradient(x0, sigma, eps)
        with torch.no_grad():
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            total = torch.stack(torch._foreach_norm(gradients)).norm()
            torch._foreach_mul_(gradients, (self.s["clip"] / total).clamp(max=1))
            self.adam.param_groups[0]["lr"] = self.s["rate"] * min((self.t + 1) / (self.s["warmup"] + 1), 1)
            self.adam.step()
            decay = min(self.s["ema"], (1 + self.t) / (10 + self.t))
            torch._foreach_lerp_(self.ema, self.parameters, 1 - decay)
        self.t += 1
        return loss

    def advance(self, n: int) -> None:
        """n steps with images, levels and noise of its own."""
        b, s, here = self.s["batch"], self.s, {"generator": self.random, "device": self.images.device}
        for _ in range(n):
            x0 = self.images[torch.randint(len(self.images), (b,), **here)]
            sigma = (s["sigma_mean"] + s["sigma_std"] * torch.randn(b, **here)).exp()
            self.step(x0, sigma, torch.randn(x0.shape, **here))

    def averaged(self) -> EDMDenoiser:
        D = self._denoiser()
        with torch.no_grad():
            torch._foreach_copy_(list(D.parameters()), self.ema)
        return D

    def _denoiser(self) -> EDMDenoiser:
        net = UNet(self.s["size"], **self.s["net"])
        D = EDMDenoiser(net, self.s["sigma_data"]).to(self.images.device)
        return D.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def heun(D: Callable[..., Tensor], x: Tensor, sigmas: Tensor) -> Tensor:
    """Heun's steps down the grid, then one call of D."""
    levels = sigmas[:, None].expand(-1, len(x))
    for i in range(len(sigmas) - 1):
        h, v = sigmas[i + 1] - sigmas[i], (x - D(x, levels[i])) / sigmas[i]
        y = x + h * v
        x = x + h * (v + (y - D(y, levels[i + 1])) / sigmas[i + 1]) / 2
    return D(x, levels[-1])


class Worker:
    """What the driver may ask for; kind is ["torch eager" or "torch compiled", seed]."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.s = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
        self.arrays = {k: torch.from_numpy(a).movedim(-1, -3).contiguous() if a.ndim > 3 else torch.from_numpy(a)
                       for k, a in arrays.items()}  # fmt: skip
        self.weights = {name: dict(np.load(folder / f"{name}.npz")) for name in ("initial", "other")}

    @cache  # noqa: B019
    def training(self, kind: str, seed: int) -> Training:
        compiled, images = kind == "torch compiled", self.arrays["images"]
        return Training(self.s, self.weights["initial"], images, seed=seed, compiled=compiled)

    @cache  # noqa: B019
    def denoiser(self, kind: str, _: int) -> Callable[..., Tensor]:
        D = self.training("torch eager", 0).averaged()
        return torch.compile(D, dynamic=False) if kind == "torch compiled" else D

    def check(self) -> None:
        """D, the loss and its gradient at the other weights, some steps of training from there, and a sample."""
        a, like = self.arrays, self.weights["other"]
        one = Training(self.s, like, a["images"])
        x0, sigma, eps = a["check_x0"], a["check_sigma"], a["check_eps"]
        with torch.no_grad():
            D = one.D(x0[0] + sigma[0][:, None, None, None] * eps[0], sigma[0])
            sample = heun(one.D, a["noise"][:4], a["sigmas"])
        found = {"loss": one.gradient(x0[0], sigma[0], eps[0]).numpy()}
        found |= {"gradient " + k: v for k, v in taken(one.D, [p.grad for p in one.parameters], like).items()}  # type: ignore[misc]
        found["losses"] = np.stack([one.step(*batch).numpy() for batch in zip(x0, sigma, eps, strict=True)])
        found |= {"ema " + k: v for k, v in taken(one.D, one.ema, like).items()}
        found |= {"D": D.movedim(1, -1).numpy(), "sample": sample.movedim(1, -1).numpy()}
        np.savez(self.folder / "theirs.npz", **found)

    def lacks(self, name: str) -> str:
        """Why this kind cannot be had here, as where there is no C++ compiler; empty where it can."""
        try:
            if name == "torch compiled":
                torch.compile(lambda x: x.cos() + 1)(self.arrays["sigmas"])
            return ""
        except Exception as error:  # the other kind can still be measured
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"

    def step(self, kind: Kind, n: int) -> float:
        """Seconds of a training step, over n of them."""
        training = self.training(*kind)
        return seconds(lambda: training.advance(n)) / n

    def sample(self, kind: Kind) -> float:
        """Seconds of one call of the sampler."""
        D = self.denoiser(*kind)
        with torch.inference_mode():
            return seconds(lambda: heun(D, self.arrays["noise"], self.arrays["sigmas"]))

    def held_out(self, kind: Kind) -> float:
        """The loss of the averaged weights on the images, levels and noise of the driver."""
        D = self.training(*kind).averaged()
        parts = zip(*(self.arrays[f"test_{k}"].split(128) for k in ("x0", "sigma", "eps")), strict=True)
        with torch.inference_mode():
            return float(np.mean([float(dsm_loss(D, *part)) for part in parts]))

    def profile(self, kind: Kind, rows: int = 18) -> str:
        """Where the time of 8 steps goes, by operator."""
        self.step(kind, 2)
        with torch.profiler.profile() as found:
            self.step(kind, 8)
        return found.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows, max_name_column_width=48)


def main(folder: Path, threads: int) -> None:
    reply, sys.stdout = sys.stdout, sys.stderr  # whatever torch prints must not mix with the answers
    torch.set_num_threads(threads)
    worker = Worker(folder)
    tasks = {name: getattr(worker, name) for name in ("check", "lacks", "step", "sample", "held_out", "profile")}
    print(json.dumps({"torch": torch.__version__.split("+")[0]}), file=reply, flush=True)
    answer(reply, tasks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
