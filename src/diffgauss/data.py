"""Images in [-1, 1]: Fashion-MNIST with checksums, and the subsets that experiments train on."""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Images = np.ndarray

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")  # fmt: skip

# SHA-256 of the unpacked IDX files (Xiao, Rasul & Vollgraf, 2017).
_FILES = {
    ("train", "images"): (
        "train-images-idx3-ubyte.gz", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    ("train", "labels"): (
        "train-labels-idx1-ubyte.gz", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ("test", "images"): (
        "t10k-images-idx3-ubyte.gz", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    ("test", "labels"): (
        "t10k-labels-idx1-ubyte.gz", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}  # fmt: skip


def load(name: str = "fashion-mnist", split: str = "train", classes: Sequence[int | str] | None = None) -> Images:
    """Images x₀ = pixel/127.5 − 1: float32 (N, 28, 28, 1) in [-1, 1], in the order of the published files.

    split: "train" (N = 60000) or "test" (N = 10000). classes: keep only these, by number 0-9 or by the name in
    ``diffgauss.data.CLASSES``. Raises ValueError for an unknown name, split or class and for a file whose
    checksum is wrong, FileNotFoundError for one that is missing.  Xiao, Rasul & Vollgraf (2017).
    """
    if name != "fashion-mnist":
        raise ValueError(f"got name {name!r}; the data sets at hand are: 'fashion-mnist'")
    pixels = _read_idx(folder(), split, "images").reshape(-1, 28, 28, 1)
    if classes is not None:
        pixels = pixels[np.isin(labels(split), [_class_number(c) for c in classes])]
        if not len(pixels):
            raise ValueError(f"got classes {list(classes)!r}; needs at least one of {CLASSES}")
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def labels(split: str = "train") -> np.ndarray:
    """The class of each image, a number 0-9 that names ``CLASSES``: uint8 (N,), in the order of ``load``.

    Raises ValueError for an unknown split and for a file whose checksum is wrong, FileNotFoundError for one that is
    missing.  Xiao, Rasul & Vollgraf (2017).
    """
    return _read_idx(folder(), split, "labels")


def folder() -> Path:
    """Where the data files are: inside an installed package, or at the top of a checkout."""
    here = Path(__file__).parent
    packaged = here / "data" / "fashion-mnist"
    return packaged if packaged.is_dir() else here.parents[1] / "data" / "fashion-mnist"


def subset(data: Images, n: int, *, seed: int) -> Images:
    """The first n points of the permutation named by seed: (n, *event). For one seed, smaller n ⊂ larger n.

    Raises ValueError unless 1 ≤ n ≤ N.
    """
    return data[_permutation(data, n, seed)[:n]]


def disjoint_halves(data: Images, n: int | None = None, *, seed: int) -> tuple[Images, Images]:
    """Two sets of n points with no row in common; n defaults to ⌊N/2⌋. The first is ``subset(data, n, seed=seed)``.

    Raises ValueError unless 1 ≤ n ≤ N/2.  The design of Kadkhodaie et al. (2024), used in Li et al. (2024), Fig. 9.
    """
    n = len(data) // 2 if n is None else n
    order = _permutation(data, 2 * n, seed)
    return data[order[:n]], data[order[n : 2 * n]]


def _permutation(data: Images, n: int, seed: int) -> np.ndarray:
    if not 1 <= n <= len(data):
        raise ValueError(f"asked for {n} points; needs between 1 and the {len(data)} there are")
    return np.random.default_rng(seed).permutation(len(data))


def _class_number(c: int | str) -> int:
    if c in CLASSES:
        return CLASSES.index(c)
    if c in range(len(CLASSES)):
        return int(c)
    raise ValueError(f"got class {c!r}; needs a number 0-{len(CLASSES) - 1} or a name of {CLASSES}")


def _read_idx(where: Path, split: str, kind: str) -> np.ndarray:
    if (split, kind) not in _FILES:
        raise ValueError(f"got split {split!r}; needs 'train' or 'test'")
    file, expected = _FILES[split, kind]
    path = where / file
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; needs the four Fashion-MNIST files, see data/README.md")
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); needs the published file, see data/README.md") from error
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise ValueError(f"{path} unpacks to sha256 {got}; needs {expected}, see data/README.md")
    return np.frombuffer(content, np.uint8, offset=16 if kind == "images" else 8)
