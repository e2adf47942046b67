"""Where images come from: folders, archives, NumPy files and Hugging Face data sets, and what each held."""

import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffgauss.data import arrays
from diffgauss.data.decoding import SUFFIXES, TooLarge, bounded, chosen, damage, pixels, reshaped, stacked
from diffgauss.data.splits import FIFTH, HELD_OUT, OTHER, Report, fifth

Classes = Sequence[int | str] | None


def read(
    path: Path, split: str, classes: Classes, size: int | None, grey: bool | None, limit: float | int
) -> tuple[np.ndarray, Report]:
    """(N, h, w, 1 or 3), uint8 or in [-1, 1], of a folder, an archive or a NumPy file, in the order of names.

    limit: bytes that an archive or array may take unpacked, > 0. Raises ValueError for a file that is none of
    these, is damaged or larger, or lacks the split or the classes; OSError for a folder that may not be read.
    """
    if not (isinstance(limit, int | float) and limit > 0):
        raise ValueError(f"limit = {limit!r}; needs a number of bytes > 0")
    path, _, key = (path, "", "") if path.exists() else _key(path)
    if path.is_dir():
        return _pictures(path, _Folder(path), split, classes, size, grey, limit)
    if not path.is_file():
        raise ValueError(f"{path} is no folder and no regular file; needs one of them")
    if path.suffix.lower() in (".npy", ".npz"):
        if classes is not None:
            raise ValueError(f"got classes for {path}; needs a folder with a subfolder for each, not an array")
        images, report = arrays.array(path, key, split, limit)
        return reshaped(images, size, grey), report
    for kind in (_Tar, _Zip):
        with damage(path):
            opened = kind.opens(path)
        if opened:
            return _pictures(path, kind(path, limit), split, classes, size, grey, limit)
    raise ValueError(f"{path} is damaged, or no folder, tar archive, zip, .npy or .npz file; needs one of these")


def known(name: str | Path) -> Path | None:
    """The path that a name means, with ~ and file.npz:key understood; None where there is nothing of that name."""
    path = Path(name).expanduser()
    return path if path.exists() or _key(path)[0].is_file() else None


def _key(path: Path) -> tuple[Path, str, str]:
    """file.npz and the key of file.npz:key."""
    front, colon, key = str(path).rpartition(":")
    return (Path(front), colon, key) if front.endswith(".npz") else (path, "", "")


def hub(name: str, split: str, classes: Classes, size: int | None, grey: bool | None) -> tuple[np.ndarray, Report]:
    """uint8 (N, h, w, 1 or 3) of a Hugging Face data set: its first image column, chosen by its class labels.

    Needs the library ``datasets`` and, the first time, a network. A lone split is divided by chance.
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
    lone, held = len(splits) == 1, next((h for h in HELD_OUT if h in splits), "")
    own = held if split == "test" else split
    if not lone and own not in splits:
        raise ValueError(f"{name} has the splits {list(splits)}; needs {split!r}")
    rows = next(iter(splits.values())) if lone else splits[own]
    images = [column for column, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    labels = [column for column, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)]
    if not images:
        raise ValueError(f"{name} has the columns {list(rows.features)}; needs one of images")
    keep = fifth(map(str, range(len(rows))), split) if lone else np.ones(len(rows), bool)
    if classes is not None:
        if not labels:
            raise ValueError(f"got classes for {name}, whose columns {list(rows.features)} hold no class labels")
        keep &= chosen(np.array(rows[labels[0]]), rows.features[labels[0]].names, classes)
    if not keep.any():
        raise ValueError(f"{name} holds {len(rows)} images; needs at least one of split {split!r} and its classes")
    found, names = len(rows), tuple(rows.features[labels[0]].names) if labels else ()
    rows = rows.select_columns(images[:1]).cast_column(images[0], datasets.Image(decode=False))
    files = {f"{name}[{i}]": rows[int(i)][images[0]] for i in np.flatnonzero(keep)}
    all_of = stacked({n: pixels(n, file["bytes"] or file["path"], size, grey) for n, file in files.items()})
    return all_of, Report(name, found, len(all_of), split, FIFTH if lone else f"its split {own!r}", names)


AGAIN = "of a name that comes again"


class _Folder:
    """The files below a folder, links followed, and their paths."""

    def __init__(self, path: Path):
        self.path, self.odd = path, Counter()
        self.names = sorted(self._below(path, ()))

    def _below(self, folder: Path, above: tuple[str, ...]) -> Iterator[str]:
        real = os.path.realpath(folder)
        if real in above:  # a link to a folder that it is in
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield from self._below(Path(entry.path), (*above, real))
                elif entry.is_file():
                    yield Path(entry.path).relative_to(self.path).as_posix()
                else:
                    self.odd["broken link" if entry.is_symlink() else "special file"] += 1

    def contents(self, wanted: list[str]) -> Iterator[tuple[str, Path]]:
        return ((name, self.path / name) for name in wanted)


class _Tar:
    """The files of a tar archive. Of a name that is there twice the last counts, as when it is unpacked."""

    opens = staticmethod(tarfile.is_tarfile)

    def __init__(self, path: Path, limit: float | int):
        self.path = path
        with damage(path), tarfile.open(path) as archive:
            members = [
                (m.name.removeprefix("./"), m.isfile()) for m in bounded(archive, path, limit) if not m.isdir()
            ]
        files = [name for name, regular in members if regular]
        self.names = sorted(set(files))
        self.odd = Counter({"link or special file": len(members) - len(files), AGAIN: len(files) - len(self.names)})

    def contents(self, wanted: list[str]) -> Iterator[tuple[str, bytes]]:
        """In the order of the archive, so that it is unpacked but once."""
        left = set(wanted)
        with damage(self.path), tarfile.open(self.path) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in left and member.isfile() and (file := archive.extractfile(member)):
                    yield name, file.read()


class _Zip:
    """The files of a zip archive."""

    opens = staticmethod(zipfile.is_zipfile)

    def __init__(self, path: Path, limit: float | int):
        self.path = path
        with damage(path), zipfile.ZipFile(path) as archive:
            members = [m.filename for m in bounded(archive.infolist(), path, limit) if not m.is_dir()]
        self.names = sorted(set(members))
        self.odd = Counter({AGAIN: len(members) - len(self.names)})

    def contents(self, wanted: list[str]) -> Iterator[tuple[str, bytes]]:
        with damage(self.path), zipfile.ZipFile(self.path) as archive:
            for name in wanted:
                yield name, archive.read(name)


def _pictures(
    path: Path, files: Any, split: str, classes: Classes, size: int | None, grey: bool | None, limit: float | int
) -> tuple[np.ndarray, Report]:
    """The pictures among the files: those of the split and the classes, sorted by name."""
    passed: Counter[str] = +files.odd
    names = []
    for name in files.names:
        if any(part.startswith(".") or part == "__MACOSX" for part in name.split("/")):
            passed["hidden"] += 1
        elif name.lower().endswith(SUFFIXES):
            names.append(name)
        else:
            passed[Path(name).suffix.lower() or "without ending"] += 1
    if not names:
        met = ", ".join(f"{n} {kind}" for kind, n in passed.items())
        raise ValueError(
            f"{path} holds no images{f' ({met})' if met else ''}; needs files that end in {', '.join(SUFFIXES)}"
        )
    top = names[0].partition("/")[0] + "/"
    if path.is_dir() or not all(name.startswith(top) for name in names):
        top = ""  # else the folder that was packed, without which an archive is read as that folder is
    parts = [name.removeprefix(top).split("/") for name in names]
    depth, held = _split_folder(parts)
    found = len(parts)
    if depth is None:
        keep, depth, how = fifth(("/".join(p) for p in parts), split), _top(parts), FIFTH
        passed[f"images of {OTHER[split]!r}"] = int((~keep).sum())
    else:
        own = held if split == "test" else "train"
        keep = np.array([len(p) > depth + 1 and p[depth].lower() == own for p in parts])
        where = Counter(f"images in {p[depth]}/" if len(p) > depth + 1 else "images in no folder" for p in parts)
        passed |= {n: k for n, k in where.items() if n.lower() != f"images in {own}/"}
        how, depth = f"the folder {own}", depth + 1
    folders = [p[depth] if len(p) > depth + 1 else "" for p in parts]
    there = sorted(set(folders) - {""})
    if classes is not None:
        if not there:
            raise ValueError(f"got classes for {path}; it has no subfolders, and needs one for each class")
        of = chosen(np.array([there.index(f) if f else -1 for f in folders]), there, classes)
        passed["images of another class"] = int((keep & ~of).sum())
        keep &= of
    if not keep.any():
        raise ValueError(f"{path} holds {found} images; needs at least one of split {split!r} and its classes")
    wanted = [name for name, k in zip(names, keep, strict=True) if k]
    by_name, total = {}, 0
    for name, content in files.contents(wanted):
        by_name[name] = pixels(f"{path}/{name}", content, size, grey)
        total += by_name[name].nbytes
        if total > limit:
            raise TooLarge(f"{path} holds more than {limit:.3g} bytes of pixels; needs size= or a higher limit=")
    report = Report(str(path), found, len(wanted), split, how, tuple(there), tuple(sorted((+passed).items())))
    return stacked({n: by_name[n] for n in wanted}), report


def _top(parts: list[list[str]]) -> int:
    """How many folders hold all pictures and only folders: not yet the classes."""
    depth = 0
    while len({p[depth] for p in parts}) == 1 and all(len(p) > depth + 2 for p in parts):
        depth += 1
    return depth


def _split_folder(parts: list[list[str]]) -> tuple[int | None, str]:
    """How deep the folders train and test (or val, …) are, below folders that hold all, and the held-out name."""
    for depth in range(max(map(len, parts)) - 1):
        names = {p[depth].lower() for p in parts if len(p) > depth + 1}
        held = next((h for h in HELD_OUT if h in names), "")
        if "train" in names and held:
            return depth, held
        if len(names) > 1:
            break
    return None, ""
