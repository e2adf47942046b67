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
from diffgauss.data import store
from diffgauss.nets.resnet import ResNet
from diffgauss.nets.unet import UNet
from diffgauss.train import TrainConfig

SUBSET_SEED, NOISE_SEED, LEVEL_SEED = 0, 1, 2
"""Of the images chosen, the samples' starting noise, and the noise in the losses that are reported."""

UPPER_BODY = ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")

CHUNK = 32
"""Steps a device call. The first snapshot is taken after one chunk."""

DATASETS = {
    "fashion-mnist": ((28, 28, 1), 0.7),
    "cifar10": ((32, 32, 3), 0.5),
    "pneumoniamnist": ((28, 28, 1), 0.33),
}
"""Shape of an image, and the σ_data of its runs: about the standard deviation of the pixels."""


@dataclass(frozen=True)
class Run:
    """One network of the zoo.

    n: how many images it sees; width: its channels; net: its preset; part: it sees the n shuffled images from
    n·part on, so that two parts share none; classes: of Fashion-MNIST, None for all ten; seed: of the weights,
    batches, levels and noise; steps: of training; spacing: the weights are kept after 32·spacing^k steps and at the
    end, or None: at the end alone; dataset: a name in DATASETS; pool: the shuffled images are cut into blocks of so
    many, and those outside the run's own are held out, or None: the test images alone are.
    """

    n: int
    width: int = 16
    net: Callable[..., UNet | ResNet] = UNet.tiny
    part: int = 0
    classes: tuple[str, ...] | None = None
    seed: int = 0
    steps: int = 40960
    spacing: int | None = 4
    dataset: str = "fashion-mnist"
    pool: int | None = None

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
        return [self.steps] if self.spacing is None else self._powers(self.spacing)

    @property
    def recorded(self) -> list[int]:
        """The steps at which the run is scored: 32·2^k, and the last."""
        return self._powers(2)

    def _powers(self, spacing: int) -> list[int]:
        powers = (CHUNK * spacing**k for k in range(30))
        return [step for step in powers if step < self.steps] + [self.steps]

    @property
    def facts(self) -> dict[str, Any]:
        """All that decides the result, in JSON's types: runs with the same facts are the same run."""
        own = asdict(self) | {"net": self.net.__name__, "classes": self.classes and list(self.classes)}
        own["other"] = self.part == 1
        # Files of the first runs know neither of other data sets nor of more parts than two.
        for name, plain in (("dataset", "fashion-mnist"), ("pool", None), ("part", min(self.part, 1))):
            if own[name] == plain:
                del own[name]
        return own | asdict(self.config)


_colour = partial(Run, dataset="cifar10", steps=65536, spacing=None)
_sneaker = partial(Run, classes=("Sneaker",), pool=3000, spacing=None)
_tshirt = partial(Run, classes=("T-shirt/top",), pool=3000, spacing=None)
_xray = partial(Run, dataset="pneumoniamnist", pool=3400, spacing=None)

_RUNS = {
    "n64": Run(64, spacing=2),
    "n60000": Run(60000, spacing=2),
    "n1024": Run(1024),
    "n16384": Run(16384),
    "n256": Run(256),
    "n4096": Run(4096),
    "n16": Run(16),
    "n64-other": Run(64, part=1, spacing=2),
    "n16384-other": Run(16384, part=1),
    "n64-w4": Run(64, width=4),
    "n64-w8": Run(64, width=8),
    "n64-other-w4": Run(64, width=4, part=1),
    "n64-w32": Run(64, width=32),
    "n30000-upper": Run(30000, classes=UPPER_BODY),
    "n60000-seed1": Run(60000, seed=1),
    "n64-seed1": Run(64, seed=1, spacing=2),
    "n60000-small": Run(60000, net=UNet.small, width=32, spacing=None),
    "n60000-resnet": Run(60000, net=ResNet, width=32, steps=12288, spacing=None),
    "cifar-n50000": _colour(50000),
    "cifar-n25000": _colour(25000, steps=24576),
    "cifar-n25000-other": _colour(25000, part=1, steps=24576),
    "cifar-n256": _colour(256, spacing=4),
    "cifar-n256-w32": _colour(256, width=32, steps=98304, spacing=16),
    "cifar-n50000-seed1": _colour(50000, seed=1),
    "cifar-n50000-w32": _colour(50000, width=32, spacing=16),
    "cifar-n50000-w64": _colour(50000, width=64),
    "sneaker-n3000": _sneaker(3000, spacing=16),
    "sneaker-n64": _sneaker(64, spacing=16),
    "sneaker-n256": _sneaker(256, spacing=16),
    "sneaker-n3000-seed1": _sneaker(3000, seed=1),
    "sneaker-n3000-seed2": _sneaker(3000, seed=2),
    "sneaker-n16": _sneaker(16),
    "sneaker-n1000": _sneaker(1000),
    "sneaker-n3000-other": _sneaker(3000, part=1),
    **{f"sneaker-n{n}-seed{k}": _sneaker(n, part=k, seed=k) for n in (64, 256, 16, 1000) for k in (1, 2)},
    "xray-n3400": _xray(3400),
    "xray-n3400-seed1": _xray(3400, seed=1),
    "xray-n64": _xray(64),
    **{f"sneaker-n256-w{w}": _sneaker(256, width=w) for w in (4, 8, 32)},
    **{f"sneaker-n256-w{w}-seed{k}": _sneaker(256, width=w, part=k, seed=k) for w in (4, 8, 32) for k in (1, 2)},
    "tshirt-n3000": _tshirt(3000),
    "tshirt-n3000-seed1": _tshirt(3000, seed=1),
    **{f"n256-seed{k}": Run(256, part=k, seed=k, spacing=None) for k in (1, 2)},
    **{f"n256-w{w}": Run(256, width=w, spacing=None) for w in (4, 8, 32)},
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
    """Where zoo.json is; a checkout has its checkpoints there, an installed package where ``store.path`` says."""
    return store.HOME / "zoo"


def data(name: str) -> np.ndarray:
    """The images the run was trained on: float32 (n, *event). Raises ValueError for an unknown name.

    CIFAR-10 and the chest X-rays are not carried with the package: raises as ``load("cifar10")`` too.
    """
    this = run(name)
    shuffled, start = _shuffled(this), this.n * this.part
    if start + this.n > len(shuffled):
        raise ValueError(f"{name} needs {start + this.n} images; {this.dataset} has {len(shuffled)}")
    return datasets.scaled(shuffled[start : start + this.n])


def pool(name: str) -> np.ndarray:
    """All images that runs like this one draw theirs from: its block, or the data set's. Raises as ``data``.

    Their D_G is the same for every N, so that held-out losses over its loss can be compared.
    """
    this = run(name)
    shuffled, size = _shuffled(this), this.pool
    start = 0 if size is None else this.n * this.part // size * size
    return datasets.scaled(shuffled[start : None if size is None else start + size])


def held_out(name: str) -> np.ndarray:
    """Images of the same law that the run has not seen: float32 (·, *event). Raises as ``data``.

    They are the test images of the run's classes; with a pool, all images outside the run's block come first. The
    X-rays' own test images, of another law, are left out, and so is what equals an image of the block.
    """
    this = run(name)
    if this.pool is None:
        return datasets.load(this.dataset, "test", this.classes)
    shuffled, start = _shuffled(this), this.n * this.part // this.pool * this.pool
    block, rest = shuffled[start : start + this.pool], (shuffled[:start], shuffled[start + this.pool :])
    test = [] if this.dataset == "pneumoniamnist" else [datasets.pixels_of(this.dataset, "test", this.classes)]
    seen = {image.tobytes() for image in block}
    new = [image for image in np.concatenate([*rest, *test]) if image.tobytes() not in seen]
    return datasets.scaled(np.stack(new))


def _shuffled(this: Run) -> np.ndarray:
    """The pixels of all training images of a run's data set and classes, in the order in which runs take them."""
    pixels = datasets.pixels_of(this.dataset, classes=this.classes)
    return datasets.subset(pixels, len(pixels), seed=SUBSET_SEED)


def noise(k: int = 100, event: tuple[int, ...] = (28, 28, 1)) -> jax.Array:
    """x(σ_max) = σ_max ε, where all samples of the project start: (k, *event), the same for all nets of a shape."""
    return 80.0 * jax.random.normal(jax.random.key(NOISE_SEED), (k, *event))


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8")) if info.is_file() else None
    return model[1] if model else platform.processor() or platform.machine()


def computer() -> dict[str, Any]:
    """What a run's time and last digits depend on: processor, devices, versions; nothing that names a machine."""
    return {
        "processor": processor(),
        "devices": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("diffgauss", "jax", "jaxlib", "flax", "optax", "numpy")},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # as where src/ alone is on the path
        return "not installed"
