"""Where images come from: folders, tar archives, NumPy files and Hugging Face data sets."""

import tarfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffgauss._images import SUFFIXES, chosen, damage, fifths, pixels, reshaped, stacked

Classes = Sequence[int | str] | None


def read(path: Path, split: str, classes: Classes, size: int | None, grey: bool | None) -> np.ndarray:
    """(N, h, w, 1 or 3), uint8 or in [-1, 1], of a folder, a tar archive or a NumPy file, in the order of names.

    Raises ValueError for a file that is none of these, is damaged, or lacks the split or the classes.
    """
    if path.is_dir():
        names = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return _pictures(path, names, lambda wanted: ((n, path / n) for n in wanted), split, classes, size, grey)
    if path.suffix in (".npy", ".npz"):
        if classes is not None:
            raise ValueError(f"got classes for {path}; needs a folder with a subfolder for each, not an array")
        return reshaped(_array(path, split), size, grey)
    if not tarfile.is_tarfile(path):
        raise ValueError(f"{path} is damaged, or no folder, tar archive, .npy or .npz file; needs one of these")
    with damage(path), tarfile.open(path) as archive:
        names = [member.name.removeprefix("./") for member in archive if member.isfile()]
    return _pictures(path, names, lambda wanted: _unpacked(path, set(wanted)), split, classes, size, grey)


def hub(name: str, split: str, classes: Classes, size: int | None, grey: bool | None) -> np.ndarray:
    """uint8 (N, h, w, 1 or 3) of a Hugging Face data set: its first image column, chosen by its class labels.

    Needs the library ``datasets`` and, the first time, a network. A lone split is divided as a folder is.
    Raises ValueError for a set that cannot be had or lacks split or columns, ModuleNotFoundError with no library.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} is no folder or file here, and a Hugging Face data set needs: pip install 'diffgauss[hub]'"
        ) from error
    try:
        splits: Any = datasets.load_dataset(name)
    except Exception as error:  # of its own, of its network client, of the data set's form
        said = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{name} is no folder or file here, and no Hugging Face data set of that name can be had "
            f"({type(error).__name__}: {said}); needs a network the first time"
        ) from error
    lone = len(splits) == 1
    if not lone and split not in splits:
        raise ValueError(f"{name} has the splits {list(splits)}; needs {split!r}")
    rows = next(iter(splits.values())) if lone else splits[split]
    images = [column for column, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    labels = [column for column, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)]
    if not images:
        raise ValueError(f"{name} has the columns {list(rows.features)}; needs one of images")
    keep = fifths(len(rows), split) if lone else np.ones(len(rows), bool)
    if classes is not None:
        if not labels:
            raise ValueError(f"got classes for {name}, whose columns {list(rows.features)} hold no class labels")
        keep &= chosen(np.array(rows[labels[0]]), rows.features[labels[0]].names, classes)
    if not keep.any():
        raise ValueError(f"{name} holds {len(rows)} images; needs at least one of split {split!r} and its classes")
    rows = rows.select_columns(images[:1]).cast_column(images[0], datasets.Image(decode=False))
    files = {f"{name}[{i}]": rows[int(i)][images[0]] for i in np.flatnonzero(keep)}
    return stacked({n: pixels(n, file["bytes"] or file["path"], size, grey) for n, file in files.items()})


def _pictures(
    path: Path, found: Iterable[str], files: Callable[[list[str]], Iterator], split, classes, size, grey
) -> np.ndarray:
    """The pictures among the relative names found: those of the split and the classes, sorted by name."""
    every = [n.split("/") for n in sorted(found) if n.lower().endswith(SUFFIXES)]
    parts = [p for p in every if not any(part.startswith(".") for part in p)]
    if not parts:
        raise ValueError(f"{path} holds no images; needs files that end in {', '.join(SUFFIXES)}")
    depth = int(any(p[0] in ("train", "test") for p in parts if len(p) > 1))
    keep = np.array([p[0] == split and len(p) > 1 for p in parts]) if depth else fifths(len(parts), split)
    if classes is not None:
        folders = [p[depth] if len(p) > depth + 1 else "" for p in parts]
        if not (known := sorted(set(folders) - {""})):
            raise ValueError(f"got classes for {path}; it has no subfolders, and needs one for each class")
        keep &= chosen(np.array([known.index(f) if f else -1 for f in folders]), known, classes)
    if not keep.any():
        raise ValueError(f"{path} holds {len(parts)} images; needs at least one of split {split!r} and its classes")
    wanted = ["/".join(p) for p, k in zip(parts, keep, strict=True) if k]
    by_name = {n: pixels(f"{path}/{n}", content, size, grey) for n, content in files(wanted)}
    return stacked({n: by_name[n] for n in wanted})


def _unpacked(path: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of members in the order of the archive, so that it is unpacked but once."""
    with damage(path), tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in wanted and (file := archive.extractfile(member)):
                yield name, file.read()


def _array(path: Path, split: str) -> np.ndarray:
    """(N, h, w, 1 or 3) of a NumPy file, uint8 or float32 in [-1, 1]."""
    with damage(path):
        loaded = np.load(path, allow_pickle=False)
    if path.suffix == ".npy":
        array, whole = loaded, True
    else:
        names, whole = loaded.files, len(loaded.files) == 1
        if not whole and not {"train", "test"} <= set(names):
            raise ValueError(f"{path} has the arrays {names}; needs one, or those named 'train' and 'test'")
        with damage(path):
            array = loaded[names[0] if whole else split]
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
    return array[fifths(len(array), split)] if whole else array
