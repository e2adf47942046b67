"""Which networks the zoo holds: what each one saw, how it was trained, and every seed, in one place."""

import platform
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffgauss import data as datasets
from diffgauss.denoisers.resnet import ResNet
from diffgauss.denoisers.unet import UNet
from diffgauss.train import TrainConfig

SUBSET_SEED, NOISE_SEED, LEVEL_SEED = 0, 1, 2
"""Of the images chosen, the samples' starting noise, and the noise in the losses that are reported."""

UPPER_BODY = ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")

CHUNK = 32
"""Steps a device call. The first snapshot is taken after one chunk."""

DATASETS = {"fashion-mnist": ((28, 28, 1), 0.7), "cifar10": ((32, 32, 3), 0.5)}
"""Shape of an image, and the σ_data of its runs: about the standard deviation of the pixels."""


@dataclass(frozen=True)
class Run:
    """One network of the zoo.

    n: how many images it sees; width: its channels; net: its preset; other: it sees the n images *after* the first
    n of the permutation, so that two runs share none; classes: of Fashion-MNIST, None for all ten; seed: of the
    weights, batches, levels and noise; steps: of training; spacing: each snapshot is taken after so many times the
    steps of the one before, or None: the last alone; dataset: a name in DATASETS.
    """

    n: int
    width: int = 16
    net: Callable[..., UNet | ResNet] = UNet.tiny
    other: bool = False
    classes: tuple[str, ...] | None = None
    seed: int = 0
    steps: int = 40960
    spacing: int | None = 4
    dataset: str = "fashion-mnist"

    @property
    def event(self) -> tuple[int, int, int]:
        """(h, w, c) of its images."""
        return DATASETS[self.dataset][0]

    @property
    def config(self) -> TrainConfig:
        """How it is trained: the same for all runs but for steps, seed and the σ_data of the data set."""
        sigma_data = DATASETS[self.dataset][1]
        return TrainConfig(steps=self.steps, seed=self.seed, cooldown=self.steps // 2, sigma_data=sigma_data)

    @property
    def snapshots(self) -> list[int]:
        """The steps at which the averaged weights are kept: 32·spacing^k, and the last."""
        if self.spacing is None:
            return [self.steps]
        powers = [CHUNK * self.spacing**k for k in range(30)]
        return [step for step in powers if step < self.steps] + [self.steps]

    @property
    def facts(self) -> dict[str, Any]:
        """All that decides the result, in JSON's types: runs with the same facts are the same run."""
        own = asdict(self) | {"net": self.net.__name__, "classes": self.classes and list(self.classes)}
        if self.dataset == "fashion-mnist":
            del own["dataset"]  # the files of these runs were written before there was a second data set
        return own | asdict(self.config)


_colour = partial(Run, dataset="cifar10", steps=65536, spacing=None)

_RUNS = {
    "n64": Run(64, spacing=2),
    "n60000": Run(60000, spacing=2),
    "n1024": Run(1024),
    "n16384": Run(16384),
    "n256": Run(256),
    "n4096": Run(4096),
    "n16": Run(16),
    "n64-other": Run(64, other=True, spacing=2),
    "n16384-other": Run(16384, other=True),
    "n64-w4": Run(64, width=4),
    "n64-w8": Run(64, width=8),
    "n64-other-w4": Run(64, width=4, other=True),
    "n64-w32": Run(64, width=32),
    "n30000-upper": Run(30000, classes=UPPER_BODY),
    "n60000-seed1": Run(60000, seed=1),
    "n64-seed1": Run(64, seed=1, spacing=2),
    "n60000-small": Run(60000, net=UNet.small, width=32),  # for a GPU or TPU
    "n60000-resnet": Run(60000, net=ResNet, width=32, steps=12288, spacing=None),
    "cifar-n50000": _colour(50000),
    "cifar-n25000": _colour(25000, steps=24576),
    "cifar-n25000-other": _colour(25000, other=True, steps=24576),
    "cifar-n256": _colour(256, spacing=4),
    "cifar-n256-w32": _colour(256, width=32, steps=98304, spacing=16),
    "cifar-n50000-seed1": _colour(50000, seed=1),
    "cifar-n50000-w32": _colour(50000, width=32, spacing=16),
}


def entries() -> dict[str, Run]:
    """All runs by name, in the order in which they are trained, the most important first."""
    return dict(_RUNS)


def run(name: str) -> Run:
    """The run of that name. Raises ValueError for an unknown one."""
    if name not in _RUNS:
        raise ValueError(f"got {name!r}; the zoo has {', '.join(_RUNS)}")
    return _RUNS[name]


def folder() -> Path:
    """Where the shipped checkpoints are: inside an installed package, or at the top of a checkout."""
    return datasets.folder().parent / "zoo"


def data(name: str) -> np.ndarray:
    """The images the run was trained on: float32 (n, *event). Raises ValueError for an unknown name.

    CIFAR-10 is not carried with the package: as ``load("cifar10")``, also FileNotFoundError, ModuleNotFoundError.
    """
    this = run(name)
    images = datasets.load(this.dataset, classes=this.classes)
    if this.other:
        return datasets.disjoint_halves(images, this.n, seed=SUBSET_SEED)[1]
    return datasets.subset(images, this.n, seed=SUBSET_SEED)


def held_out(name: str) -> np.ndarray:
    """The test images of the run's classes: float32 (·, *event). Raises as ``data``."""
    this = run(name)
    return datasets.load(this.dataset, "test", this.classes)


def noise(k: int = 100, event: tuple[int, ...] = (28, 28, 1)) -> jax.Array:
    """x(σ_max) = σ_max ε, where all samples of the project start: (k, *event), the same for all nets of a shape."""
    return 80.0 * jax.random.normal(jax.random.key(NOISE_SEED), (k, *event))


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return model[1] if model else platform.processor() or platform.machine()


def computer() -> dict[str, Any]:
    """What a run's time and last digits depend on: processor, devices, versions; nothing that names a machine."""
    return {
        "processor": processor(),
        "devices": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "python": platform.python_version(),
        "versions": {
            name: metadata.version(name) for name in ("diffgauss", "jax", "jaxlib", "flax", "optax", "numpy")
        },
    }
