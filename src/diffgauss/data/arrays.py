"""Images in NumPy files: which array is meant, and whether it may be read."""

import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from diffgauss.data.decoding import TooLarge, bounded, damage
from diffgauss.data.splits import FIFTH, HELD_OUT, OTHER, Report, fifth

FORMS = ("{}", "{}_images", "x_{}", "X_{}", "{}_x", "{}_X", "images_{}", "{}_data")
"""How arrays of two splits are named, with train and a name of ``HELD_OUT``."""

LONE = ("images", "x", "X", "data", "arr_0")
"""What the array of images is called where others, of labels and the like, stand beside it."""


def _named(path: Path, names: list[str], key: str, split: str) -> tuple[str, bool]:
    """The array that is meant, and whether it has to be divided."""
    if key:
        if key not in names:
            raise ValueError(f"{path} has the arrays {names}; needs one of them after the colon, not {key!r}")
        return key, True
    for form in FORMS:
        held = next((h for h in HELD_OUT if form.format(h) in names), None)
        if held and form.format("train") in names:
            return form.format(held if split == "test" else "train"), False
    alone = [n for n in names if n in LONE] if len(names) > 1 else names
    if len(alone) != 1:
        needs = "one, those named 'train' and 'test' or 'train_images' and 'test_images', or FILE.npz:NAME"
        raise ValueError(f"{path} has the arrays {names}; needs {needs}")
    return alone[0], True


def _check_size(path: Path, limit: float | int) -> None:
    """Raise ValueError for arrays that take more than limit bytes, or say so, before room is made for them."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            _check_header(path, file, path.stat().st_size, limit)
    else:
        with zipfile.ZipFile(path) as archive:
            for member in bounded(archive.infolist(), path, limit):
                with archive.open(member) as file:
                    _check_header(path, file, member.file_size, limit)


def _check_header(path: Path, file: Any, there: int, limit: float | int) -> None:
    first = np.lib.format.read_magic(file) == (1, 0)
    header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = header(file)
    except Exception as error:  # it is parsed as Python's literals are, whose reader has errors of many kinds
        raise ValueError(f"its header: {error}") from error
    size = math.prod(shape) * dtype.itemsize
    if size > limit:
        raise TooLarge(f"{path} holds an array of {size:.3g} bytes; needs {limit:.3g} or less, or a higher limit=")
    if size > there and not dtype.hasobject:
        raise ValueError(f"an array of {size} bytes in {there}")


def array(path: Path, key: str, split: str, limit: float | int) -> tuple[np.ndarray, Report]:
    """(N, h, w, 1 or 3) of a NumPy file, uint8 or float32 in [-1, 1], and its report.

    Raises ValueError for a file that is damaged, too large, or holds something else.
    """
    with damage(path):
        _check_size(path, limit)
        loaded = np.load(path, allow_pickle=False)
    passed, how = (), ""
    if isinstance(loaded, np.ndarray):
        array, whole = loaded, True
    else:
        own, whole = _named(path, loaded.files, key, split)
        with damage(path):
            array = loaded[own]
        passed, how = tuple((f"array {n}", 1) for n in loaded.files if n != own), f"the array {own!r}"
    if array.ndim == 3 and array.shape[-1] > 4:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or not array.size:
        raise ValueError(f"{path} has shape {array.shape}; needs (N, h, w) for grey, or (N, h, w, 1 or 3)")
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{path} has dtype {array.dtype}; needs uint8, or floating point in [-1, 1]")
        low, high = array.min(), array.max()
        if not (low >= -1 and high <= 1):  # NaN too
            raise ValueError(f"{path} has values from {low} to {high}; needs them finite and within [-1, 1]")
        if low >= 0:
            warnings.warn(f"{path} has no value below 0: if it holds [0, 1], save 2*x - 1", stacklevel=4)
        array = array.astype(np.float32)
    elif array.max() <= 1:
        warnings.warn(f"{path} has no value above 1: if it holds masks of 0 and 1, save 255*x", stacklevel=4)
    found = len(array)
    if whole:
        array, how = array[fifth(map(str, range(found)), split)], "; ".join(filter(None, [how, FIFTH]))
        passed = (*passed, (f"images of {OTHER[split]!r}", found - len(array)))
    return array, Report(str(path), found, len(array), split, how, (), passed)
