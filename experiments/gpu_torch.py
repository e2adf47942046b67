"""`python gpu_torch.py FOLDER SECONDS`: what part b of gpu.py compares with, in PyTorch on the same card.

Reads what gpu_speed.py wrote to the folder, compares answers with ours before it times anything, and writes
torch.json after each measurement. Without a card it runs on the processor.
"""
# pyright: reportMissingImports=false

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from train_torch import EDMDenoiser, Training, UNet, put  # noqa: E402

CLOSE = 1e-3
"""Largest difference of float32 answers from ours, relative to their size."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main(folder: Path, seconds: float) -> None:
    end, s = time.monotonic() + seconds, json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "processor"
    found: dict[str, Any] = {"version": torch.__version__, "device": name}
    for what, does in measurements(folder, s):
        try:
            found[what] = does() if time.monotonic() < end else {"left out": "no time was left"}
        except Exception as error:  # the others can still be measured
            found[what] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        (folder / "partial.json").write_text(json.dumps(found), encoding="utf-8")
        os.replace(folder / "partial.json", folder / "torch.json")


def measurements(folder: Path, s: dict[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is measured, the most important first; compiling takes longest."""
    for name in s["components"]:
        yield name, lambda name=name: kernels(folder, s, name)
    for how in ("eager", "eager, bfloat16", "compiled", "compiled, bfloat16"):
        for name in s["nets"]:
            for batch in s["batches"][name][-1:] if how.endswith("bfloat16") else s["batches"][name]:
                yield f"{name}, batch {batch}, {how}", lambda n=name, b=batch, h=how: step(folder, s, n, b, h)


def kernels(folder: Path, s: dict[str, Any], name: str) -> dict[str, Any]:
    """Seconds of D_M as one softmax over all images, of D_G, and of distilling D_M, moments on the card too."""
    arrays = {k: torch.tensor(a, device=DEVICE) for k, a in np.load(folder / f"{name}.npz").items()}
    x, y, u, U, lam = (arrays[k] for k in ("x", "images", "mean", "U", "lam"))
    x, y, u, sigma, half = x.flatten(1), y.flatten(1), u.flatten(), s["sigma"], None
    half = (y**2).sum(1) / 2
    gain, rank, n = lam / (lam + sigma**2), s["components"][name], s["pairs"]
    V = U[:, :rank]

    def D_M(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(torch.addmm(-half, x, y.T) / sigma**2, 1) @ y

    def D_G(x: torch.Tensor) -> torch.Tensor:
        return u + (x - u) @ U * gain @ U.T

    def D_L(x: torch.Tensor) -> torch.Tensor:
        """Least squares of D_M − D_G on V'(x − u) with a ridge, moments in float64; then at x."""
        zz, rz, zm, rm = (torch.zeros(k, dtype=torch.float64, device=DEVICE) for k in
                          ((rank, rank), (len(u), rank), (rank,), (len(u),)))  # fmt: skip
        for start in range(0, n, 256):
            x0 = y[torch.arange(start, start + 256, device=DEVICE) % len(y)]
            noisy = x0 + sigma * torch.randn_like(x0)
            z, r = ((noisy - u) @ V).double(), (D_M(noisy) - D_G(noisy)).double()
            zz, rz, zm, rm = zz + z.T @ z / n, rz + r.T @ z / n, zm + z.sum(0) / n, rm + r.sum(0) / n
        ridge = s["ridge"] * torch.eye(rank, dtype=torch.float64, device=DEVICE)
        A = torch.linalg.solve(zz - torch.outer(zm, zm) + ridge, (rz - torch.outer(rm, zm)).T).T
        return D_G(x) + ((x - u) @ V - zm.float()) @ A.T.float() + rm.float()

    found: dict[str, Any] = {}
    with torch.inference_mode():
        for does in (D_M, D_G):
            for tf32 in (False, True) if DEVICE.type == "cuda" else (False,):
                allow_tf32(tf32)
                apart = relative(does(x), arrays[does.__name__].flatten(1))
                if not tf32 and not apart < CLOSE:
                    raise ValueError(f"{does.__name__} differs from ours by {apart:.1e}; may by {CLOSE}")
                label = f"{does.__name__}, {'TF32' if tf32 else 'float32'}"
                found[label] = {"seconds": timed(lambda does=does: does(x)), "difference from ours": apart}
        allow_tf32(False)
        seconds = timed(lambda: D_L(x), rounds=1)
        apart = relative(D_L(x), arrays["D_L"].flatten(1))
    return found | {"distillation": {"seconds": seconds, "difference from ours, of other noise": apart}}


def step(folder: Path, s: dict[str, Any], name: str, batch: int, how: str) -> dict[str, float]:
    """A training step, TF32 allowed, of a network whose answers are ours."""
    weights, check = (dict(np.load(folder / f"{name}.{part}.npz")) for part in ("weights", "check"))
    settings = s["config"] | {"size": 28, "batch": batch, "net": s["nets"][name]}
    D = EDMDenoiser(UNet(28, **settings["net"]), settings["sigma_data"]).to(DEVICE)
    put(D, weights)
    x, sigma, want = (torch.tensor(check[k], device=DEVICE) for k in ("x", "sigma", "D"))
    allow_tf32(False)
    with torch.inference_mode():
        apart = relative(D(x.movedim(-1, 1), sigma).movedim(1, -1), want)
    if not apart < CLOSE:
        raise ValueError(f"the network differs from ours by {apart:.1e}; may by {CLOSE}")
    allow_tf32(True)
    images = torch.tensor(np.load(folder / "train.npy"), device=DEVICE).movedim(-1, 1).contiguous()
    training = Training(settings, weights, images, compiled="compiled" in how, half=how.endswith("bfloat16"))
    n, start = s["config"]["steps"], time.perf_counter()
    training.advance(2)
    waited()
    first, best = time.perf_counter() - start, timed(lambda: training.advance(n), rounds=3) / n
    return {"images/s": batch / best, "seconds a step": best, "seconds of two steps before": first,
            "difference from ours": apart}  # fmt: skip


def allow_tf32(allowed: bool) -> None:
    """For products and convolutions alike."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).norm() / want.norm())


def waited() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def timed(does: Callable[[], Any], rounds: int = 5) -> float:
    """Seconds of a call: the least of some, after one that is not timed."""
    ticks = []
    for _ in range(rounds + 1):
        waited()
        start = time.perf_counter()
        does()
        waited()
        ticks.append(time.perf_counter() - start)
    return min(ticks[1:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
