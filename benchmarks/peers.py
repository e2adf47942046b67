"""`python peers.py FOLDER`, run by the peers' Python: times other packages on the arrays in FOLDER.

It writes one line of JSON that says what can be called, then answers each line [task, name, calls] with one more.
"""
# pyright: reportMissingImports=false

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Call, answer, cores, resident_growth, seconds


def softmax_of_products(x, y, half_norms, sigma):
    """All N logits at once, from one product."""
    return torch.softmax((x @ y.T - half_norms) / sigma**2, dim=1) @ y


def softmax_of_distances(x, y, sigma):
    """All N logits at once, from the distances."""
    return torch.softmax(-(torch.cdist(x, y) ** 2) / (2 * sigma**2), dim=1) @ y


class Gaussian(torch.nn.Module):
    """The Gaussian denoiser from the same eigenvectors as ours, with a level for each image."""

    def __init__(self, mean, U, lam):
        super().__init__()
        self.mean, self.U, self.lam = mean, U, lam

    def forward(self, x, sigma):
        coefficients = (x - self.mean).flatten(1) @ self.U
        gain = self.lam / (self.lam + sigma[:, None] ** 2)
        return self.mean + ((gain * coefficients) @ self.U.T).reshape(x.shape)


def torch_calls(a: dict[str, torch.Tensor]) -> dict[str, Call]:
    x, y, sigma = a["x"].flatten(1), a["points"].flatten(1), torch.tensor(1.0)
    half_norms = (y**2).sum(1) / 2
    return {
        "products": lambda: (x @ y.T) @ y,
        "softmax of products": lambda: softmax_of_products(x, y, half_norms, sigma),
        "softmax of distances": lambda: softmax_of_distances(x, y, sigma),
    }


def smalldiffusion_calls(a: dict[str, torch.Tensor]) -> dict[str, Call]:
    D, x, sigma = importlib.import_module("smalldiffusion").IdealDenoiser(a["points"]), a["x"], torch.tensor(1.0)
    return {"IdealDenoiser": lambda: x - sigma * D(x, sigma)}  # it predicts the noise


def k_diffusion_calls(a: dict[str, torch.Tensor]) -> dict[str, Call]:
    sampling = importlib.import_module("k_diffusion").sampling
    D, sigmas = Gaussian(a["mean"], a["U"], a["lam"]), sampling.append_zero(a["sigmas"])
    return {"sample_heun": lambda: sampling.sample_heun(D, a["noise"], sigmas, disable=True)}


def main(folder: Path) -> None:
    reply, sys.stdout = sys.stdout, sys.stderr  # whatever the packages print must not mix with the answers
    torch.set_num_threads(cores())
    arrays = {path.stem: torch.from_numpy(np.load(path)) for path in folder.glob("*.npy")}
    calls: dict[str, Call] = {}
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for package, make in {
        "torch": torch_calls, "smalldiffusion": smalldiffusion_calls, "k-diffusion": k_diffusion_calls,
    }.items():  # fmt: skip
        try:
            calls |= make(arrays)
            versions[package] = importlib.metadata.version(package)
        except Exception as error:  # one broken package leaves the others to be measured
            missing[package] = f"{type(error).__name__}: {error}"

    def save(name: str, _: int) -> str:
        np.save(folder / "answer.npy", calls[name]().numpy())
        return "answer.npy"

    tasks: dict[str, Any] = {
        "time": lambda name, n: seconds(calls[name], n),
        "grow": lambda name, _: resident_growth(calls[name]),
        "save": save,
    }
    ready = {"calls": list(calls), "versions": versions, "missing": missing, "threads": torch.get_num_threads()}
    print(json.dumps(ready), file=reply, flush=True)
    with torch.inference_mode():
        answer(reply, tasks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
