"""Images in [-1, 1]: Fashion-MNIST with checksums, CIFAR-10, your own, and subsets of them."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np

from diffgauss.data import sources, store
from diffgauss.data.decoding import SUFFIXES, chosen, damage, numbers, reshaped
from diffgauss.data.splits import Report

Images = np.ndarray

ENDINGS = (".npy", ".npz", ".tar", ".gz", ".xz", ".bz2", ".zip", ".tgz")
"""Of files that are no pictures themselves and hold some."""

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


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10_EACH = {"train": 5000, "test": 1000}  # images a class (Krizhevsky, 2009)


@overload
def load(
    name: str | Path = ..., split: str = ..., classes: Sequence[int | str] | None = ..., *, size: int | None = ...,
    grey: bool | None = ..., limit: float | int = ..., report: Literal[False] = ...,
) -> Images: ...  # fmt: skip
@overload
def load(
    name: str | Path = ..., split: str = ..., classes: Sequence[int | str] | None = ..., *, size: int | None = ...,
    grey: bool | None = ..., limit: float | int = ..., report: Literal[True],
) -> tuple[Images, Report | None]: ...  # fmt: skip
def load(
    name: str | Path = "fashion-mnist",
    split: str = "train",
    classes: Sequence[int | str] | None = None,
    *,
    size: int | None = None,
    grey: bool | None = None,
    limit: float | int = 4e9,
    report: bool = False,
) -> Images | tuple[Images, Report | None]:
    """Images x₀ = pixel/127.5 − 1: float32 (N, h, w, c) in [-1, 1], c = 1 grey or 3 colour, in a fixed order.

    name: one of

    * "fashion-mnist": 28×28 grey, found as ``data.store`` says or fetched once. Xiao, Rasul & Vollgraf (2017).
    * "cifar10": 32×32 colour, from the folder or archive that the environment variable DIFFGAUSS_CIFAR10 names,
      or else from Hugging Face.  Krizhevsky (2009).
    * "pneumoniamnist": 28×28 grey chest X-rays, from the MedMNIST file that DIFFGAUSS_PNEUMONIAMNIST names; "train"
      is its training and validation images together.  Yang et al. (2023); Kermany et al. (2018).
    * a folder, or tar or zip archive, of pictures, searched in all its subfolders, links followed, and sorted by
      path. Pictures are turned as EXIF says and put on white where transparent; of several frames the first counts.
    * an .npy file, or an .npz file with one array, with those named train and test, train_images and test_images or
      x_train and x_test (as those of MedMNIST and Keras), or FILE.npz:NAME: (N, h, w) grey or (N, h, w, c), uint8
      or floating in [-1, 1]. Pickled objects are never loaded.
    * "owner/name" of a Hugging Face data set: needs ``pip install 'diffgauss[hub]'`` and, at first, a network.

    split: "train" or "test": the subfolders (in capitals or not), arrays or splits of these names, or val for test;
    where there are not both, a fifth of the images, chosen by a hash of their names or numbers, is "test" and the
    others are "train". classes: keep only these, by number or name: of
    ``diffgauss.data.CLASSES`` or ``CIFAR10``, the subfolders in alphabetical order, or the labels of a Hugging Face
    set. size: crop each image to its centred square and resize that (Lanczos) to size×size. grey: True for c = 1,
    False for c = 3; by default c = 3 if any image has colour. limit: bytes that an archive or the images may take
    in memory. report: return the images and a data.Report, or None for a set that is known; without it the report
    is printed, one line that accounts for every file.

    Raises ValueError for an unknown name, split or class, for a file that is damaged or of another checksum, dtype
    or range (it is named), and for images that differ in shape; FileNotFoundError for one that is missing, as
    ``data.store.fetch`` where it cannot be fetched; ModuleNotFoundError where ``datasets`` is not installed.
    """
    if split not in ("train", "test"):
        raise ValueError(f"got split {split!r}; needs 'train' or 'test'")
    if size is not None and size < 1:
        raise ValueError(f"size = {size}; needs at least 1 pixel")
    found: Report | None = None
    if name in KNOWN:
        pixels = reshaped(pixels_of(str(name), split, classes), size, grey)
    elif (path := sources.known(name)) is not None:
        pixels, found = sources.read(path, split, classes, size, grey, limit)
    elif _of_the_hub(str(name)):
        pixels, found = sources.hub(str(name), split, classes, size, grey)
    else:
        raise ValueError(
            f"got name {str(name)!r}, which is no file or folder here; needs 'fashion-mnist', 'cifar10', "
            "'pneumoniamnist', a folder of images, an .npy or .npz file, or 'owner/name' of a Hugging Face data set"
        )
    if found is not None and not report:
        print(found)
    images = scaled(pixels)
    return (images, found) if report else images


def pixels_of(name: str, split: str = "train", classes: Sequence[int | str] | None = None) -> np.ndarray:
    """The images of a set that ``KNOWN`` names, before ``scaled``: a quarter of their size. Raises as ``load``."""
    return KNOWN[name](split, classes)


def scaled(pixels: np.ndarray) -> Images:
    """pixel/127.5 − 1 as float32; what is float32 already is returned."""
    if pixels.dtype == np.float32:
        return pixels
    images = pixels.astype(np.float32)
    images /= np.float32(127.5)  # in place: no second and third copy
    images -= np.float32(1)
    return images


def _of_the_hub(name: str) -> bool:
    """Whether it can only mean a data set of the Hub: a path that was mistyped stays on this machine."""
    owner, _, rest = name.partition("/")
    local = Path(owner).exists() or rest.lower().endswith((*SUFFIXES, *ENDINGS))
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name)) and not local


def _fashion_mnist(split: str, classes: Sequence[int | str] | None) -> np.ndarray:
    pixels = _read_idx(split, "images").reshape(-1, 28, 28, 1)
    return pixels if classes is None else pixels[chosen(_read_idx(split, "labels"), CLASSES, classes)]


def _cifar10(split: str, classes: Sequence[int | str] | None) -> np.ndarray:
    where = os.environ.get("DIFFGAUSS_CIFAR10")
    if where and not Path(where).exists():
        raise FileNotFoundError(f"{where} is missing; DIFFGAUSS_CIFAR10 needs to name a folder or archive")
    source = where or "uoft-cs/cifar10"
    if where:
        pixels, _ = sources.read(Path(where), split, classes, None, None, 4e9)
    else:
        pixels, _ = sources.hub(source, split, classes, None, None)
    n = _CIFAR10_EACH[split] * len(CIFAR10 if classes is None else numbers(CIFAR10, classes))
    if pixels.shape != (n, 32, 32, 3):
        raise ValueError(f"{source} holds images of shape {pixels.shape} for {split!r}; needs {(n, 32, 32, 3)}")
    return pixels


def _pneumoniamnist(split: str, classes: Sequence[int | str] | None) -> np.ndarray:
    where = os.environ.get("DIFFGAUSS_PNEUMONIAMNIST")
    if not where or not Path(where).is_file():
        raise FileNotFoundError(
            f"got DIFFGAUSS_PNEUMONIAMNIST = {where!r}; needs the path of pneumoniamnist.npz, from medmnist.com"
        )
    if classes is not None:
        raise ValueError(f"got classes for {where}, not an array; needs none")
    with damage(where):
        loaded = np.load(where, allow_pickle=False)
        parts = ["train", "val"] if split == "train" and "val_images" in loaded.files else [split]
        ending = "_images" if "train_images" in loaded.files else ""
        pixels = np.concatenate([loaded[part + ending] for part in parts])
        pixels = pixels if pixels.ndim == 4 else pixels[..., None]
    if pixels.shape[1:] != (28, 28, 1):
        raise ValueError(f"{where} holds images of shape {pixels.shape[1:]}; needs (28, 28, 1)")
    return pixels


KNOWN = {"fashion-mnist": _fashion_mnist, "cifar10": _cifar10, "pneumoniamnist": _pneumoniamnist}


def labels(split: str = "train") -> np.ndarray:
    """The class of each image, a number 0-9 that names ``CLASSES``: uint8 (N,), in the order of ``load``.

    Raises ValueError for an unknown split and for a file whose checksum is wrong; as ``data.store.fetch`` for one
    that is missing.  Xiao, Rasul & Vollgraf (2017).
    """
    return _read_idx(split, "labels")


def folder() -> Path:
    """Where Fashion-MNIST is: the first of the folders that have it, else where it will be, in the user's cache."""
    here = (where / "fashion-mnist" for where in store.folders())
    return next((where for where in here if where.is_dir()), None) or store.cache() / "fashion-mnist"


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


def _read_idx(split: str, kind: str) -> np.ndarray:
    if (split, kind) not in _FILES:
        raise ValueError(f"got split {split!r}; needs 'train' or 'test'")
    file, expected = _FILES[split, kind]
    path = store.path(f"fashion-mnist/{file}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); needs the published file, see data/README.md") from error
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise ValueError(f"{path} unpacks to sha256 {got}; needs {expected}, see data/README.md")
    return np.frombuffer(content, np.uint8, offset=16 if kind == "images" else 8)
